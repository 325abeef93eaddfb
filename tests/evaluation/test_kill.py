"""A run that is killed with SIGKILL at random moments ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

KILLS = 20
SAMPLES = 60  # of each of the four tasks


class Commands:
    """`eval-anything` in processes of their own, one at a time."""

    def __init__(self, errors: Path) -> None:
        self.errors = errors
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, arguments: list[str]) -> int:
        """Starts a command and returns its process id."""
        with self.errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "eval_anything", *arguments],
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        return self._process.pid

    def wait(self) -> int:
        """The exit status of the command that was started last (negative: the signal)."""
        assert self._process is not None
        return self._process.wait(300)


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path / "errors")


def _command(out: Path) -> list[str]:
    return (
        f"run --model micro --suite micro --limit {SAMPLES} --temperature 1 --seed 7 "
        f"--model-arg batch_size=8 --out {out} --json"
    ).split()


def _records(run: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """All records without what a clock decides; a repeated one fails."""
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for path in sorted(run.rglob("records.jsonl")):
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            record.pop("latency")
            key = (str(path.relative_to(run)), record["sample_id"], record["repeat"])
            assert key not in found, f"{key} is recorded twice"
            found[key] = record
    return found


@pytest.mark.slow
def test_killed_runs_equal_the_unbroken_one(commands: Commands, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    start = time.monotonic()
    commands.start(_command(whole))
    assert commands.wait() == 0, commands.errors.read_text()
    seconds = time.monotonic() - start
    expected = _records(whole)
    assert len(expected) == 4 * SAMPLES

    moments = random.Random(0)
    kills = 0
    partial: set[int] = set()
    broken = tmp_path / "broken-0"
    while kills < KILLS:
        child = commands.start(_command(broken))
        time.sleep(moments.uniform(0.2, 0.8) * seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        status = commands.wait()
        if status == -signal.SIGKILL:
            kills += 1
            partial.add(sum(len(p.read_bytes().splitlines()) for p in broken.rglob("records.jsonl")))
        else:  # it was done before the blow: begin another one
            assert status == 0, commands.errors.read_text()
            assert _records(broken) == expected
            broken = tmp_path / f"broken-{kills}"
    commands.start(_command(broken))
    assert commands.wait() == 0, commands.errors.read_text()
    assert _records(broken) == expected
    assert len(partial) >= 5, f"the kills found the run at {sorted(partial)} records only"

    def results(run: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((run / "results.json").read_bytes())
        found.pop("run")
        return found

    assert results(broken) == results(whole)
    for path in (broken / "media").rglob("*.*"):
        if not path.name.startswith("."):
            assert path.read_bytes() == (whole / path.relative_to(broken)).read_bytes()
