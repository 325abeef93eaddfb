# make demo   the embedded model on its own tasks: a table and a page
# make check  format, lint, types, fast tests
# make test   everything
# make micro  trains the embedded model again from its seed and compares its figures
# make reward the same for the learned judge of the micro world, calibration included
# make baseline  stores the run that the project gates its own checkpoint against
# make chaos, corpus, engines, families, hostile, learning, perf  long lanes, of which `make test` runs a sample
# make docs   writes docs/extending.md from the table of plugins and the example package
# make pictures  takes the pictures of README.md and docs/leaderboard.md
# make experiment  is language feedback worth more than preferences? All arms, into docs/experiment.md
# make validity  simulates the error rates of intervals, gate and bill into docs/, then gates 40 unchanged checkpoints

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := $(BIN)/eval-anything run --model micro --suite micro --out runs/demo
# A file of tests at a time on each core; one thread each, so that they do not wait for each other. What
# is compiled is kept, whatever the environment says: asserts alone take a worker 10 s to rewrite.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile \
  --no-loadscope-reorder
# Types on one core beside tests, which begin on the other.
BESIDE := $(MAKE) --no-print-directory -j2 types
# CONSTRAINTS= takes the newest releases instead.
CONSTRAINTS ?= constraints.txt
# Tests compile what they import; pip would take minutes to compile all else, too.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS)) \
  $(if $(filter check test,$(MAKECMDGOALS)),--no-compile)
# The formatter and linter of the site's scripts and styles.
BIOME := npm exec --yes --fetch-retries=1 --fetch-timeout=20000 --package=@biomejs/biome@2.6.8 -- biome

.PHONY: demo check test fast-tests all-tests chaos corpus engines families hostile learning perf lint style site-style types programs micro reward baseline docs pictures experiment validity clean

demo: $(VENV)/.installed
	@$(DEMO) || { [ $$? -eq 2 ] && echo 'an older version made that run: it is set aside' && \
	  mv runs/demo "runs/demo-$$(date +%s)" && $(DEMO); }
	@echo 'for your own runs: . $(VENV)/bin/activate'

check: style
	@$(BESIDE) fast-tests

test: style programs
	@$(BESIDE) all-tests

fast-tests:
	@$(PYTEST) --quick

all-tests:
	@$(PYTEST)

chaos corpus engines families hostile learning perf: $(VENV)/.test-installed programs
	@EVAL_ANYTHING_LANE=$@ $(PYTEST) -m $@

lint: style types

style: $(VENV)/.test-installed site-style
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/python -m tests.support.language
	@$(BIN)/lint-imports >$(VENV)/layers.log || { cat $(VENV)/layers.log; exit 1; }

site-style:
	@if $(BIOME) --version >/dev/null 2>&1; then $(BIOME) ci leaderboard; \
	  else echo 'scripts and styles of the site are not checked: npm or its registry is missing'; fi

types: $(VENV)/.test-installed
	@$(BIN)/mypy

# What tests need and pip has not: writers of sounds and clips, a browser, clocks that jump. Without them tests are
# skipped, in CI they fail.
PROGRAMS := espeak-ng chromium faketime ffmpeg lame sox:sox,libsox-fmt-mp3
# Writers of media that the whole corpus needs besides.
corpus: PROGRAMS += convert:imagemagick exiftool:libimage-exiftool-perl flac heif-enc:libheif-examples \
  oggenc:vorbis-tools opusenc:opus-tools vpxenc:vpx-tools x264

# Each is the name of a program, and after a colon its packages if they are called otherwise.
programs:
	@for entry in $(PROGRAMS); do \
	  program=$${entry%%:*}; packages=$$(echo "$${entry#*:}" | tr , ' '); \
	  command -v $$program >/dev/null || { test "$$(id -u)" = 0 && \
	  { apt-get install -y $$packages || { apt-get update && apt-get install -y $$packages; }; } \
	  >/dev/null 2>&1; } || \
	  echo "$$program is not installed, its tests are skipped: apt-get install $$packages"; done

micro: $(VENV)/.installed
	@$(BIN)/python -m tests.benchmarks.rebuild

reward: $(VENV)/.installed
	@$(BIN)/python -m tests.benchmarks.rebuild_reward

baseline: $(VENV)/.installed
	@rm -rf tests/data/baseline
	@$(BIN)/eval-anything run --model micro --tasks micro_quick --out tests/data/baseline
	@rm -rf tests/data/baseline/media tests/data/baseline/report.html tests/data/baseline/.lock
	@sed -i 's|"run": ".*/tests/data/baseline"|"run": "tests/data/baseline"|' tests/data/baseline/results.json

docs: $(VENV)/.installed
	@$(BIN)/python docs/make_extending.py

pictures: $(VENV)/.test-installed programs
	@PYTHONPATH=. $(BIN)/python docs/make_pictures.py

experiment: $(VENV)/.train-installed
	@OMP_NUM_THREADS=1 $(BIN)/python -m align_plugins.experiment

validity: $(VENV)/.test-installed
	@$(BIN)/python -m tests.benchmarks.validity --json docs/validity.json --page docs/gate.md
	@$(BIN)/python -m tests.benchmarks.unchanged
	@EVAL_ANYTHING_LANE=$@ $(PYTEST) -m $@

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)'; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'installing eval-anything into $(VENV) ...'
	@$(PIP) -e .
	@touch $@

$(VENV)/.test-installed: $(VENV)/.installed
	@echo 'installing what the tests need ...'
	@$(PIP) -e '.[test]'
	@touch $@

$(VENV)/.train-installed: $(VENV)/.installed
	@$(PIP) -e '.[train]'
	@touch $@

clean:
	rm -rf $(VENV) build dist runs
