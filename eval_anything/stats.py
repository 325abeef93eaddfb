"""Means with honest intervals: clustered, and sensible for small n and near the ends of a range.

Standard errors follow Miller, "Adding Error Bars to Evals" (arXiv 2411.00640): samples that share a
source are one cluster. Proportions get Wilson's interval (Wilson 1927) with the effective sample
size that the clusters leave (Korn and Graubard 1998).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

Z95 = NormalDist().inv_cdf(0.975)


class Estimate(NamedTuple):
    """A mean, its standard error (None for fewer than two clusters), its 95 % interval, and n."""

    value: float
    stderr: float | None
    low: float
    high: float
    n: int


def mean_interval(
    values: Sequence[float], clusters: Sequence[str], bounds: tuple[float, float]
) -> Estimate:
    """The mean of `values` (not empty) in `bounds`, with an interval that stays inside them.

    SE^2 = G/(G-1) * sum_g (sum_{i in g} (x_i - mean))^2 / n^2 over the G clusters. The interval is
    Wilson's for values at the two ends only, and where all values are equal (a t interval would
    have no width); else Student's t with G-1 degrees of freedom.
    """
    n = len(values)
    low, high = bounds
    mean = min(high, max(low, math.fsum(values) / n))  # a sum may round past the end
    sums: dict[str, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + (value - mean)
    groups = len(sums)
    if groups < 2:
        return Estimate(mean, None, low, high, n)
    variance = groups / (groups - 1) * math.fsum(s * s for s in sums.values()) / n**2
    stderr = math.sqrt(variance)
    proportion = (mean - low) / (high - low)
    if variance < 1e-18 * (high - low) ** 2:
        ends = wilson(proportion, groups)
    elif all(value in (low, high) for value in values):
        simple = (high - low) ** 2 * proportion * (1 - proportion) / n
        ends = wilson(proportion, n * min(1.0, simple / variance))
    else:
        from scipy.special import stdtrit  # Student's quantile; a tenth of scipy.stats to import

        width = float(stdtrit(groups - 1, 0.975)) * stderr
        return Estimate(mean, stderr, max(low, mean - width), min(high, mean + width), n)
    return Estimate(mean, stderr, low + ends[0] * (high - low), low + ends[1] * (high - low), n)


def wilson(proportion: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion of n (which may be an effective, broken n)."""
    centre = proportion + Z95**2 / (2 * n)
    width = Z95 * math.sqrt(proportion * (1 - proportion) / n + Z95**2 / (4 * n**2))
    scale = 1 + Z95**2 / n
    lowest = 0.0 if proportion == 0 else max(0.0, (centre - width) / scale)
    highest = 1.0 if proportion == 1 else min(1.0, (centre + width) / scale)
    return lowest, highest
