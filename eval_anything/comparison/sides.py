"""The two runs of a comparison, and the metrics of theirs that cannot be compared."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from eval_anything.errors import UserError
from eval_anything.runs.comparable import conditions, unlike
from eval_anything.runs.directory import Outline, RunFile, read_outlines, read_run_file
from eval_anything.runs.labels_file import MetricLabels, read_labels_of
from eval_anything.runs.results_file import Results, read_results


class Side(NamedTuple):
    """A finished run with the outlines of its records, and its labels by metric, by task."""

    path: Path
    file: RunFile
    results: Results
    outlines: dict[str, list[Outline]]
    labels: dict[str, dict[str, MetricLabels]] = {}


def read_side(run: Path) -> Side:
    """Reads a finished run. UserError if it is unfinished or damaged."""
    file = read_run_file(run)
    if file.status != "done":
        raise UserError(
            f"{run} is not finished (status: {file.status}). Go on with it: "
            f"{shlex.join(file.command) or 'the command that began it'}"
        )
    results = read_results(run, file.tasks)
    outlines = {task: read_outlines(run, task) for task in file.tasks}
    labels = {task: read_labels_of(run, task) for task in file.tasks}
    return Side(run, file, results, outlines, labels)


def refusal(base: Side, candidate: Side, task: str, metric: str) -> str:
    """The conditions in which two runs differ, so that a metric cannot be compared; "" if it can."""
    judges = [_judge_of(metric, side.outlines[task]) for side in (base, candidate)]
    first, second = (
        conditions(side.file, task, judge) for side, judge in zip((base, candidate), judges, strict=True)
    )
    return ", ".join(unlike(first, second))


def refused_metrics(base: Side, candidate: Side, tasks: Sequence[str]) -> dict[str, str]:
    """Metrics that both runs have and that cannot be compared, as `task:metric`, with the reasons."""
    refused = {}
    for task in tasks:
        for metric in _scored(base.outlines[task]) & _scored(candidate.outlines[task]):
            reason = refusal(base, candidate, task, metric)
            if reason:
                refused[f"{task}:{metric}"] = reason
    return dict(sorted(refused.items()))


def samples_of(outlines: Sequence[Outline]) -> set[tuple[str, str]]:
    """The samples with a record, as (sample id, item)."""
    return {(outline.sample_id, outline.item) for outline in outlines}


def _judge_of(metric: str, outlines: Sequence[Outline]) -> str | None:
    """The judge of a metric, None if it is in no record."""
    return next((o.scores[metric].judge for o in outlines if metric in o.scores), None)


def _scored(outlines: Sequence[Outline]) -> set[str]:
    """Metrics that have a value in a record."""
    return {name for o in outlines for name, score in o.scores.items() if score.value is not None}
