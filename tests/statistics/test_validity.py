"""The published error rates keep the promises, and a sample of their cells is simulated again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from tests.benchmarks import validity
from tests.support.paths import ROOT

PUBLISHED = json.loads((ROOT / "docs" / "validity.json").read_text("utf-8"))
PAGE = (ROOT / "docs" / "gate.md").read_text("utf-8")
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
    for mark, table in validity.TABLES.items():
        assert mark + table(PUBLISHED) in PAGE


def _share(title: str, verdict: str, **wanted: Any) -> float:
    [row] = [r for r in PUBLISHED[title] if all(r[name] == value for name, value in wanted.items())]
    share: float = row[verdict]
    return share


def _ends(numbers: Iterable[float], digits: int = 3) -> str:
    ordered = sorted(numbers)
    return " to ".join(f"{n:.{digits}f}".removeprefix("0") for n in (ordered[0], ordered[-1]))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _figures() -> list[str]:
    """Phrases of docs/gate.md with figures, from the cells that they are about."""
    covers = {
        title: [row["covers"] for row in rows]
        for title, rows in PUBLISHED.items()
        if "covers" in rows[0]
    }
    widths = [row["width"] for row in PUBLISHED["intervals where most are alike"]]
    blocked = _ends(row["BLOCK"] for row in PUBLISHED["no change"])
    one = {"scores": "binary", "tasks": 1, "icc": 0.0}
    passes = " / ".join(
        f"{_share('no change', 'PASS', n=n, **one):.2f}".lstrip("0") for n in (50, 200, 1000)
    )
    cell = {"discordance": 0.15, "icc": 0.0}
    lost = _share(validity.LOST, "PASS", n=200, **cell)
    today = _share("-10 points on one task", "PASS", n=200, icc=0.0)
    same, larger = (_share(validity.UNCHANGED, "PASS", n=n, **cell) for n in (200, 500))
    pooled = [
        _share("a modality of three tasks", "proven", n=200, icc=0.0, losing=losing, margin=margin)
        for losing, margin in ((0, 0.05), (1, 0.1), (1, 0.05))
    ]
    looks = {"scores": "binary", "tasks": 12}
    early, late = (
        1 - _share(validity.SEQUENTIAL, "saved", losing=12, loss=0.08, icc=icc, **looks)
        for icc in (0.0, 0.5)
    )
    passed = _share(validity.SEQUENTIAL, "PASS", losing=0, icc=0.0, **looks)
    once = _share("no change", "PASS", n=200, icc=0.0, **looks)
    return [
        f"block after {_percent(early)} of the samples, and after {_percent(late)} where",
        f"passes in {_percent(passed)} of gates when all samples are in, and in {_percent(once)} with",
        *(f"| {_ends(numbers)} |" for numbers in covers.values()),
        f"| {_ends(widths, 2)} |",
        f"| {blocked} |",
        f"| {passes}, else INCONCLUSIVE |",
        f"passes in {_percent(lost)} of gates instead of {_percent(today)}",
        f"still passes in {_percent(same)}; with 500 samples in {_percent(larger)}",
        f"with 200 samples a task in {_percent(pooled[0])} of gates",
        f"passes a 10-point proof in {_percent(pooled[1])}",
        f"and one of 5 points in {_percent(pooled[2])}",
    ]


def test_figures_in_the_text_are_those_of_the_published_cells() -> None:
    text = " ".join(PAGE.split())
    assert [phrase for phrase in _figures() if phrase not in text] == []


@pytest.mark.parametrize(("cell", "arguments"), SAMPLE)
def test_a_sample_of_cells_covers(cell: Any, arguments: tuple[Any, ...]) -> None:
    row = cell(*arguments, 200)
    assert validity.failures("intervals", row, 200) == []


def test_a_lost_task_does_not_pass_where_each_must_be_proven() -> None:
    row = validity.proofs(1, 0.15, 200, 0.0, 60)
    assert validity.failures(validity.LOST, row, 60) == []
    assert row["BLOCK"] > 0.5
