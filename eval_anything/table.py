"""Plain text tables for terminals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns as wide as their content; those numbered in `right` are right-aligned."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join([line(header), "  ".join("-" * w for w in widths), *map(line, rows)])


def results_table(results: dict[str, Any], all_metrics: bool = False) -> str:
    """Task, metric, value, 95 % interval, n, failed: the primary metric of each task, or all."""
    rows = []
    for task, result in results["tasks"].items():
        for name, metric in result["metrics"].items():
            if all_metrics or name == result["primary"]:
                rows.append([task, name, *_value(metric), str(metric["n"]), str(metric["failed"])])
    for name, aggregate in results["aggregates"].items():
        rows.append([name, "aggregate", *_value(aggregate), "", ""])
    return table(["task", "metric", "value", "95 % interval", "n", "failed"], rows, right=(2, 4, 5))


def _value(metric: dict[str, Any]) -> tuple[str, str]:
    if "invalid" in metric:
        return "INVALID", metric["invalid"]
    if metric["value"] is None:
        return "unscored", ""
    low, high = metric["ci95"]
    return f"{metric['value']:.3f}", f"{low:.3f} .. {high:.3f}"
