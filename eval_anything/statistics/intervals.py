"""Means with honest intervals: clustered, and sensible for small n and near the ends of a range.

Standard errors follow Miller, "Adding Error Bars to Evals" (arXiv 2411.00640): samples that share a
source are one cluster. Intervals are Wilson's (1927) with the effective sample size that the
clustered error leaves (Korn and Graubard 1998), which bends them the right way near the ends of a
range for every bounded score, not for proportions alone. Two corrections keep their coverage where
clusters are few or rare events decide: the jackknife's variance (CR3; MacKinnon and White 1985), and
degrees of freedom from the kurtosis of the cluster sums. `make validity` shows the coverage.
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
    """How far a mean over clusters may be off.

    `variance` is that of the mean, G/(G-1) * sum_g s_g^2 / n^2, with s_g the sum of the deviations of
    cluster g; `wide` is what intervals use: times G/(G-1) again where clusters have several items
    (CR3). `df` are the degrees of freedom of `wide`, 2 G m2^2 / (m4 - m2^2) by the moments of s_g, and
    at most G-1 (which normal s_g have).
    """

    variance: float
    wide: float
    df: float
    groups: int


def cluster_codes(clusters: Sequence[str] | Ints) -> Ints:
    """(n,): the clusters as numbers from 0, in order of first appearance (arrays are taken as they
    are)."""
    if isinstance(clusters, np.ndarray):
        return clusters
    places: dict[str, int] = {}
    return np.array([places.setdefault(cluster, len(places)) for cluster in clusters], np.int64)


def spread(deviations: Floats, codes: Ints) -> Spread | None:
    """The spread of a mean from the deviations (n,) of its items, and the codes (n,) of their
    clusters. None for fewer than two clusters."""
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
    """The mean of `values` (not empty) in `bounds`, with an interval that stays inside them.

    Wilson's interval for the effective n of p (1 - p) / variance, p being the mean's place in the
    range, with Student's quantile. n counts fully where values are proportions without clusters;
    where all values are equal, and the variance says nothing, each cluster counts once.
    """
    n = len(values)
    low, high = bounds
    width = high - low
    mean = min(high, max(low, math.fsum(values) / n))  # a sum may round past the end
    given = np.asarray(values, float)
    found = spread(given - mean, cluster_codes(clusters))
    if found is None:
        return Estimate(mean, None, low, high, n)
    proportion = (mean - low) / width
    if found.variance < _NOTHING * width**2:
        ends = wilson(proportion, found.groups)
    else:
        effective = width**2 * proportion * (1 - proportion) / found.wide
        df = found.df
        if bool(((given == low) | (given == high)).all()):
            effective = min(effective, n)
            if found.groups == n:  # the mean alone says how proportions spread
                df = n - 1.0
        ends = wilson(proportion, effective, student(df))
    stderr = math.sqrt(found.variance)
    return Estimate(mean, stderr, low + ends[0] * width, low + ends[1] * width, n)


def student(df: float, probability: float = 0.975) -> float:
    """Student's quantile; df need not be whole."""
    from scipy.special import stdtrit  # a tenth of scipy.stats to import

    return float(stdtrit(df, probability))


def wilson(proportion: float, n: float, quantile: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a proportion of n (which may be an effective, broken n)."""
    centre = proportion + quantile**2 / (2 * n)
    width = quantile * math.sqrt(proportion * (1 - proportion) / n + quantile**2 / (4 * n**2))
    scale = 1 + quantile**2 / n
    lowest = 0.0 if proportion == 0 else max(0.0, (centre - width) / scale)
    highest = 1.0 if proportion == 1 else min(1.0, (centre + width) / scale)
    return lowest, highest
