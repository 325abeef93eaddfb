"""Labels by people of a run's answers: `<suite>/<task>/labels.jsonl` in its directory, a label a line.

`judges correct` writes it from a file of labels (`judges/calibration/labels.py`), whose rows it has
found to
be about this run's answers. Results, comparisons, bills and gates correct judged numbers with it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct

from eval_anything.errors import UserError
from eval_anything.files.json_text import decode_strict
from eval_anything.files.reading import MAX_LINES, read_file
from eval_anything.files.writing import write_atomically
from eval_anything.runs.own_files import own_file
from eval_anything.statistics.agreement import AgreementFigure, krippendorff_alpha
from eval_anything.statistics.corrected import MIN_LABELS, LabelArrays, misfit
from eval_anything.statistics.intervals import Floats

FILE_NAME = "labels.jsonl"


class NotCorrectedError(ValueError):
    """Labels with which a metric of a run cannot be corrected; the message is the reason."""


class RunLabel(Struct, frozen=True, forbid_unknown_fields=True):
    """A label of the answer to a sample: the score that the judge should have given it, in the metric's
    units, and the probability with which the sample was chosen for a label."""

    sample_id: str
    item: str
    metric: str
    value: float
    probability: Annotated[float, Meta(gt=0, le=1)]
    annotator: str


class SampleLabel(Struct, frozen=True):
    """Mean label of a sample over its annotators, and the sample's probability."""

    value: float
    probability: float


class MetricLabels(Struct, frozen=True):
    """Labels of one metric of a task, by sample id, with their annotators and, if two have labelled the
    same samples, their agreement (Krippendorff's alpha, interval)."""

    samples: dict[str, SampleLabel]
    annotators: list[str]
    agreement: AgreementFigure | None


def write_labels(run: Path, task: str, labels: Sequence[RunLabel]) -> Path:
    """Writes the labels of a task, in place of those of the same metrics; returns the path."""
    replaced = {label.metric for label in labels}
    other_metrics = [label for label in _read(run, task) if label.metric not in replaced]
    path = run / task / FILE_NAME
    write_atomically(
        path, b"".join(msgspec.json.encode(row) + b"\n" for row in (*other_metrics, *labels))
    )
    return path


def read_labels_of(run: Path, task: str) -> dict[str, MetricLabels]:
    """The labels of a task by metric; {} without any. UserError names a damaged line."""
    by_metric: dict[str, list[RunLabel]] = {}
    for label in _read(run, task):
        by_metric.setdefault(label.metric, []).append(label)
    return {metric: _merged(labels) for metric, labels in by_metric.items()}


def _read(run: Path, task: str) -> list[RunLabel]:
    path = own_file(run, run / task / FILE_NAME)
    if not path.exists():
        return []
    labels = []
    for number, line in enumerate(read_file(path, MAX_LINES).splitlines(), start=1):
        try:
            labels.append(decode_strict(line, RunLabel))
        except ValueError as error:
            raise UserError(
                f"{path}:{number}: damaged label ({error}). Delete the file, and repeat "
                "`eval-anything judges correct`."
            ) from None
    return labels


def _merged(labels: Sequence[RunLabel]) -> MetricLabels:
    values: dict[str, list[RunLabel]] = {}
    for label in labels:
        values.setdefault(label.sample_id, []).append(label)
    names = sorted({label.annotator for label in labels})
    samples = {
        sample_id: SampleLabel(sum(r.value for r in rows) / len(rows), rows[0].probability)
        for sample_id, rows in values.items()
    }
    return MetricLabels(samples, names, _agreement(values, names))


def _agreement(values: dict[str, list[RunLabel]], annotators: Sequence[str]) -> AgreementFigure | None:
    twice = {sample_id: rows for sample_id, rows in values.items() if len(rows) > 1}
    if not twice:
        return None
    ratings = np.full((len(annotators), len(twice)), np.nan)
    for column, rows in enumerate(twice.values()):
        for row in rows:
            ratings[annotators.index(row.annotator), column] = row.value
    return krippendorff_alpha(ratings, "interval", list(twice))


def label_arrays(
    metric_labels: MetricLabels,
    sample_ids: Sequence[str],
    judged: Floats,
    failed: Collection[str],
    clusters: Sequence[str],
) -> LabelArrays:
    """Labels of these samples as arrays. A sample that the model failed needs none: it has the floor.

    Args:
        metric_labels: the labels of the metric.
        sample_ids: the samples (n,) that are scored.
        judged: their scores (n,).
        failed: samples that the model failed.
        clusters: their clusters (n,).

    Raises:
        NotCorrectedError: the labels are too few, or their probabilities cannot be right.
    """
    places, truth, probability, labelled = [], [], [], set()
    for index, sample_id in enumerate(sample_ids):
        label = metric_labels.samples.get(sample_id)
        if sample_id in failed:
            label = SampleLabel(float(judged[index]), 1.0)
        elif label is not None:
            labelled.add(clusters[index])
        if label is not None:
            places.append(index)
            truth.append(label.value)
            probability.append(label.probability)
    all_known = len(places) == len(sample_ids)
    if len(labelled) < MIN_LABELS and not all_known:
        raise NotCorrectedError(
            f"it has labels from {len(labelled)} sources, and at least {MIN_LABELS} are needed: "
            f"with fewer "
            "no interval is right. Label more answers"
        )
    labels = LabelArrays(
        np.array(places, np.int64),
        np.array(truth),
        np.ones(len(places)) if all_known else np.array(probability),
    )
    wrong = misfit(labels, len(sample_ids))
    if wrong is not None:
        raise NotCorrectedError(
            f"the probabilities of its labels stand for {wrong[0]:.0f} samples, and there are "
            f"{len(sample_ids)}: they were drawn from others, or not with these probabilities"
        )
    return labels
