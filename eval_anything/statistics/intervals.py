"""Means with 95 % intervals that are valid for clustered samples, small n, and means near a range's end.

Standard errors follow Miller, "Adding Error Bars to Evals" (arXiv 2411.00640): samples that share a
source are one cluster. Intervals are Wilson's (1927) with the effective sample size under clustering
(Korn and Graubard 1998): they are asymmetric near the ends of a range for every bounded score, not for
proportions alone. Two corrections keep their coverage where clusters are few or rare events decide: the
jackknife's variance (CR3; MacKinnon and White 1985), and degrees of freedom from the kurtosis of the
cluster sums. `make validity` measures the coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


Ints = NDArray[np.int64]


Z95 = NormalDist().inv_cdf(0.975)


# Below this share of a squared range a variance is rounding, not spread.
_NOTHING = 1e-18


class Estimate(NamedTuple):
    """A mean, its standard error (None for fewer than two clusters), its 95 % interval, and n."""

    value: float
    stderr: float | None
    low: float
    high: float
    n: int


class Spread(NamedTuple):
    """Sampling variance of a mean over G clusters.

    Attributes:
        variance: of the mean, G/(G-1) * sum_g s_g^2 / n^2, with s_g the sum of the deviations of
            cluster g.
        wide: the variance for intervals: times G/(G-1) again where clusters have several items (CR3).
        df: degrees of freedom of `wide`, 2 G m2^2 / (m4 - m2^2) with the moments of s_g; at most G-1,
            their number if the s_g are normal.
        groups: G.
    """

    variance: float
    wide: float
    df: float
    groups: int


def cluster_codes(clusters: Sequence[str] | Ints) -> Ints:
    """Codes of the clusters (n,): numbers from 0 in order of first appearance. An array is returned as
    it is."""
    if isinstance(clusters, np.ndarray):
        return clusters
    codes: dict[str, int] = {}
    return np.array([codes.setdefault(cluster, len(codes)) for cluster in clusters], np.int64)


def spread(deviations: Floats, codes: Ints) -> Spread | None:
    """Sampling variance of a mean, from the deviations (n,) of its items and the codes (n,) of their
    clusters; None for fewer than two clusters."""
    n, groups = len(deviations), int(codes.max()) + 1
    if groups < 2:
        return None
    squares = np.bincount(codes, deviations, groups) ** 2
    second = float(squares.mean())
    share = groups / (groups - 1)
    variance = share * groups * second / n**2
    excess = float((squares**2).mean()) - second**2
    df = groups - 1.0
    if excess > 1e-12 * second**2:
        df = min(df, max(1.0, 2 * groups * second**2 / excess))
    return Spread(variance, variance * share if groups < n else variance, df, groups)


def mean_interval(
    values: Sequence[float], clusters: Sequence[str] | Ints, bounds: tuple[float, float]
) -> Estimate:
    """Mean with its standard error and a 95 % interval that stays inside the bounds.

    The interval is Wilson's for the effective n, p (1 - p) / variance, where p is the position of the
    mean in the range, with Student's quantile. Binary values without clusters have their full n; where
    all values are equal, and the variance is no information, each cluster counts once.

    Args:
        values: scores (n,), at least one.
        clusters: the cluster of each score: names, or codes as `cluster_codes` gives them.
        bounds: lower and upper end of the range of a score.

    Example:
        >>> estimate = mean_interval([1, 1, 0, 1], ["a", "b", "c", "d"], (0.0, 1.0))
        >>> estimate.value, round(estimate.low, 2), round(estimate.high, 2)
        (0.75, 0.13, 0.98)
    """
    n = len(values)
    low, high = bounds
    width = high - low
    mean = min(high, max(low, math.fsum(values) / n))  # a sum may round past the end
    scores = np.asarray(values, float)
    mean_spread = spread(scores - mean, cluster_codes(clusters))
    if mean_spread is None:
        return Estimate(mean, None, low, high, n)
    proportion = (mean - low) / width
    if mean_spread.variance < _NOTHING * width**2:
        ends = wilson(proportion, mean_spread.groups)
    else:
        effective = width**2 * proportion * (1 - proportion) / mean_spread.wide
        df = mean_spread.df
        if bool(((scores == low) | (scores == high)).all()):
            effective = min(effective, n)
            if mean_spread.groups == n:  # the mean alone says how proportions spread
                df = n - 1.0
        ends = wilson(proportion, effective, student(df))
    stderr = math.sqrt(mean_spread.variance)
    return Estimate(mean, stderr, low + ends[0] * width, low + ends[1] * width, n)


def student(df: float, probability: float = 0.975) -> float:
    """Quantile of Student's t distribution; df may be fractional."""
    from scipy.special import stdtrit  # a tenth of scipy.stats to import

    return float(stdtrit(df, probability))


def wilson(proportion: float, n: float, quantile: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a proportion of n, which may be a fractional effective n."""
    centre = proportion + quantile**2 / (2 * n)
    width = quantile * math.sqrt(proportion * (1 - proportion) / n + quantile**2 / (4 * n**2))
    scale = 1 + quantile**2 / n
    lowest = 0.0 if proportion == 0 else max(0.0, (centre - width) / scale)
    highest = 1.0 if proportion == 1 else min(1.0, (centre + width) / scale)
    return lowest, highest
