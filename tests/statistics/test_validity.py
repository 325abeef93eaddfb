"""The published error rates keep the promises, and a sample of their cells is simulated again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.benchmarks import validity
from tests.support.paths import ROOT

PUBLISHED = json.loads((ROOT / "docs" / "validity.json").read_text("utf-8"))
REPETITIONS = 2000
SAMPLE = [
    (validity.coverage_of_shares, ("changes", 0.95, 12, 0.0)),
    (validity.coverage_of_shares, ("changes", 0.98, 24, 0.5)),
    (validity.coverage_of_shares, ("means", 0.02, 24, 0.0)),
    (validity.coverage_of_mixtures, ("means", "1: .9, 0.9: .05, 0: .05", 50, 0.5)),
    (validity.coverage_of_mixtures, ("changes", "0.5: .9, 0: .05, -1: .05", 12, 0.0)),
]


def test_every_published_cell_keeps_its_promise() -> None:
    broken = [
        (title, row, reasons)
        for title, rows in PUBLISHED.items()
        for row in rows
        if (reasons := validity.failures(title, row, REPETITIONS))
    ]
    assert broken == []


def test_the_table_of_planted_losses_is_that_of_the_published_cells() -> None:
    page = (ROOT / "docs" / "gate.md").read_text("utf-8")
    assert validity.MARK + validity.planted_losses(PUBLISHED) in page


@pytest.mark.parametrize(("cell", "arguments"), SAMPLE)
def test_a_sample_of_cells_covers(cell: Any, arguments: tuple[Any, ...]) -> None:
    row = cell(*arguments, 200)
    assert validity.failures("intervals", row, 200) == []


def test_a_lost_task_does_not_pass_where_each_must_be_proven() -> None:
    row = validity.proofs(1, 0.15, 200, 0.0, 60)
    assert validity.failures(validity.LOST, row, 60) == []
    assert row["BLOCK"] > 0.5
