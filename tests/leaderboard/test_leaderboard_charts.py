"""Charts: the efficient front, shapes inside of their frame, words for those who cannot see them."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval_anything.leaderboard.build import build
from eval_anything.leaderboard.charts import Bar, Point, bars, front, scatter
from eval_anything.leaderboard.chunks import Chunks
from eval_anything.leaderboard.curves import metric_curve
from eval_anything.output.svg import Tree
from tests.support.site_runs import edit_records


def _point(name: str, x: float, y: float) -> Point:
    return Point(name, name, x, y, y - 0.1, y + 0.1)


def shapes(tree: Tree) -> Iterator[Tree]:
    """The tree and all below it."""
    yield tree
    if isinstance(tree[2], list):
        yield from itertools.chain.from_iterable(map(shapes, tree[2]))


def assert_inside(tree: Tree) -> None:
    """No shape of a chart is outside of its frame."""
    _, _, width, height = map(float, tree[1]["viewBox"].split())
    for _, attributes, _ in shapes(tree):
        for key, most in (("x", width), ("cx", width), ("x1", width), ("y", height), ("cy", height)):
            if key in attributes:
                assert -1 <= float(attributes[key]) <= most + 1, attributes


def test_the_front_is_what_nobody_beats_for_less() -> None:
    points = [
        _point("cheap", 1, 0.3),
        _point("beaten", 2, 0.2),
        _point("dear", 4, 0.9),
        _point("tie", 5, 0.9),
    ]
    assert [p.name for p in front(points)] == ["cheap", "dear"]
    assert [p.name for p in front([_point("a", 1, 0.1), _point("b", 1, 0.5)])] == ["b"]


@pytest.mark.parametrize("spread", [0.0, 1e-9, 1.0, 1e6])
def test_charts_stay_in_their_frame(spread: float) -> None:
    points = [_point(f"m{i}", 1 + spread * i, spread * i) for i in range(12)]
    assert_inside(scatter("title", "x", "y", points))
    assert_inside(metric_curve("title", points, "higher", points[-1].x))
    assert_inside(bars("title", [Bar("a" * 99, 0.0, -0.1, 1.2, "note")]))


def test_charts_say_what_they_show() -> None:
    tree = scatter("quality", "seconds", "score", [_point("good", 1, 0.5), _point("bad", 2, 0.4)])
    assert tree[1]["aria-label"] == "quality"
    assert tree[2][0][2] == "On the efficient front: good (0.5 at 1)"
    assert bars("b", [Bar("text", 0.5, 0.4, 0.6, "n 3")])[2][0][2] == "text: 50 %, n 3"


@pytest.mark.slow
def test_the_site_has_the_charts_that_its_runs_allow(runs: list[Path], tmp_path: Path) -> None:
    copies = [Path(shutil.copytree(run, tmp_path / run.name)) for run in runs[1:]]

    def timed(seconds: float) -> Any:
        return lambda record, i: record.update(latency={"total": seconds})

    for copy, seconds in zip(copies[:2], (0.2, 0.4), strict=True):
        for task in ("micro/selection", "micro/synergy"):
            edit_records(copy, task, timed(seconds))
    build(copies, tmp_path / "site")
    chunks = Chunks(tmp_path / "site" / "data")
    board = chunks.read("board", dict[str, Any])
    found = [chart for chart in board["scatters"] if chart["column"] == "micro/selection:selection"]
    assert len(found) == 1
    marks = [
        shape for shape in shapes(chunks.read(found[0]["key"], list[Any])) if "data-run" in shape[1]
    ]
    assert {mark[1]["data-run"] for mark in marks} == set(found[0]["runs"])
    assert len(board["trainings"]) == 1
    assert len(board["trainings"][0]["runs"]) == 3
