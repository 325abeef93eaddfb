"""The main table: its columns, a cell for each run, and classes of cells that can be compared.

A column is a metric of a task (`suite/task:metric`) or an aggregate of a suite (`suite/name`). The
cells of a column fall into classes: within a class every fingerprint of the task and the number of
its samples are the same. Ranks are computed within a class alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from eval_anything import plugins
from eval_anything.leaderboard.prompts import Prompts
from eval_anything.leaderboard.ranks import Ranks, TaskDraws, rank_intervals
from eval_anything.leaderboard.read_runs import SiteRun
from eval_anything.leaderboard.reference import Reference
from eval_anything.leaderboard.samples import TaskSamples
from eval_anything.runs.results_file import AggregateResult, MetricResult
from eval_anything.statistics.intervals import Floats

if TYPE_CHECKING:
    import pandas as pd


Samples = Mapping[tuple[str, str], TaskSamples]
"""Samples by run id and task."""


class Column(Struct):
    """A column. `task` is "" for an aggregate. `classes` are its classes of comparable runs: the number
    of runs, and their differences from the first class ("" for the first). `unranked` is the reason why
    there are no ranks, or ""."""

    key: str
    suite: str
    task: str
    label: str
    main: bool
    better: str
    range: tuple[float, float] | None
    reads: list[str]
    writes: list[str]
    inputs: dict[str, str] = {}
    formula: str = ""
    classes: list[tuple[int, str]] = []
    unranked: str = ""


def columns_of(
    entries: Sequence[SiteRun], samples: Samples, prompts: Prompts, reference: Reference | None
) -> list[Column]:
    """Columns of all metrics and aggregates of these runs, by suite, then those of the reference."""
    by_key: dict[str, Column] = {}
    of_task = lru_cache(maxsize=None)(lambda task: _modalities(task, entries, samples, prompts))
    for entry in entries:
        for name, aggregate in entry.results.aggregates.items():
            column = _aggregate_column(name, aggregate)
            for task in sorted(_tasks_below(entry, name)):
                reads, writes = of_task(task)
                column.reads += [m for m in reads if m not in column.reads]
                column.writes += [m for m in writes if m not in column.writes]
            by_key.setdefault(name, column)
    for entry in entries:
        for task in entry.file.tasks:
            metrics, primary = entry.results.tasks[task].metrics, entry.results.tasks[task].primary
            reads, writes = of_task(task)
            for name, metric in sorted(metrics.items(), key=lambda m: m[0] != primary):
                column = Column(
                    key=f"{task}:{name}",
                    suite=task.rpartition("/")[0],
                    task=task.rpartition("/")[2],
                    label=name,
                    main=name == primary,
                    better=metric.better,
                    range=metric.range,
                    reads=reads,
                    writes=writes,
                )
                by_key.setdefault(column.key, column)
    suites = list(dict.fromkeys(column.suite for column in by_key.values()))
    columns = sorted(by_key.values(), key=lambda column: suites.index(column.suite))
    if reference is not None:
        columns += [_published(c) for c in reference.columns if c.key not in by_key]
    return columns


def _published(column: Any) -> Column:
    suite, _, task_and_metric = column.key.partition("/")
    return Column(
        key=column.key,
        suite=suite,
        task=task_and_metric.rpartition(":")[0],
        label=column.label,
        main=column.main,
        better="higher",
        range=column.range,
        reads=[],
        writes=column.modalities,
        unranked="published numbers are not ranked",
    )


def _aggregate_column(name: str, aggregate: AggregateResult) -> Column:
    suite, _, label = name.rpartition("/")
    formula = aggregate.formula or ""
    return Column(name, suite, "", label, True, "higher", None, [], [], aggregate.inputs, formula)


def _modalities(
    name: str, entries: Sequence[SiteRun], samples: Samples, prompts: Prompts
) -> tuple[list[str], list[str]]:
    """Modalities that a task reads and writes: those it declares, else those of its responses."""
    task = prompts.task(name)
    if task is not None:
        return [str(m) for m in task.file.inputs], [str(m) for m in task.file.outputs]
    rows = (row for e in entries if (e.id, name) in samples for row in samples[e.id, name].rows)
    initials = {initial for row in rows for initial in row.modalities}
    return [], [m for m in ("text", "image", "audio", "video") if m[0] in initials]


def cells_of(entries: Sequence[SiteRun], columns: Sequence[Column], samples: Samples) -> pd.DataFrame:
    """A row for each cell: run, column, value, low, high, n, failed, invalid, comparable, group,
    rank_low, rank_high. Fills in `classes` and `unranked` of the columns.

    Missing numbers are nan; `comparable` holds the conditions that the cells of a class share, `group`
    is the index of the class in its column.
    """
    import pandas as pd

    rows = [cell for entry in entries for column in columns if (cell := _cell(entry, column))]
    names = ["run", "column", "value", "low", "high", "n", "failed", "invalid", "comparable"]
    cells = pd.DataFrame(rows, columns=names)
    cells["group"] = 0
    cells["rank_low"] = cells["rank_high"] = np.nan
    by_id = {entry.id: entry for entry in entries}
    draws_cache: dict[tuple[str, ...], TaskDraws] = {}
    means_cache: dict[tuple[str, tuple[str, ...]], Floats | None] = {}
    for column in columns:
        column_cells = cells[cells["column"] == column.key]
        sizes = column_cells.groupby("comparable", sort=False)["run"].agg(["size", "first"])
        order = sizes.sort_values(["size", "first"], ascending=[False, True], kind="stable").index
        for group, comparable in enumerate(order):
            members = column_cells[column_cells["comparable"] == comparable]
            cells.loc[members.index, "group"] = group
            difference = _difference(order[0], comparable) if group else ""
            column.classes.append((len(members), difference))
            valued = members[members["value"].notna()]
            runs = [by_id[run] for run in valued["run"]]
            ranks = _ranks(column, runs, samples, draws_cache, means_cache)
            if ranks is None:
                if runs and not column.unranked:
                    column.unranked = "its values are not of single samples, so runs cannot be paired"
            else:
                cells.loc[valued.index, "rank_low"] = ranks.low
                cells.loc[valued.index, "rank_high"] = ranks.high
    return cells


def _cell(entry: SiteRun, column: Column) -> tuple[Any, ...] | None:
    number: MetricResult | AggregateResult | None
    if column.task:
        tasks = [f"{column.suite}/{column.task}"]
        task = entry.results.tasks.get(tasks[0])
        number = task.metrics.get(column.key.rpartition(":")[2]) if task is not None else None
    else:
        tasks = sorted(_tasks_below(entry, column.key))
        number = entry.results.aggregates.get(column.key) if column.formula else None
    if number is None:
        return None
    low, high = number.ci95 or (np.nan, np.nan)
    estimate = np.nan if number.value is None else number.value
    counts: tuple[float, float, str] = (np.nan, np.nan, "")
    if isinstance(number, MetricResult):
        counts = number.n, number.failed, number.invalid or ""
    return entry.id, column.key, estimate, low, high, *counts, _comparable(entry, tasks, number)


def _tasks_below(entry: SiteRun, name: str, above: tuple[str, ...] = ()) -> set[str]:
    """Tasks of an aggregate's inputs, with those of nested aggregates; cycles are ignored."""
    tasks = set()
    aggregate = entry.results.aggregates.get(name)
    for reference in aggregate.inputs.values() if aggregate is not None else ():
        task, colon, _ = reference.partition(":")
        if colon:
            tasks |= {task} & set(entry.file.tasks)
        elif reference not in (name, *above):
            tasks |= _tasks_below(entry, reference, (name, *above))
    return tasks


def _comparable(
    entry: SiteRun, tasks: Sequence[str], number: MetricResult | AggregateResult
) -> tuple[tuple[str, str], ...]:
    """Conditions that comparable cells share: sorted pairs of a name and its fingerprint or value."""
    conditions = {}
    for task in tasks:
        prefix = f"{task} " if len(tasks) > 1 else ""
        for name, sha256 in entry.file.fingerprints.get(task, {}).items():
            conditions[f"{prefix}{name}"] = sha256
        conditions[f"{prefix}number of samples"] = str(entry.file.counts.get(task, ""))
    if isinstance(number, AggregateResult):
        conditions["formula"] = f"{number.formula} of {sorted(number.inputs.items())}"
    return tuple(sorted(conditions.items()))


def _difference(first: tuple[tuple[str, str], ...], second: tuple[tuple[str, str], ...]) -> str:
    """Names of the conditions that differ; the numbers of samples with both numbers."""
    expected, actual = dict(first), dict(second)
    differences = []
    for name in sorted({**expected, **actual}):
        if expected.get(name) != actual.get(name):
            is_count = name.endswith("number of samples")
            counts = f" ({actual.get(name)}, not {expected.get(name)})" if is_count else ""
            differences.append(f"{name}{counts}")
    return ", ".join(differences)


def _ranks(
    column: Column,
    runs: Sequence[SiteRun],
    samples: Samples,
    draws_cache: dict[tuple[str, ...], TaskDraws],
    means_cache: dict[tuple[str, tuple[str, ...]], Floats | None],
) -> Ranks | None:
    """Ranks of these runs in a column; None if a run has no values of single samples."""
    if not runs:
        return None
    ids = tuple(run.id for run in runs)

    def draws(task: str) -> TaskDraws:
        if (task, *ids) not in draws_cache:
            draws_cache[task, *ids] = TaskDraws([samples[id_, task] for id_ in ids])
        return draws_cache[task, *ids]

    def means(reference: str) -> Floats | None:
        if (reference, ids) not in means_cache:
            means_cache[reference, ids] = None  # an aggregate that is part of itself has none
            task, colon, metric = reference.partition(":")
            if colon:
                measured = all((id_, task) in samples for id_ in ids)
                values: Floats | None = draws(task).means(metric) if measured else None
            else:
                aggregate = runs[0].results.aggregates.get(reference)
                names = aggregate.inputs if aggregate is not None else {}
                inputs = {key: means(inner) for key, inner in names.items()}
                available = {key: mean for key, mean in inputs.items() if mean is not None}
                name = (aggregate.formula or "") if aggregate is not None else ""
                formula = plugins.find(plugins.AGGREGATES, name)
                complete = formula is not None and available and len(available) == len(inputs)
                values = formula(available) if complete else None
            usable = values is not None and bool(np.isfinite(values).all())
            means_cache[reference, ids] = values if usable else None
        return means_cache[reference, ids]

    if column.task:
        task = f"{column.suite}/{column.task}"
        metric = column.key.rpartition(":")[2]
        groups, differing = draws(task).groups, draws(task).differing(metric)
    else:
        tasks = _tasks_below(runs[0], column.key)
        groups = min((draws(task).groups for task in tasks), default=0)
        differing = None
    column_means = means(column.key)
    if column_means is None:
        return None
    sign = 1.0 if column.better == "higher" else -1.0
    return rank_intervals(sign * column_means, groups, differing)


def reference_rows(reference: Reference, columns: Sequence[Column]) -> list[list[Any]]:
    """Published rows of the main table: [name, values in the order of `columns`, None for no value]."""
    index_of = {column.key: i for i, column in enumerate(reference.columns)}
    return [
        [name, [values[index_of[c.key]] if c.key in index_of else None for c in columns]]
        for name, values in reference.rows.items()
    ]
