"""Means with 95 % intervals that are valid for clustered samples, small n, and means near a range's end.

Standard errors follow Miller, "Adding Error Bars to Evals" (arXiv 2411.00640): samples that share a
source are one cluster. Proportions of events that are not rare get Wilson's interval (1927) with the
effective sample size under clustering (Korn and Graubard 1998), all other means `ends_of_mean`. Two
corrections keep the coverage of both where clusters are few or rare events decide: the jackknife's
variance (CR3; MacKinnon and White 1985), and degrees of freedom from the kurtosis of the cluster sums.
`make validity` measures the coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


Ints = NDArray[np.int64]


Z95 = NormalDist().inv_cdf(0.975)


# Below this share of a squared range a variance is rounding, not spread.
_NOTHING = 1e-18


# Correlation in clusters that is assumed where nothing differs, so that it cannot be measured.
_UNKNOWN_ICC = 2 / 3


# Degrees of freedom at which a measured correlation counts as much as the assumed one.
_PRIOR_DF = 4


# Fewer clusters than this with another value than the commonest one do not show which others there are.
_FEW = 10


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
        skew: third moment of the mean over its second one, sum_g s_g^3 / (n sum_g s_g^2).
    """

    variance: float
    wide: float
    df: float
    groups: int
    skew: float = 0.0


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
    sums = np.bincount(codes, deviations, groups)
    squares = sums**2
    second = float(squares.mean())
    share = groups / (groups - 1)
    variance = share * groups * second / n**2
    excess = float((squares**2).mean()) - second**2
    df = groups - 1.0
    if excess > 1e-12 * second**2:
        df = min(df, max(1.0, 2 * groups * second**2 / excess))
    skew = float((sums * squares).mean()) / second / n if second > 0 else 0.0
    return Spread(variance, variance * share if groups < n else variance, df, groups, skew)


def mean_interval(
    values: Sequence[float], clusters: Sequence[str] | Ints, bounds: tuple[float, float]
) -> Estimate:
    """Mean with its standard error and a 95 % interval that stays inside the bounds.

    Proportions (all scores at an end of the range) of which at least ten clusters are on either side
    get Wilson's interval for the effective n, p (1 - p) / variance, with Student's quantile; without
    clusters they have their full n. Others get `ends_of_mean`.

    Args:
        values: scores (n,), at least one.
        clusters: the cluster of each score: names, or codes as `cluster_codes` gives them.
        bounds: lower and upper end of the range of a score.

    Example:
        >>> estimate = mean_interval([1, 1, 0, 1] * 10, np.arange(40), (0.0, 1.0))
        >>> estimate.value, round(estimate.low, 2), round(estimate.high, 2)
        (0.75, 0.59, 0.86)
    """
    n = len(values)
    low, high = bounds
    mean = min(high, max(low, math.fsum(values) / n))  # a sum may round past the end
    scores = np.asarray(values, float)
    codes = cluster_codes(clusters)
    mean_spread = spread(scores - mean, codes)
    if mean_spread is None:
        return Estimate(mean, None, low, high, n)
    stderr = math.sqrt(mean_spread.variance)
    is_proportion = bool(((scores == low) | (scores == high)).all())
    if is_proportion and not few_differ(scores / (high - low), codes):
        ends = _proportion_ends(mean, n, mean_spread, bounds)
    else:
        ends = ends_of_mean(scores, scores - mean, codes, mean_spread, bounds)
    return Estimate(mean, stderr, *ends, n)


def _proportion_ends(
    mean: float, n: int, mean_spread: Spread, bounds: tuple[float, float]
) -> tuple[float, float]:
    low, high = bounds
    width = high - low
    proportion = (mean - low) / width
    effective = float(n)
    if mean_spread.wide > 0:
        effective = min(n, width**2 * proportion * (1 - proportion) / mean_spread.wide)
    # without clusters the mean alone says how proportions spread
    df = n - 1.0 if mean_spread.groups == n else mean_spread.df
    ends = wilson(proportion, effective, student(df))
    return low + ends[0] * width, low + ends[1] * width


def ends_of_mean(
    values: Floats,
    deviations: Floats,
    codes: Ints,
    mean_spread: Spread,
    bounds: tuple[float, float],
    error: float = 0.05,
    sides: int = 2,
) -> tuple[float, float]:
    """Ends of the interval of a mean whose values may be few and alike, inside the bounds.

    Student's interval, moved by the skewness of the mean (Johnson 1978): where few samples decide, more
    of their kind are likelier than fewer. Two assumptions stand in for what a sample cannot show:

    - Where all values are alike, up to a share 1 - error^(1 / m) of other samples would go unseen (the
      rule of three; Hanley and Lippman-Hand 1983), and these may lie at either end of the range. The
      same holds where fewer than ten clusters have another value than the commonest one.
    - m is n / (1 + (size of a cluster - 1) * 2/3): values that are alike do not show how they
      correlate. The few degrees of freedom there are, the more of this correlation stays assumed.

    Args:
        values: (n,), for which values are common.
        deviations: their deviations (n,), from which `mean_spread` is.
        codes: the cluster of each value.
        mean_spread: spread of their mean.
        bounds: lower and upper end of the range of a mean.
        error: share of intervals that miss the truth.
        sides: 2, or 1 if only one of the ends is of interest, and `error` belongs to it alone.
    """
    n, groups = len(values), mean_spread.groups
    low, high = bounds
    mean = min(high, max(low, float(values.mean())))
    clump = float(assumed_clump(n, groups))
    unseen = 1 - error ** (clump / n)
    lowest, highest = mean - unseen * (mean - low), mean + unseen * (high - mean)
    if mean_spread.variance < _NOTHING * (high - low) ** 2:
        return lowest, highest
    simple = float(deviations @ deviations) / (n * (n - 1))
    assumed = max(0.0, clump * simple / mean_spread.wide - 1) * _PRIOR_DF / (_PRIOR_DF + mean_spread.df)
    half = student(mean_spread.df, 1 - error / sides) * math.sqrt(mean_spread.wide * (1 + assumed))
    normal = NormalDist().inv_cdf(1 - error / sides)
    shift = (1 + 2 * normal**2) / 6 * mean_spread.skew * (1 + assumed)
    shift = min(half, max(-half, shift))
    if not few_differ(values / (high - low), codes):
        lowest = highest = mean
    return (
        max(low, min(lowest, mean + shift - half)),
        min(high, max(highest, mean + shift + half)),
    )


def assumed_clump(n: ArrayLike, groups: ArrayLike) -> Floats:
    """Number of samples that are assumed to be as good as one, where n of them are in so many clusters
    and nothing shows how they correlate."""
    sizes: Floats = np.asarray(n, float) / np.asarray(groups, float)
    return 1 + (sizes - 1) * _UNKNOWN_ICC


def few_differ(shares: Floats, codes: Ints) -> bool:
    """Whether most values are one and the same, and few clusters have another one."""
    middle = len(shares) // 2
    commonest = np.partition(shares, middle)[middle]  # what more than half of them are is their median
    differing = np.abs(shares - commonest) > 1e-11
    if 2 * np.count_nonzero(differing) >= len(shares):
        return False
    return bool(np.count_nonzero(np.bincount(codes, differing)) < _FEW)


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
