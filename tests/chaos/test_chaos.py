"""Whatever happens to a run, the same command ends it, and it is equal to a calm one."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest

from tests.chaos.kinds import KINDS
from tests.chaos.report import HEAD, LOG, PAGE, table
from tests.chaos.rounds import Round, calm
from tests.support.lanes import full
from tests.support.missing import missing

SEEDS = 11
ROUNDS = [
    (kind.name, seed)
    for kind in KINDS.values()
    for seed in (range(SEEDS) if full("chaos") else [kind.quick])
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where workloads are prepared."""
    return tmp_path_factory.mktemp("chaos")


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.parametrize(("name", "seed"), ROUNDS)
def test_a_run_survives(name: str, seed: int, folder: Path, tmp_path: Path) -> None:
    kind = KINDS[name]
    if reason := kind.needs():
        if full("chaos"):
            missing(reason)
        pytest.skip(reason)  # the sample takes what is there: `make chaos` installs the rest
    place, expected = calm(kind.workload, folder / kind.workload.words[2])
    begun, survived = time.monotonic(), False
    with Round(place, tmp_path, random.Random(f"{name} {seed}"), kind.more) as round_:
        try:
            kind.strike(round_)
            if not (round_.ends and round_.ends[-1] == 0 and round_.out.exists()):
                round_.finish()
            round_.check(expected)
            survived = True
        finally:
            if full("chaos"):
                row = {"kind": name, "seed": seed, "strikes": round_.strikes, "ends": round_.ends}
                row |= {"survived": survived, "seconds": round(time.monotonic() - begun, 2)}
                LOG.parent.mkdir(parents=True, exist_ok=True)
                with LOG.open("ab") as file:
                    os.write(file.fileno(), json.dumps(row).encode() + b"\n")


def test_the_table_has_the_last_round_of_each_seed() -> None:
    row = {"kind": "SIGTERM", "seed": 0, "strikes": 2, "ends": [4, 0], "survived": False, "seconds": 9.0}
    rows = [row, row | {"survived": True, "seconds": 1.0}, row | {"seed": 1, "seconds": 2.0}]
    assert "| SIGTERM | 2 | 0-1 | 4 | 1 | 1.5 | 2.0 |\n" in table(rows)
    assert HEAD in PAGE.read_text("utf-8")
