"""Charts over several runs: quality against seconds and money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eval_anything.leaderboard.board import Column
from eval_anything.leaderboard.charts import Point, scatter
from eval_anything.leaderboard.chunks import Chunks
from eval_anything.leaderboard.read_runs import SiteRun

if TYPE_CHECKING:
    import pandas as pd


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
