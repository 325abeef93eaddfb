"""`eval-anything tasks show SUITE`: its tasks and aggregates; with --reference the published rows."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from eval_anything.cli.printing import show
from eval_anything.errors import Exit, UserError
from eval_anything.leaderboard.reference import PublishedCell, Reference, published_cells, read_reference
from eval_anything.output.tables import table
from eval_anything.tasks.registry import Registry, Suite, count_samples, read_task_file


def show_suite(suite: Suite, registry: Registry, options: Namespace) -> Exit:
    """Prints a suite's tasks, data sets and aggregates; with --reference the published rows."""
    if options.reference:
        return _show_reference(suite, options)
    files = {name: read_task_file(registry.folders[name]) for name in suite.tasks}
    tasks: list[dict[str, Any]] = [
        {
            "name": name,
            "n": count_samples(registry.folders[name], file),
            "primary": file.primary,
            "licence": file.licence,
            "data": None if file.data is None else file.data.name,
        }
        for name, file in files.items()
    ]
    rows = [
        [t["name"], "part" if t["n"] is None else str(t["n"]), t["primary"], t["data"] or "bundled"]
        for t in tasks
    ]
    lines = [table(["task", "n", "primary", "data"], rows, right=(1,))]
    for name, aggregate in suite.aggregates.items():
        inputs = ", ".join(f"{key} = {source}" for key, source in aggregate.inputs.items())
        lines.append(f"\n{name}: {aggregate.formula} of {inputs}")
    document = {"suite": suite.name, "tasks": tasks, "aggregates": suite.aggregates}
    return show(options, document, *lines)


def _show_reference(suite: Suite, options: Namespace) -> Exit:
    reference = read_reference()
    cells = published_cells(reference, suite)
    if not cells:
        raise UserError(f"--reference: no aggregate of {suite.name} has published rows")
    names = list(dict.fromkeys(name for cell in cells for name in cell.inputs))
    labels = {column.key: column.label for column in reference.columns}
    derived = list(dict.fromkeys(cell.aggregate for cell in cells))
    used = [name for name in names if name in labels]
    rows = []
    for model in reference.rows:
        row = {cell.aggregate: cell for cell in cells if cell.model == model}
        inputs = {name: printed for cell in row.values() for name, printed in cell.inputs.items()}
        computed = [f"{row[name].printed} ({row[name].exact:.4f})" for name in derived]
        rows.append([model, *(str(inputs[name]) for name in used), *computed])
    header = ["model", *(labels[name] for name in used), *(f"{name} (computed)" for name in derived)]
    wrong = [cell for cell in cells if not cell.same]
    return show(
        options,
        _document(reference, cells),
        f"{reference.source}\n{reference.url}\n",
        table(header, rows, right=range(1, len(header))),
        f"\n{len(cells) - len(wrong)} of {len(cells)} derived cells are the printed digits.",
        *(
            f"{cell.model}, {cell.aggregate}: printed {cell.printed}, computed "
            f"{cell.exact.normalize():f} from the printed inputs, whose rounding allows both"
            for cell in wrong
        ),
    )


def _document(reference: Reference, cells: list[PublishedCell]) -> dict[str, Any]:
    return {
        "source": reference.source,
        "url": reference.url,
        "cells": [
            {
                "model": cell.model,
                "aggregate": cell.aggregate,
                "printed": float(cell.printed),
                "computed": float(cell.exact),
                "same": cell.same,
            }
            for cell in cells
        ],
    }
