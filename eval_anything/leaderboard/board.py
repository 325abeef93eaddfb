"""The main table: its columns, a cell for each run, and which cells can be compared.

A column is a metric of a task (`suite/task:metric`) or an aggregate of a suite (`suite/name`). The
cells of a column fall into classes: within a class every fingerprint of the task, and how many of its
samples were taken, are the same. Ranks are given within a class alone.
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
"""By run id and task."""


class Column(Struct):
    """A column. `task` is "" for an aggregate. `classes` are its classes of comparable runs: how many
    runs, and in what they differ from the first class ("" for the first). `ranked` tells why there are
    no ranks, or is ""."""

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
    """Every metric and aggregate of these runs, suite by suite, and the columns of the reference."""
    found: dict[str, Column] = {}
    of_task = lru_cache(maxsize=None)(lambda task: _modalities(task, entries, samples, prompts))
    for entry in entries:
        for name, aggregate in entry.results.aggregates.items():
            column = _aggregate_column(name, aggregate)
            for task in sorted(_tasks_below(entry, name)):
                for have, more in zip((column.reads, column.writes), of_task(task), strict=True):
                    have += [m for m in more if m not in have]
            found.setdefault(name, column)
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
                )
                found.setdefault(column.key, column)
    suites = list(dict.fromkeys(column.suite for column in found.values()))
    columns = sorted(found.values(), key=lambda column: suites.index(column.suite))
    if reference is not None:
        columns += [_published(c) for c in reference.columns if c.key not in found]
    return columns


def _published(column: Any) -> Column:
    suite, _, rest = column.key.partition("/")
    return Column(
        key=column.key,
        suite=suite,
        task=rest.rpartition(":")[0],
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
    """What a task reads and writes: as it says itself, else as its responses have it."""
    task = prompts.task(name)
    if task is not None:
        return [str(m) for m in task.file.inputs], [str(m) for m in task.file.outputs]
    known = [samples[e.id, name] for e in entries if (e.id, name) in samples]
    seen = {letter for run in known for row in run.rows for letter in row.modalities}
    return [], [m for m in ("text", "image", "audio", "video") if m[0] in seen]


def cells_of(entries: Sequence[SiteRun], columns: Sequence[Column], samples: Samples) -> pd.DataFrame:
    """A row for each cell: run, column, value, low, high, n, failed, invalid, comparable, group,
    rank_low, rank_high.

    Numbers that are not there are nan; `comparable` is what the cells of a class share, `group` counts
    the column's classes from 0. Fills in `classes` and `unranked` of the columns.
    """
    import pandas as pd

    rows = [cell for entry in entries for column in columns if (cell := _cell(entry, column))]
    names = ["run", "column", "value", "low", "high", "n", "failed", "invalid", "comparable"]
    cells = pd.DataFrame(rows, columns=names)
    cells["group"] = 0
    cells["rank_low"] = cells["rank_high"] = np.nan
    by_id = {entry.id: entry for entry in entries}
    drawn: dict[tuple[str, ...], TaskDraws] = {}
    means: dict[tuple[str, tuple[str, ...]], Floats | None] = {}
    for column in columns:
        own = cells[cells["column"] == column.key]
        sizes = own.groupby("comparable", sort=False)["run"].agg(["size", "first"])
        order = sizes.sort_values(["size", "first"], ascending=[False, True], kind="stable").index
        for number, comparable in enumerate(order):
            members = own[own["comparable"] == comparable]
            cells.loc[members.index, "group"] = number
            why = _difference(order[0], comparable) if number else ""
            column.classes.append((len(members), why))
            valued = members[members["value"].notna()]
            runs = [by_id[run] for run in valued["run"]]
            ranks = _ranks(column, runs, samples, drawn, means)
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
    value = np.nan if number.value is None else number.value
    counts: tuple[float, float, str] = (np.nan, np.nan, "")
    if isinstance(number, MetricResult):
        counts = number.n, number.failed, number.invalid or ""
    return entry.id, column.key, value, low, high, *counts, _comparable(entry, tasks, number)


def _tasks_below(entry: SiteRun, name: str, above: tuple[str, ...] = ()) -> set[str]:
    """The tasks that an aggregate is made of; one that is part of itself has none."""
    found = set()
    aggregate = entry.results.aggregates.get(name)
    for reference in aggregate.inputs.values() if aggregate is not None else ():
        task, colon, _ = reference.partition(":")
        if colon:
            found |= {task} & set(entry.file.tasks)
        elif reference not in (name, *above):
            found |= _tasks_below(entry, reference, (name, *above))
    return found


def _comparable(
    entry: SiteRun, tasks: Sequence[str], number: MetricResult | AggregateResult
) -> tuple[tuple[str, str], ...]:
    """What two cells must have in common: (what it is, its fingerprint), sorted."""
    found = {}
    for task in tasks:
        prefix = f"{task} " if len(tasks) > 1 else ""
        for name, sha256 in entry.file.fingerprints.get(task, {}).items():
            found[f"{prefix}{name}"] = sha256
        found[f"{prefix}number of samples"] = str(entry.file.counts.get(task, ""))
    if isinstance(number, AggregateResult):
        found["formula"] = f"{number.formula} of {sorted(number.inputs.items())}"
    return tuple(sorted(found.items()))


def _difference(one: tuple[tuple[str, str], ...], other: tuple[tuple[str, str], ...]) -> str:
    first, second = dict(one), dict(other)
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    told = []
    for name in sorted(names):
        counts = name.endswith("number of samples")
        told.append(f"{name} ({second.get(name)}, not {first.get(name)})" if counts else name)
    return ", ".join(told)


def _ranks(
    column: Column,
    runs: Sequence[SiteRun],
    samples: Samples,
    drawn: dict[tuple[str, ...], TaskDraws],
    known: dict[tuple[str, tuple[str, ...]], Floats | None],
) -> Ranks | None:
    """None where a run has no values of single samples."""
    if not runs:
        return None
    ids = tuple(run.id for run in runs)

    def draws(task: str) -> TaskDraws:
        if (task, *ids) not in drawn:
            drawn[task, *ids] = TaskDraws([samples[id_, task] for id_ in ids])
        return drawn[task, *ids]

    def means(reference: str) -> Floats | None:
        if (reference, ids) not in known:
            known[reference, ids] = None  # an aggregate that is part of itself has none
            task, colon, metric = reference.partition(":")
            if colon:
                measured = all((id_, task) in samples for id_ in ids)
                found: Floats | None = draws(task).means(metric) if measured else None
            else:
                aggregate = runs[0].results.aggregates.get(reference)
                names = aggregate.inputs if aggregate is not None else {}
                inputs = {key: means(inner) for key, inner in names.items()}
                given = {key: value for key, value in inputs.items() if value is not None}
                name = (aggregate.formula or "") if aggregate is not None else ""
                formula = plugins.find(plugins.AGGREGATES, name)
                complete = formula is not None and given and len(given) == len(inputs)
                found = formula(given) if complete else None
            usable = found is not None and bool(np.isfinite(found).all())
            known[reference, ids] = found if usable else None
        return known[reference, ids]

    if column.task:
        task = f"{column.suite}/{column.task}"
        metric = column.key.rpartition(":")[2]
        groups, differing = draws(task).groups, draws(task).differing(metric)
    else:
        tasks = _tasks_below(runs[0], column.key)
        groups = min((draws(task).groups for task in tasks), default=0)
        differing = None
    found = means(column.key)
    if found is None:
        return None
    return rank_intervals(found if column.better == "higher" else -found, groups, differing)


def reference_rows(reference: Reference, columns: Sequence[Column]) -> list[list[Any]]:
    """Rows of the main table: [name, values in the order of the columns]."""
    places = {column.key: i for i, column in enumerate(reference.columns)}
    return [
        [name, [values[places[c.key]] if c.key in places else None for c in columns]]
        for name, values in reference.rows.items()
    ]
