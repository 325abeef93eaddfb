"""Several answers to each sample: how much they vary, and how often one of so many is right.

Everything is a mean over samples, so intervals treat a sample, with the others of its source, as a
cluster.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from eval_anything.statistics.bootstrap import ClusterBootstrap
from eval_anything.statistics.intervals import Floats, mean_interval

Measured = tuple[float, tuple[float, float]]
"""A value with its 95 % interval."""


class Variation(NamedTuple):
    """Variation of several answers a sample, with 95 % intervals.

    Attributes:
        answers: the number of answers that every sample has, at least.
        within: variance of the answers to one sample, the mean over samples.
        between: variance of the samples' true means: that of their means less within / k.
        consistency: 1 less the mean distance of two answers to a sample, as a share of the range; where
            scores are 0 or 1 the share of pairs that agree.
        passes: by j, the probability that at least one of j answers has the best score; None where
            scores are not all at an end of the range.
    """

    answers: int
    within: Measured
    between: Measured
    consistency: Measured
    passes: dict[int, Measured] | None


class RepeatedScores:
    """Scores of samples with several answers, of which figures are kept."""

    def __init__(self, bounds: tuple[float, float], best: float) -> None:
        self._bounds = bounds
        self._best = best
        self._columns = {
            name: array("d") for name in ("mean", "variance", "distance", "passed", "count")
        }
        self._clusters: list[str] = []
        self._binary = True

    def add(self, scores: Sequence[float], cluster: str) -> None:
        """Adds the scores of the answers to a sample; one alone says nothing about variation."""
        if len(scores) < 2:
            return
        k, low, high = len(scores), *self._bounds
        mean = math.fsum(scores) / k
        ordered = sorted(scores)
        # the sum over pairs of the distance of ordered scores: the i-th is the upper one i times
        pairs = math.fsum((2 * i - k + 1) * score for i, score in enumerate(ordered))
        row = {
            "mean": mean,
            "variance": math.fsum((score - mean) ** 2 for score in scores) / (k - 1),
            "distance": 2 * pairs / (k * (k - 1)) / (high - low),
            "passed": float(sum(score == self._best for score in scores)),
            "count": float(k),
        }
        for name, number in row.items():
            self._columns[name].append(number)
        self._clusters.append(cluster)
        self._binary &= all(score in self._bounds for score in scores)

    def variation(self) -> Variation | None:
        """The figures; None where fewer than two samples have several answers."""
        if len(self._clusters) < 2:
            return None
        low, high = self._bounds
        columns = {name: np.asarray(column) for name, column in self._columns.items()}
        count = int(columns["count"].min())
        return Variation(
            answers=count,
            within=self._mean(columns["variance"], (high - low) ** 2 / 2),
            between=self._between(columns["mean"], columns["variance"] / columns["count"]),
            consistency=self._mean(1 - columns["distance"], 1.0),
            passes={j: self._passes(j) for j in _sizes(count)} if self._binary else None,
        )

    def _mean(self, numbers: Sequence[float] | Floats, most: float) -> Measured:
        estimate = mean_interval(list(map(float, numbers)), self._clusters, (0.0, most))
        return estimate.value, (estimate.low, estimate.high)

    def _passes(self, size: int) -> Measured:
        counts = zip(self._columns["passed"], self._columns["count"], strict=True)
        return self._mean([pass_at(size, int(passed), int(k)) for passed, k in counts], 1.0)

    def _between(self, means: Floats, noise: Floats) -> Measured:
        bootstrap = ClusterBootstrap(self._clusters, seed=0)

        def drawn(numbers: Floats) -> Floats:
            return bootstrap.means(*bootstrap.totals(numbers.tolist(), self._clusters))

        n = len(means)
        centred = means - means.mean()
        draws = drawn(centred**2) - drawn(centred) ** 2
        low, high = np.quantile(np.maximum(0.0, draws * n / (n - 1) - drawn(noise)), [0.025, 0.975])
        value = max(0.0, float(means.var(ddof=1) - noise.mean()))
        return value, (min(value, float(low)), max(value, float(high)))


def pass_at(size: int, passed: int, k: int) -> float:
    """Probability that at least one of `size` answers passes, estimated without bias from k answers, of
    which so many passed (Chen et al. 2021).

    Example:
        >>> pass_at(1, 1, 4), pass_at(2, 1, 4), pass_at(4, 1, 4)
        (0.25, 0.5, 1.0)
    """
    return 1 - math.comb(k - passed, size) / math.comb(k, size)


def _sizes(k: int) -> list[int]:
    """1, 2, 4 ... and k itself."""
    return sorted({k, *(2**i for i in range(k.bit_length()) if 2**i <= k)})
