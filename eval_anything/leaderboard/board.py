"""The main table: its columns, a cell for each run, and classes of cells that can be compared.

A column is a metric of a task (`suite/task:metric`) or an aggregate of a suite (`suite/name`). The
cells of a column fall into classes: within a class all that decides the metric is the same, as in
`compare` (`runs/comparable.py`). Ranks are computed within a class alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from eval_anything import plugins
from eval_anything.leaderboard.prompts import Prompts
from eval_anything.leaderboard.ranks import (
    Ranks,
    RunDifferences,
    TaskDraws,
    rank_intervals,
    ranks_against,
)
from eval_anything.leaderboard.read_runs import SiteRun
from eval_anything.leaderboard.reference import Reference
from eval_anything.leaderboard.samples import TaskSamples
from eval_anything.runs.comparable import conditions, unlike
from eval_anything.runs.results_file import AggregateResult, MetricResult
from eval_anything.statistics.intervals import Floats

if TYPE_CHECKING:
    import pandas as pd


Samples = Mapping[tuple[str, str], TaskSamples]
"""Samples by run id and task."""


class Column(Struct):
    """A column. `task` is "" for an aggregate. `classes` are its classes of comparable runs: the number
    of runs, and their differences from the first class ("" for the first). `unranked` is the reason why
    there are no ranks, or "". `uneven`: its runs have other samples, so that ranks compare two at a time
    on those that both have. `title` is that of the task, `about` says what the metric measures."""

    key: str
    suite: str
    task: str
    label: str
    main: bool
    better: str
    range: tuple[float, float] | None
    reads: list[str]
    writes: list[str]
    title: str = ""
    about: str = ""
    inputs: dict[str, str] = {}
    formula: str = ""
    classes: list[tuple[int, str]] = []
    unranked: str = ""
    uneven: bool = False


def columns_of(
    entries: Sequence[SiteRun], samples: Samples, prompts: Prompts, reference: Reference | None
) -> list[Column]:
    """Columns of all metrics and aggregates of these runs, by suite, then those of the reference, if it
    shares one with them."""
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
            result = entry.results.tasks[task]
            reads, writes = of_task(task)
            for name, metric in sorted(result.metrics.items(), key=lambda m: m[0] != result.primary):
                column = Column(
                    key=f"{task}:{name}",
                    suite=task.rpartition("/")[0],
                    task=task.rpartition("/")[2],
                    label=name,
                    main=name == result.primary,
                    better=metric.better,
                    range=metric.range,
                    reads=reads,
                    writes=writes,
                    title=result.title or "",
                    about=metric.description
                    or (result.description or "" if name == result.primary else ""),
                )
                by_key.setdefault(column.key, column)
    suites = list(dict.fromkeys(column.suite for column in by_key.values()))
    columns = sorted(by_key.values(), key=lambda column: suites.index(column.suite))
    if reference is not None and any(c.key in by_key for c in reference.columns):
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
    about = f"{formula} of {', '.join(aggregate.inputs)}" if formula else ""
    return Column(
        name, suite, "", label, True, "higher", None, [], [], "", about, aggregate.inputs, formula
    )


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
    rank_low, rank_high. Fills in `classes`, `unranked` and `uneven` of the columns.

    Missing numbers are nan; `comparable` holds the conditions that the cells of a class share, `group`
    is the index of the class in its column.
    """
    import pandas as pd

    rows = [cell for entry in entries for column in columns if (cell := _cell(entry, column, samples))]
    names = ["run", "column", "value", "low", "high", "n", "failed", "invalid", "comparable"]
    cells = pd.DataFrame(rows, columns=names)
    cells["group"] = 0
    cells["rank_low"] = cells["rank_high"] = np.nan
    by_id = {entry.id: entry for entry in entries}
    draws_cache: dict[tuple[str, ...], TaskDraws] = {}
    for column in columns:
        column_cells = cells[cells["column"] == column.key]
        sizes = column_cells.groupby("comparable", sort=False)["run"].agg(["size", "first"])
        order = sizes.sort_values(["size", "first"], ascending=[False, True], kind="stable").index
        for group, comparable in enumerate(order):
            members = column_cells[column_cells["comparable"] == comparable]
            cells.loc[members.index, "group"] = group
            difference = ", ".join(unlike(dict(order[0]), dict(comparable))) if group else ""
            column.classes.append((len(members), difference))
            valued = members[members["value"].notna()]
            runs = [by_id[run] for run in valued["run"]]
            ranks = _ranks(column, runs, samples, draws_cache)
            if ranks is None:
                if runs and not column.unranked:
                    column.unranked = "its values are not of single samples, so runs cannot be paired"
            else:
                cells.loc[valued.index, "rank_low"] = ranks.low
                cells.loc[valued.index, "rank_high"] = ranks.high
    return cells


def _cell(entry: SiteRun, column: Column, samples: Samples) -> tuple[Any, ...] | None:
    number: MetricResult | AggregateResult | None
    if column.task:
        task = entry.results.tasks.get(f"{column.suite}/{column.task}")
        number = task.metrics.get(column.key.rpartition(":")[2]) if task is not None else None
    else:
        number = entry.results.aggregates.get(column.key) if column.formula else None
    if number is None:
        return None
    low, high = number.ci95 or (np.nan, np.nan)
    estimate = np.nan if number.value is None else number.value
    counts: tuple[float, float, str] = (np.nan, np.nan, "")
    if isinstance(number, MetricResult):
        counts = number.n, number.failed, number.invalid or ""
    comparable = _comparable(entry, column, samples, number)
    return entry.id, column.key, estimate, low, high, *counts, comparable


def _tasks_below(entry: SiteRun, name: str) -> set[str]:
    """Tasks of an aggregate's inputs, with those of nested aggregates."""
    return {reference.partition(":")[0] for reference in _metrics_below(entry, name)}


def _metrics_below(entry: SiteRun, name: str) -> set[str]:
    """Metrics (`task:metric`) among an aggregate's inputs and those of nested aggregates, each followed
    once; tasks that the run does not have are ignored."""
    metrics: set[str] = set()
    followed, unread = {name}, [name]
    while unread:
        aggregate = entry.results.aggregates.get(unread.pop())
        for reference in aggregate.inputs.values() if aggregate is not None else ():
            task, colon, _ = reference.partition(":")
            if colon:
                metrics |= {reference} if task in entry.file.tasks else set()
            elif reference not in followed:
                followed.add(reference)
                unread.append(reference)
    return metrics


def _comparable(
    entry: SiteRun, column: Column, samples: Samples, number: MetricResult | AggregateResult
) -> tuple[tuple[str, str], ...]:
    """Conditions that comparable cells share: sorted pairs of a name and its fingerprint or value."""
    references = [column.key] if column.task else sorted(_metrics_below(entry, column.key))
    tasks = {reference.partition(":")[0] for reference in references}
    shared: dict[str, str] = {}
    for reference in references:
        task, _, metric = reference.partition(":")
        prefix = f"{task} " if len(tasks) > 1 else ""
        judge = _judge_of(metric, samples.get((entry.id, task)))
        shared |= {prefix + name: s for name, s in conditions(entry.file, task, judge).items()}
    if isinstance(number, AggregateResult):
        shared["formula"] = f"{number.formula} of {sorted(number.inputs.items())}"
    return tuple(sorted(shared.items()))


def _judge_of(metric: str, samples: TaskSamples | None) -> str | None:
    """The judge of a metric; None if it has no values of single samples."""
    metrics = samples.metrics if samples is not None else ()
    return next((scored.judge for scored in metrics if scored.name == metric), None)


def _ranks(
    column: Column,
    runs: Sequence[SiteRun],
    samples: Samples,
    cache: dict[tuple[str, ...], TaskDraws],
) -> Ranks | None:
    """Ranks of these runs in a column; None if a run has no values of single samples."""
    if not runs:
        return None
    ids = tuple(run.id for run in runs)

    def draws(task: str) -> TaskDraws:
        if (task, *ids) not in cache:
            cache[task, *ids] = TaskDraws([samples[id_, task] for id_ in ids])
        return cache[task, *ids]

    def combined(values_of: Callable[[TaskDraws, str], Floats]) -> Floats | None:
        def of_metric(task: str, metric: str) -> Floats | None:
            measured = all((id_, task) in samples for id_ in ids)
            return values_of(draws(task), metric) if measured else None

        return _combined(column.key, runs[0].results.aggregates, of_metric)

    tasks = sorted(_tasks_below(runs[0], column.key))
    if column.task:
        tasks = [f"{column.suite}/{column.task}"]
    metric = column.key.rpartition(":")[2]
    sign = 1.0 if column.better == "higher" else -1.0
    means = combined(lambda task_draws, name: task_draws.means(name))
    if means is None or not np.isfinite(means).all():
        return None
    if all(draws(task).even for task in tasks):
        groups = min((draws(task).groups for task in tasks), default=0)
        differing = draws(tasks[0]).differing(metric) if column.task else None
        return rank_intervals(sign * means, groups, differing)

    def against(run: int) -> RunDifferences:
        means_of_others = combined(lambda task_draws, name: task_draws.of_others(name, run))
        own_means = combined(lambda task_draws, name: task_draws.of_one(name, run))
        assert means_of_others is not None  # as `means` is there
        assert own_means is not None
        shared = np.min([draws(task).shared_groups(run) for task in tasks], axis=0)
        differing = draws(tasks[0]).differing_from(metric, run) if column.task else None
        return RunDifferences(sign * (means_of_others - own_means), shared, differing)

    column.uneven = True
    return ranks_against(against(run) for run in range(len(runs)))


def _combined(
    reference: str,
    aggregates: Mapping[str, AggregateResult],
    of_metric: Callable[[str, str], Floats | None],
    above: tuple[str, ...] = (),
) -> Floats | None:
    """Values of a metric (`task:metric`), or of an aggregate from those of its inputs; None if one of
    them has no values, or the aggregate is part of itself (`above`)."""
    task, colon, metric = reference.partition(":")
    if colon:
        return of_metric(task, metric)
    aggregate = aggregates.get(reference)
    formula = plugins.find(plugins.AGGREGATES, aggregate.formula or "") if aggregate else None
    if aggregate is None or formula is None or reference in above or not aggregate.inputs:
        return None
    inputs = {
        key: _combined(inner, aggregates, of_metric, (*above, reference))
        for key, inner in aggregate.inputs.items()
    }
    available = {key: values for key, values in inputs.items() if values is not None}
    return formula(available) if len(available) == len(inputs) else None


def reference_rows(reference: Reference, columns: Sequence[Column]) -> list[list[Any]]:
    """Published rows of the main table: [name, values in the order of `columns`, None for no value].

    There are none if the runs share no column with them.
    """
    index_of = {column.key: i for i, column in enumerate(reference.columns)}
    if not any(column.key in index_of for column in columns):
        return []
    return [
        [name, [values[index_of[c.key]] if c.key in index_of else None for c in columns]]
        for name, values in reference.rows.items()
    ]
