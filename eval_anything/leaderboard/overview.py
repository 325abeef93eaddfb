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
    """Money for a thousand samples; None if nothing was paid or the price is unknown."""
    money = entry.results.cost.money if entry.results.cost is not None else None
    samples = sum(task.samples for task in entry.results.tasks.values())
    return 1000 * money / samples if money and samples else None


def write_scatters(
    cells: pd.DataFrame,
    columns: Sequence[Column],
    names: Mapping[str, str],
    costs: Mapping[str, Mapping[str, float | None]],
    chunks: Chunks,
) -> list[dict[str, Any]]:
    """Writes a scatter chart for each main column and each kind of cost (`costs` maps its axis label to
    the numbers by run id) with at least two comparable runs; returns the list of charts for the page."""
    scatters: list[dict[str, Any]] = []
    for column in columns:
        if not column.main:
            continue
        column_cells = cells[
            (cells["column"] == column.key) & (cells["group"] == 0) & cells["value"].notna()
        ]
        sign = 1.0 if column.better == "higher" else -1.0
        for cost, numbers in costs.items():
            points = [
                Point(row.run, names[row.run], amount, sign * row.value, *ends)
                for row in column_cells.itertuples()
                for ends in [sorted((sign * row.low, sign * row.high))]
                if (amount := numbers.get(row.run))
            ]
            if len(points) < 2:
                continue
            title = f"{column.key} against {cost}"
            label = column.label if sign > 0 else f"minus {column.label}"
            key = f"charts/scatter-{len(scatters)}"
            chunks.write(key, scatter(title, cost, label, points))
            scatters.append(
                {"key": key, "column": column.key, "what": cost, "runs": [p.run for p in points]}
            )
    return scatters


def write_histories(
    entries: Sequence[SiteRun], cells: pd.DataFrame, columns: Sequence[Column], chunks: Chunks
) -> list[dict[str, Any]]:
    """Writes charts of the main columns over training steps, for each training with at least two
    checkpoints; returns the list of charts for the page."""
    trainings: dict[str, list[tuple[int, SiteRun]]] = {}
    for entry in entries:
        checkpoint = training_step(entry.file.spec)
        if checkpoint is not None:
            training, step = checkpoint
            trainings.setdefault(training, []).append((step, entry))
    histories: list[dict[str, Any]] = []
    for training in sorted(trainings):
        members = sorted(trainings[training], key=lambda m: (m[0], m[1].id))
        if len({step for step, _ in members}) < 2:
            continue
        charts = [c for column in columns if column.main and (c := _history(column, members, cells))]
        if charts:
            key = f"charts/history-{len(histories)}"
            chunks.write(key, charts)
            histories.append({"key": key, "runs": [entry.id for _, entry in members]})
    return histories


def _history(column: Column, members: Sequence[tuple[int, SiteRun]], cells: pd.DataFrame) -> Tree | None:
    column_cells = cells[(cells["column"] == column.key) & cells["value"].notna()].set_index("run")
    measured = [(step, entry) for step, entry in members if entry.id in column_cells.index]
    classes = [column_cells.loc[entry.id, "group"] for _, entry in measured]
    points = [
        Point(entry.id, entry.name, float(step), *(column_cells.loc[entry.id, ["value", "low", "high"]]))
        for step, entry in measured
        if column_cells.loc[entry.id, "group"] == max(set(classes), key=classes.count)
    ]
    return history(f"{column.key} over training", column.label, points) if len(points) > 1 else None


def training_step(spec: str) -> tuple[str, int] | None:
    """Training and step of a checkpoint, by the name of its folder; None for other models.

    Example:
        >>> training_step("hf/out/sft/checkpoint-500")
        ('out/sft', 500)
    """
    path = PurePath(spec.removeprefix("hf/"))
    match = _STEP.match(path.name)
    return (str(path.parent / match[1]), int(match[2])) if match else None
