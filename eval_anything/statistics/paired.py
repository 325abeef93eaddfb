"""Paired difference of two runs on the same samples: estimate, interval, p, minimum detectable effect.

A difference is candidate minus base, with the sign turned so that higher is better. Where few clusters
differ, the test is free of a distribution: under "no change" the difference of each cluster is equally
likely with either sign (Fisher's randomisation test, 1935), which for one binary sample per cluster is
McNemar's exact test (1947). Where many differ, Student's t with clustered errors agrees with it and is
cheaper. Intervals are `intervals.ends_of_mean`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from eval_anything.statistics.agreement import attenuated_effect
from eval_anything.statistics.intervals import (
    Floats,
    Ints,
    Spread,
    assumed_clump,
    cluster_codes,
    ends_of_mean,
    spread,
)

# Student's t is used if at least this many clusters differ.
MANY = 50


_EXACT = 13  # up to so many clusters, all 2^13 combinations of signs are enumerated


_DRAWS = 10_000


_NOTHING = 1e-12  # below this a difference is rounding


class Paired(Struct, frozen=True):
    """A mean paired difference over n samples in clusters.

    `p_worse` and `p_better` are one-sided, `p` is two-sided. `mde` is the minimum detectable effect at
    the 5 % level (two-sided) with 80 % power; it is None where no sample differs. With fewer than two
    clusters there is only the difference itself.
    """

    difference: float
    stderr: float | None
    ci95: tuple[float, float] | None
    p: float | None
    p_worse: float | None
    p_better: float | None
    mde: float | None
    n: int
    clusters: int


def paired(
    differences: Sequence[float] | Floats,
    clusters: Sequence[str] | Ints,
    largest: float | Floats,
    strata: Ints | None = None,
    symmetric: bool = True,
) -> Paired:
    """Mean of paired differences, with its interval and tests of "no change".

    Args:
        differences: candidate minus base (n,), at least one; positive is better.
        clusters: the cluster of each difference: names, or codes as `cluster_codes` gives them.
        largest: the largest absolute value that a difference can have; with strata, in each of them.
        strata: code of the task of each difference (n,), where several tasks are pooled: variance
            between tasks is then no part of the error.
        symmetric: whether "no change" makes each difference as likely with the other sign. Values that
            are corrected by labels (`corrected.py`) are not, and get Student's t-test.

    Example:
        >>> change = paired([0, 1, 1, 0, 1], ["a", "b", "c", "d", "e"], largest=1.0)
        >>> change.difference, change.p
        (0.6, 0.25)
    """
    values, codes = np.asarray(differences, float), cluster_codes(clusters)
    n = len(values)
    mean = math.fsum(values.tolist()) / n
    deviations, bound = _deviations(values, codes, largest, strata)
    mean_spread = spread(deviations, codes)
    if mean_spread is None:
        return Paired(mean, None, None, None, None, None, None, n, 1)
    sums: Floats = np.bincount(codes, values).astype(np.float64)
    worse, better = sign_test(sums, mean_spread, mean) if symmetric else _t_test(mean_spread, mean)
    stderr = math.sqrt(mean_spread.variance)
    return Paired(
        difference=mean,
        stderr=stderr,
        ci95=ends_of_mean(values, deviations, codes, mean_spread, (-bound, bound)),
        p=min(1.0, 2 * min(worse, better)),
        p_worse=worse,
        p_better=better,
        mde=attenuated_effect(stderr) if stderr > 0 else None,
        n=n,
        clusters=mean_spread.groups,
    )


def change_interval(
    differences: Sequence[float] | Floats,
    clusters: Sequence[str] | Ints,
    largest: float | Floats,
    error: float,
    strata: Ints | None = None,
    sides: int = 2,
) -> tuple[float, float] | None:
    """Interval of a mean difference that misses the truth in a share `error` of samples; with one side,
    each of its ends does so on its own. None for fewer than two clusters. The other arguments are those
    of `paired`."""
    values, codes = np.asarray(differences, float), cluster_codes(clusters)
    deviations, bound = _deviations(values, codes, largest, strata)
    mean_spread = spread(deviations, codes)
    if mean_spread is None:
        return None
    return ends_of_mean(values, deviations, codes, mean_spread, (-bound, bound), error, sides)


def lowest_change(
    differences: Sequence[float] | Floats,
    clusters: Sequence[str] | Ints,
    largest: float | Floats,
    error: float,
    strata: Ints | None = None,
) -> float | None:
    """Lower end of the one-sided interval of a mean difference: in a share `error` of samples the true
    one is lower. None for fewer than two clusters. The other arguments are those of `paired`.

    Example:
        >>> round(lowest_change([0.0] * 60, np.arange(60), largest=1.0, error=0.05), 3)
        -0.049
    """
    ends = change_interval(differences, clusters, largest, error, strata, sides=1)
    return None if ends is None else ends[0]


class Pooled(NamedTuple):
    """The first arguments of `paired` for the mean over several tasks."""

    differences: Floats
    clusters: Ints
    largest: Floats
    strata: Ints


def mean_of_means(tasks: Sequence[tuple[Floats, Ints]], weights: Sequence[float]) -> Pooled:
    """The weighted mean of the means of several tasks, as one mean over all their samples: sample i of
    task t counts N w_t / n_t.

    Args:
        tasks: of each the differences (n,) as shares of its range, and the codes (n,) of their clusters.
        weights: of each.
    """
    sizes = [len(values) for values, _ in tasks]
    factors = [
        sum(sizes) * weight / sum(weights) / size for weight, size in zip(weights, sizes, strict=True)
    ]
    starts = np.cumsum([0, *(int(clusters.max()) + 1 for _, clusters in tasks)])
    return Pooled(
        np.concatenate([f * values for f, (values, _) in zip(factors, tasks, strict=True)]),
        np.concatenate([start + codes for start, (_, codes) in zip(starts, tasks, strict=False)]),
        np.array(factors),
        np.repeat(np.arange(len(tasks)), sizes),
    )


def samples_that_settle(half: float, room: float) -> float | None:
    """Multiple of the samples with which an interval that reaches `half` to one side fits into `room`:
    more samples shrink it by the root of their number. None if no number would, or more than 1,000.

    Example:
        >>> samples_that_settle(0.03, 0.02)
        2.3
    """
    factor = (half / room) ** 2 if room > 0 else math.inf
    return math.ceil(factor * 10) / 10 if factor <= 1000 else None


def _deviations(
    values: Floats, codes: Ints, largest: float | Floats, strata: Ints | None
) -> tuple[Floats, float]:
    """Deviations (n,) from the mean, or from that of each stratum, widened for the degree of freedom
    that it takes; and the largest absolute value of the mean. A stratum in which nothing differs counts
    as if one of its samples did, unless nothing differs in any."""
    if strata is None:
        return values - values.mean(), float(largest)
    counts = np.bincount(strata)
    reach: Floats = np.broadcast_to(np.asarray(largest, float), counts.shape)
    _, first = np.unique(codes, return_index=True)
    groups = np.bincount(strata[first])
    deviations: Floats = values - (np.bincount(strata, values) / counts)[strata]
    deviations[np.abs(deviations) < _NOTHING * reach.max()] = 0.0
    alike = np.bincount(strata, np.abs(deviations)) == 0
    deviations *= np.sqrt(groups / np.maximum(groups - 1, 1))[strata]
    if not alike.all():
        _, first_of_stratum = np.unique(strata, return_index=True)
        unseen = reach * assumed_clump(counts, groups)
        deviations[first_of_stratum[alike]] = unseen[alike]
    return deviations, float(reach @ counts) / len(values)


def sign_test(sums: Floats, mean_spread: Spread, mean: float) -> tuple[float, float]:
    """One-sided p-values of "worse" and "better", from the sums of the differences in each cluster (G,)
    and their mean over all samples with its variance."""
    differing = sums[np.abs(sums) > _NOTHING]
    m = len(differing)
    if m == 0:
        return 1.0, 1.0
    size = np.abs(differing)
    if np.ptp(size) < _NOTHING:
        from scipy.special import bdtr  # the binomial's distribution function

        gains = int((differing > 0).sum())
        return float(bdtr(gains, m, 0.5)), float(bdtr(m - gains, m, 0.5))
    if m >= MANY:
        return _t_test(mean_spread._replace(df=mean_spread.groups - 1), mean)
    total = differing.sum()
    null_sums = _signs(m) @ size
    if m > _EXACT:
        null_sums = np.append(null_sums, total)  # with the observed signs among the draws, p is never 0
    edge = 1e-9 * size.sum()
    return float((null_sums <= total + edge).mean()), float((null_sums >= total - edge).mean())


def _t_test(mean_spread: Spread, mean: float) -> tuple[float, float]:
    """One-sided p-values of "worse" and "better" by Student's t; 1 where nothing differs."""
    from scipy.special import stdtr

    if mean_spread.wide <= 0:
        return 1.0, 1.0
    t = mean / math.sqrt(mean_spread.wide)
    return float(stdtr(mean_spread.df, t)), float(stdtr(mean_spread.df, -t))


@lru_cache(maxsize=MANY)
def _signs(m: int) -> Floats:
    """Signs -1 and 1 (draws, m): every combination, or 10,000 random ones, the same at each call."""
    if m <= _EXACT:
        combinations = (np.arange(2**m)[:, None] >> np.arange(m)) & 1
        return (1 - 2 * combinations).astype(np.float64)
    return np.random.default_rng(m).choice([-1.0, 1.0], (_DRAWS, m))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the family-wise error rate (Holm 1979), in the order of the input.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the false discovery rate (Benjamini and Hochberg 1995)."""
    from scipy.stats import false_discovery_control

    return [float(p) for p in false_discovery_control(p_values)] if p_values else []
