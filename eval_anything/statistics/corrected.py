"""Judged values corrected by labels: prediction-powered means that are right although the judge is not.

A judge has scored all N samples, people have labelled some of them, drawn at random with known
probabilities. The corrected mean is that of the labels, moved by what the judge says about the samples
without one (PPI++; Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453), with each label weighted by
1 / probability (Hajek). Whatever the judge's bias, it cancels: the judge only decides how wide the
interval
is. How far the judge is used, between 0 (labels alone) and 1, is tuned to the least clustered variance.

The result is a value for each sample, whose mean is the corrected mean and whose spread is its error:

    m_i = label mean + tuning * (judged_i - weighted mean of the labelled judged)
    value_i = m_i + weight_i * (label_i - m_i)            weight_i is 0 without a label, 1 on average

So `mean_interval` and `paired` take these values like any others, also those of a part of the samples,
such
as a modality. `make validity` measures the coverage.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from eval_anything.statistics.intervals import Floats, Ints, assumed_clump, few_differ

MIN_LABELS = 30
"""Clusters with a label that a correction needs: with fewer, intervals miss more often than they say."""


_RULE_OF_THREE = 1.53  # standard errors of 1 / n whose 95 % interval reaches 3 / n


_UNLIKELY = 6.0  # standard errors between the samples that probabilities stand for, and those there are


class LabelArrays(NamedTuple):
    """Labels of some samples: their places (n,) among all, their values (n,) in the metric's units, and
    the probabilities (n,) with which each was chosen, above 0 and at most 1. What is known for certain,
    such as the floor of a failed sample, has the probability 1."""

    places: Ints
    truth: Floats
    probability: Floats


class CorrectedValues(NamedTuple):
    """Corrected value of each sample (N,), the tuning of each judged column, and the number of labelled
    clusters."""

    values: Floats
    tuning: tuple[float, ...]
    clusters: int


def misfit(labels: LabelArrays, n: int) -> tuple[float, float] | None:
    """Number of samples that the probabilities stand for, sum 1 / probability, with its standard error,
    if that is far from the n there are; else None."""
    inverse = 1 / labels.probability
    count, error = float(inverse.sum()), math.sqrt(float((inverse * (inverse - 1)).sum()))
    return (count, error) if abs(count - n) > _UNLIKELY * error + 0.02 * n else None


def corrected_mean(
    judged: Floats, labels: LabelArrays, codes: Ints, reach: float, most: float = 1.0
) -> CorrectedValues:
    """Values whose mean is the corrected mean of a judge's scores.

    Args:
        judged: the judge's scores (N,).
        labels: the labels of some of them.
        codes: the cluster of each sample (N,).
        reach: the width of the range of a score.
        most: the largest tuning; 0 uses the labels alone.

    Example:
        >>> judged = np.array([1.0, 1, 1, 1, 0, 0] * 50)  # says 1 too often
        >>> labels = LabelArrays(np.arange(0, 300, 5), np.arange(60) % 2 * 1.0, np.full(60, 0.2))
        >>> round(float(corrected_mean(judged, labels, np.arange(300), reach=1.0).values.mean()), 2)
        0.5
    """
    return _combined([_Side(judged, labels)], [1.0], codes, reach, most)


def corrected_change(
    base: Floats,
    base_labels: LabelArrays,
    candidate: Floats,
    labels: LabelArrays,
    codes: Ints,
    reach: float,
) -> CorrectedValues:
    """Values whose mean is the corrected mean of candidate - base, for the same N samples.

    Labels of the same samples in both runs show the change best; others are as valid. The arguments are
    those of `corrected_mean`, for each run.
    """
    sides = [_Side(base, base_labels), _Side(candidate, labels)]
    return _combined(sides, [-1.0, 1.0], codes, 2 * reach, 1.0)


class _Side:
    """Labels and judge of one run as deviations (N,) from their means, which a tuning combines."""

    def __init__(self, judged: Floats, labels: LabelArrays) -> None:
        n = len(judged)
        weights = np.zeros(n)
        weights[labels.places] = 1 / labels.probability
        weights *= n / weights.sum()
        truth = np.zeros(n)
        truth[labels.places] = labels.truth
        self.mean = float(weights @ truth) / n
        labelled_mean = float(weights @ judged) / n
        self.shift = float(judged.mean()) - labelled_mean
        self.label_part: Floats = weights * (truth - self.mean)
        self.judge_part: Floats = judged - judged.mean() - weights * (judged - labelled_mean)
        self.open = labels.places[labels.probability < 1]
        self.weights, self.truth, self.judged = weights, truth, judged


def _combined(
    sides: list[_Side], signs: list[float], codes: Ints, reach: float, most: float
) -> CorrectedValues:
    groups = int(codes.max()) + 1
    turned = np.array(signs)
    label_part: Floats = turned @ np.stack([side.label_part for side in sides])
    judge_parts = np.stack([s * side.judge_part for s, side in zip(signs, sides, strict=True)])
    sums = np.stack([np.bincount(codes, part, groups) for part in judge_parts])
    label_sums = np.bincount(codes, label_part, groups)
    tuning = _tuning(label_sums.astype(np.float64), sums.astype(np.float64), most)
    mean = sum(s * (side.mean + t * side.shift) for s, side, t in zip(signs, sides, tuning, strict=True))
    deviations: Floats = label_part + tuning @ judge_parts
    open_places = np.unique(np.concatenate([side.open for side in sides]))
    if not len(open_places):  # all is known
        return CorrectedValues(mean + deviations, tuple(tuning.tolist()), groups)
    labelled = np.unique(codes[open_places])
    count, used = len(labelled), 1 + len(sides)
    deviations = deviations * math.sqrt(count / max(count - used, 1))
    deviations += _unseen(sides, signs, tuning, codes, open_places, reach)
    return CorrectedValues(mean + deviations, tuple(tuning.tolist()), count)


def _tuning(label_sums: Floats, judge_sums: Floats, most: float) -> Floats:
    """Tuning (sides,) between 0 and `most` with the least variance of the sums (clusters,)."""
    gram = judge_sums @ judge_sums.T
    scale = float(np.trace(gram))
    if scale <= 0 or most <= 0:
        return np.zeros(len(judge_sums))
    steadied = gram + 1e-9 * scale * np.eye(len(gram))  # two runs may be judged alike
    best = np.linalg.solve(steadied, -(judge_sums @ label_sums))
    clipped: Floats = np.clip(best, 0.0, most).astype(np.float64)
    return clipped


def _unseen(
    sides: list[_Side],
    signs: list[float],
    tuning: Floats,
    codes: Ints,
    places: Ints,
    reach: float,
) -> Floats:
    """Deviations (N,) for labels that others might differ from, where those there are hardly differ from
    the judge: the rule of three, spread over the labelled samples, so that their mean stays."""
    n = len(codes)
    unseen: Floats = np.zeros(n)
    residuals: Floats = np.zeros(len(places))
    for sign, side, times in zip(signs, sides, tuning, strict=True):
        has_label = side.weights[places] > 0
        residuals = residuals + sign * np.where(
            has_label, (side.truth - times * side.judged)[places], 0.0
        )
    _, own_codes = np.unique(codes[places], return_inverse=True)
    if not few_differ(residuals / reach, own_codes):
        return unseen
    weights = np.max([side.weights[places] for side in sides], axis=0)
    groups = int(own_codes.max()) + 1
    effective = weights.sum() ** 2 / (weights @ weights) / float(assumed_clump(len(places), groups))
    _, first = np.unique(own_codes, return_index=True)
    chosen = places[first][: len(first) // 2 * 2]
    if len(chosen):
        step = _RULE_OF_THREE * reach / effective * n / math.sqrt(len(chosen))
        unseen[chosen] = np.where(np.arange(len(chosen)) % 2, -step, step)
    return unseen
