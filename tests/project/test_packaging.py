"""The package as a user gets it: built, installed without the checkout, run from elsewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest

from tests.support.missing import missing
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the package itself, not editable; what it needs is borrowed."""
    home = tmp_path_factory.mktemp("venv") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, str(ROOT)], check=True)
    site = next(home.glob("lib/python*/site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


@pytest.mark.slow
def test_everything_bundled_is_installed(installed: Path, tmp_path: Path) -> None:
    where = subprocess.run(
        [installed / "python", "-c", "import eval_anything; print(eval_anything.__file__)"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert where.startswith(str(installed.parent))
    for command in (["tasks", "list", "--json"], ["judges", "list", "--json"]):
        outputs = [
            subprocess.run(
                [scripts / "eval-anything", *command],
                cwd=tmp_path,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            for scripts in (installed, Path(sys.executable).parent)
        ]
        assert json.loads(outputs[0]) == json.loads(outputs[1])
        assert len(json.loads(outputs[0])) >= 3


MAKES_CONTENT = re.compile(
    r"eval_anything/micro/making/|align_plugins/experiment/|eval_anything/_content/benchmarks/open/"
    r"(cycle/make_cycle_media|understanding/(make_media|drawing|sounds))\.py"
)


def python_files(root: Path, folders: Iterable[str]) -> set[str]:
    return {str(path.relative_to(root)) for folder in folders for path in (root / folder).rglob("*.py")}


@pytest.mark.slow
def test_code_that_makes_content_is_not_installed(installed: Path) -> None:
    """All other code is. The lint checks that none of it imports what is missing."""
    packages = ["eval_anything", "align_plugins"]
    content = python_files(ROOT, ["benchmarks", "judges", "leaderboard"])
    files = python_files(ROOT, packages) | {f"eval_anything/_content/{name}" for name in content}
    missing = {name for name in files if MAKES_CONTENT.match(name)}
    assert len(missing) > 20
    site = next(installed.parent.glob("lib/python*/site-packages"))
    assert python_files(site, packages) == files - missing
    assert not (site / "align_plugins/experiment").exists()
    presets = {path.name for path in (ROOT / "presets").glob("*.yaml")}
    assert {path.name for path in (site / "eval_anything/_content/presets").iterdir()} == presets


# Both in one process: imports take longer than the rest.
TWO_COMMANDS = """\
import sys
from eval_anything.cli.main import main
run = "run --model micro --tasks synergy --limit 8"
calibrate = "judges calibrate micro_synergy_rm --micro --limit 20 --json"
sys.exit(main(run.split()) or main(calibrate.split()))
"""


@pytest.mark.slow
def test_a_run_and_a_calibration_from_anywhere(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [installed / "python", "-c", TWO_COMMANDS],
        cwd=tmp_path,
        env={**os.environ, "EVAL_ANYTHING_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    page = re.search(r"page: +(\S+)", done.stdout)
    assert page is not None
    assert (tmp_path / page[1]).is_file()
    calibration = json.loads(done.stdout[done.stdout.index("\n{\n") :])
    assert calibration["labels"] == "micro synergy pairs"
    assert calibration["pairs"]["n"] == 20
    assert len(list((tmp_path / "home/calibrations").iterdir())) == 1


@pytest.mark.slow
def test_make_demo_reuses_its_environment() -> None:
    """The second `make demo` prints the table and the page at once: environment and run are there."""
    if Path(sys.prefix) != ROOT / ".venv":
        missing("the tests run in another environment than make's .venv, which may not be there")
    # MAKEFLAGS of a `make test` around this would have make print the directories that it enters
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    run = partial(
        subprocess.run, ["make", "demo"], cwd=ROOT, env=environment, check=True, capture_output=True
    )
    run()
    start = time.monotonic()
    done = run(text=True)
    assert time.monotonic() - start < 10
    header = [cell.strip() for cell in done.stdout.splitlines()[0].split("  ") if cell]
    assert header == ["task", "metric", "value", "95 % interval", "n", "failed"]
    page = re.search(r"page: +(\S+)", done.stdout)
    assert page is not None
    assert (ROOT / page[1]).is_file()


def test_constraints_pin_what_pyproject_bounds() -> None:
    """Every direct dependency is pinned for the tests, and none for users."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(r for extra in extras.values() for r in extra)]
    pins = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    for requirement in wanted:
        requirement = requirement.partition(";")[0]
        name = re.split(r"[<>=\[]", requirement)[0].lower().replace("_", "-")
        if name not in ("eval-anything", "vllm"):  # which has an environment of its own
            assert name in pins
            assert "==" not in requirement
