"""A run that is killed with SIGKILL at random moments ends as if nothing had happened."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.lanes import full
from tests.support.processes import Command

KILLS = 20 if full("chaos") else 5
SAMPLES = 60 if full("chaos") else 24  # of each of the four tasks


@pytest.fixture
def errors(tmp_path: Path) -> Path:
    return tmp_path / "errors"


def _start(out: Path, errors: Path) -> Command:
    arguments = (
        f"run --model micro --suite micro --limit {SAMPLES} --temperature 1 --seed 7 "
        f"--model-arg batch_size=8 --out {out} --json"
    )
    return Command(arguments.split(), errors)


def _count(run: Path) -> int:
    """The number of lines in the logs of a run, whole or not."""
    return sum(len(path.read_bytes().splitlines()) for path in run.rglob("records.jsonl"))


def _records(run: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """All records without what a clock decides; a repeated one fails."""
    records: dict[tuple[str, str, int], dict[str, Any]] = {}
    for path in sorted(run.rglob("records.jsonl")):
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            record.pop("latency")
            key = (str(path.relative_to(run)), record["sample_id"], record["repeat"])
            assert key not in records, f"{key} is recorded twice"
            records[key] = record
    return records


def _results(run: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((run / "results.json").read_bytes())
    results.pop("run")
    return results


@pytest.mark.chaos
@pytest.mark.slow
def test_killed_runs_equal_the_unbroken_one(errors: Path, tmp_path: Path) -> None:
    """Each kill comes up to a quarter of a second after the run has recorded some more samples, or none:
    while it begins, reads its log again, generates, scores, writes media and records."""
    whole = tmp_path / "whole"
    assert _start(whole, errors).wait() == 0, errors.read_text()
    expected = _records(whole)
    assert len(expected) == 4 * SAMPLES

    moments = random.Random(0)
    kills, counts, broken = 0, set(), tmp_path / "broken-0"
    while kills < KILLS:
        command = _start(broken, errors)
        target = _count(broken) + moments.choice([0, 1, 4, 9, 12, 20] if full("chaos") else [0, 1, 4, 9])
        while command.poll() is None and _count(broken) < target:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.25))
        if command.kill() == -signal.SIGKILL:
            kills += 1
            counts.add(_count(broken))
        else:  # it was done before: begin another one
            assert _records(broken) == expected, errors.read_text()
            broken = tmp_path / f"broken-{kills}"
    assert len(counts) >= KILLS / 2, f"the kills met the run at {sorted(counts)} records only"

    assert _start(broken, errors).wait() == 0, errors.read_text()
    assert _records(broken) == expected
    assert _results(broken) == _results(whole)
    for path in (broken / "media").rglob("*.*"):
        if not path.name.startswith("."):
            assert path.read_bytes() == (whole / path.relative_to(broken)).read_bytes()
