"""Judged metrics of a run, corrected by the labels in its directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from eval_anything.runs.directory import Outline, read_outlines
from eval_anything.runs.labels_file import (
    MetricLabels,
    NotCorrectedError,
    label_arrays,
    read_labels_of,
)
from eval_anything.runs.results_file import CorrectedResult, MetricResult, TaskResult
from eval_anything.statistics.corrected import corrected_mean
from eval_anything.statistics.intervals import cluster_codes, mean_interval


def with_corrections(run: Path, task: str, task_result: TaskResult) -> TaskResult:
    """Results of a task with `corrected` in the metrics of which the run has labels."""
    labels = read_labels_of(run, task)
    if not labels:
        return task_result
    outlines = read_outlines(run, task)
    metrics: Mapping[str, MetricResult] = {
        name: replace(metric, corrected=_corrected(outlines, name, labels[name], metric))
        if name in labels and metric.invalid is UNSET
        else metric
        for name, metric in task_result.metrics.items()
    }
    return replace(task_result, metrics=dict(metrics))


def _corrected(
    outlines: Sequence[Outline], name: str, labels: MetricLabels, metric: MetricResult
) -> CorrectedResult:
    alpha = labels.agreement.value if labels.agreement is not None else None
    about = CorrectedResult(
        labels=len(labels.samples), annotators=labels.annotators, agreement=alpha, value=None
    )
    scored = [o for o in outlines if name in o.scores and o.scores[name].value is not None]
    try:
        check_single_answers(scored)
        judged = np.array([o.scores[name].value for o in scored], float)
        clusters = [o.source_id for o in scored]
        failed = {o.sample_id for o in scored if o.failed}
        arrays = label_arrays(labels, [o.sample_id for o in scored], judged, failed, clusters)
    except NotCorrectedError as error:
        return replace(about, reason=str(error))
    low, high = metric.range
    codes = cluster_codes(clusters)
    correction = corrected_mean(judged, arrays, codes, high - low)
    estimate = mean_interval(correction.values.tolist(), codes, metric.range)
    return replace(
        about,
        value=estimate.value,
        stderr=estimate.stderr,
        ci95=(estimate.low, estimate.high),
        tuning=correction.tuning[0],
    )


def check_single_answers(outlines: Sequence[Outline]) -> None:
    """Raises NotCorrectedError if samples have several answers: labels are about the first."""
    if len({outline.sample_id for outline in outlines}) < len(outlines):
        raise NotCorrectedError("its samples have several answers each, and labels are of one")
