"""Charts over several runs: quality against seconds and money, and checkpoints over training steps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from eval_anything.leaderboard.board import Column
from eval_anything.leaderboard.charts import Point, history, scatter
from eval_anything.leaderboard.chunks import Chunks
from eval_anything.leaderboard.read_runs import SiteRun
from eval_anything.output.svg import Tree

if TYPE_CHECKING:
    import pandas as pd


# checkpoint-500 is what transformers writes; step500, step_500 and global_step500 are others' names.
_STEP = re.compile(r"^(.*?)[-_.]?(?:checkpoint|global_step|step)[-_]?(\d+)$", re.IGNORECASE)


def cost_of(entry: SiteRun) -> float | None:
    """Money for a thousand samples; None if nothing was paid or nobody knows the price."""
    money = entry.results.cost.money if entry.results.cost is not None else None
    samples = sum(task.samples for task in entry.results.tasks.values())
    return 1000 * money / samples if money and samples else None


def write_scatters(
    cells: pd.DataFrame,
    columns: Sequence[Column],
    names: Mapping[str, str],
    takes: Mapping[str, Mapping[str, float | None]],
    chunks: Chunks,
) -> list[dict[str, Any]]:
    """A chart for each main column and each thing that a run takes (`takes` maps what it is to the
    numbers of the runs), where at least two comparable runs have both; what there is, for the page."""
    found: list[dict[str, Any]] = []
    for column in columns:
        if not column.main:
            continue
        own = cells[(cells["column"] == column.key) & (cells["group"] == 0) & cells["value"].notna()]
        sign = 1.0 if column.better == "higher" else -1.0
        for what, numbers in takes.items():
            points = [
                Point(row.run, names[row.run], x, sign * row.value, *ends)
                for row in own.itertuples()
                for ends in [sorted((sign * row.low, sign * row.high))]
                if (x := numbers.get(row.run))
            ]
            if len(points) < 2:
                continue
            title = f"{column.key} against {what}"
            label = column.label if sign > 0 else f"minus {column.label}"
            key = f"charts/scatter-{len(found)}"
            chunks.write(key, scatter(title, what, label, points))
            found.append(
                {"key": key, "column": column.key, "what": what, "runs": [p.run for p in points]}
            )
    return found


def write_histories(
    entries: Sequence[SiteRun], cells: pd.DataFrame, columns: Sequence[Column], chunks: Chunks
) -> list[dict[str, Any]]:
    """Charts of the main columns for each family of at least two checkpoints of one training."""
    families: dict[str, list[tuple[int, SiteRun]]] = {}
    for entry in entries:
        step = training_step(entry.file.spec)
        if step is not None:
            families.setdefault(step[0], []).append((step[1], entry))
    found: list[dict[str, Any]] = []
    for family in sorted(families):
        members = sorted(families[family], key=lambda m: (m[0], m[1].id))
        if len({step for step, _ in members}) < 2:
            continue
        charts = [c for column in columns if column.main and (c := _history(column, members, cells))]
        if charts:
            key = f"charts/history-{len(found)}"
            chunks.write(key, charts)
            found.append({"key": key, "runs": [entry.id for _, entry in members]})
    return found


def _history(column: Column, members: Sequence[tuple[int, SiteRun]], cells: pd.DataFrame) -> Tree | None:
    own = cells[(cells["column"] == column.key) & cells["value"].notna()].set_index("run")
    known = [(step, entry) for step, entry in members if entry.id in own.index]
    classes = [own.loc[entry.id, "group"] for _, entry in known]
    points = [
        Point(entry.id, entry.name, float(step), *(own.loc[entry.id, ["value", "low", "high"]]))
        for step, entry in known
        if own.loc[entry.id, "group"] == max(set(classes), key=classes.count)
    ]
    return history(f"{column.key} over training", column.label, points) if len(points) > 1 else None


def training_step(spec: str) -> tuple[str, int] | None:
    """(what was trained, step) of a checkpoint by the name of its folder; None for other models."""
    path = PurePath(spec.removeprefix("hf/"))
    match = _STEP.match(path.name)
    return (str(path.parent / match[1]), int(match[2])) if match else None
