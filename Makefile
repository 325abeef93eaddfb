# make demo   the embedded model on its own tasks: a table and a page
# make check  format, lint, types, fast tests
# make test   everything
# make micro  trains the embedded model again from its seed and compares its figures

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := $(BIN)/eval-anything run --model micro --suite micro --out runs/demo
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo check test lint micro clean

demo: $(VENV)/.installed
	@$(DEMO) || { [ $$? -eq 2 ] && echo 'an older version made that run: it is set aside' && \
	  mv runs/demo "runs/demo-$$(date +%s)" && $(DEMO); }

check: lint
	@$(BIN)/python -m pytest -q -m "not slow"

test: lint
	@$(BIN)/python -m pytest -q

lint: $(VENV)/.test-installed
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

micro: $(VENV)/.installed
	@$(BIN)/python -m eval_anything.micro.rebuild

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

clean:
	rm -rf $(VENV) build dist runs
