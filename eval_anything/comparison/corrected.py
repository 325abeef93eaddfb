"""Changes of judged metrics, corrected by the labels of both runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from eval_anything.comparison.pairs import PairedSample
from eval_anything.comparison.sides import Side
from eval_anything.runs.corrected import check_single_answers
from eval_anything.runs.labels_file import NotCorrectedError, label_arrays
from eval_anything.statistics.corrected import LabelArrays, corrected_change
from eval_anything.statistics.intervals import Floats, cluster_codes


class CorrectedChanges(NamedTuple):
    """Values (n,) whose mean is the corrected mean of candidate - base, in the metric's units; which
    samples (n,) are known, by a label in each run or as a failure; the number of labelled clusters."""

    values: Floats
    known: Sequence[bool]
    clusters: int


def is_labelled(task: str, metric: str, base: Side, candidate: Side) -> bool:
    """Whether either of two runs has labels of a metric."""
    return any(metric in side.labels.get(task, {}) for side in (base, candidate))


def corrected_changes(
    task: str, metric: str, rows: Sequence[PairedSample], base: Side, candidate: Side
) -> CorrectedChanges:
    """Corrected changes of the samples of two runs.

    Raises:
        NotCorrectedError: a run has no labels of the metric, or they are too few or wrong.
    """
    ids, clusters = [row.sample_id for row in rows], [row.cluster for row in rows]
    judged = np.array([row.base for row in rows]), np.array([row.candidate for row in rows])
    both_labels: list[LabelArrays] = []
    for side, column in zip((base, candidate), judged, strict=True):
        labels = side.labels.get(task, {}).get(metric)
        if labels is None:
            raise NotCorrectedError(f"{side.path} has no labels of it: `eval-anything judges correct`")
        outlines = side.outlines[task]
        scored = [o for o in outlines if metric in o.scores]
        try:
            check_single_answers(scored)
            failed = {o.sample_id for o in scored if o.failed}
            both_labels.append(label_arrays(labels, ids, column, failed, clusters))
        except NotCorrectedError as error:
            raise NotCorrectedError(f"{side.path}: {error}") from None
    low, high = next(o.scores[metric].range for o in candidate.outlines[task] if metric in o.scores)
    codes = cluster_codes(clusters)
    corrected = corrected_change(judged[0], both_labels[0], judged[1], both_labels[1], codes, high - low)
    places = [set(side_labels.places.tolist()) for side_labels in both_labels]
    in_both = [index in places[0] and index in places[1] for index in range(len(rows))]
    return CorrectedChanges(corrected.values, in_both, corrected.clusters)
