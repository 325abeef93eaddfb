"""The difference of two runs on the same samples: estimate, interval, p, and what could be seen.

A difference is candidate minus base, turned so that up is good. It is tested without a model of the
scores where few clusters differ: under "no change" each cluster's difference is as likely with either
sign (Fisher's randomisation test, 1935), which for one binary sample a cluster is McNemar's exact
test (1947). Where many differ, Student's t with clustered errors says the same and is cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from msgspec import Struct

from eval_anything.statistics.agreement import attenuated_effect
from eval_anything.statistics.intervals import Floats, Ints, Spread, cluster_codes, spread, student

# So many clusters that differ, and more, are enough for Student's t.
MANY = 50


# With fewer than this the interval needs more than its own variance.
FEW = 10


_EXACT = 13  # so many clusters: all 2^13 signs are tried


_DRAWS = 10_000


_NOTHING = 1e-12  # below this a difference is rounding


class Paired(Struct, frozen=True):
    """A mean paired difference over n samples in G clusters.

    `p_worse` and `p_better` are one-sided, `p` is two-sided. `mde` is the smallest loss that a test at
    5 % (two-sided) sees with 80 % power on such data. Without two clusters there is neither spread
    nor p; `mde` is None where nothing differs at all.
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
    largest: float,
    strata: Ints | None = None,
) -> Paired:
    """What differences (not empty), each in -largest..largest, say.

    `strata` are numbers of the task of each, where several are put together: spread between tasks is
    no error.
    """
    values = np.asarray(differences, float)
    codes = cluster_codes(clusters)
    n = len(values)
    mean = math.fsum(values) / n
    found = spread(values - mean if strata is None else _within(values, codes, strata), codes)
    if found is None:
        return Paired(mean, None, None, None, None, None, None, n, 1)
    sums: Floats = np.bincount(codes, values).astype(np.float64)
    worse, better = sign_test(sums, found, mean)
    stderr = math.sqrt(found.variance)
    return Paired(
        difference=mean,
        stderr=stderr,
        ci95=_interval(values, mean, found, int((np.abs(sums) > _NOTHING).sum()), largest),
        p=min(1.0, 2 * min(worse, better)),
        p_worse=worse,
        p_better=better,
        mde=attenuated_effect(stderr) if stderr > 0 else None,
        n=n,
        clusters=found.groups,
    )


def _within(values: Floats, codes: Ints, strata: Ints) -> Floats:
    """Deviations from the mean of each stratum, widened by what that mean takes of its clusters."""
    counts = np.bincount(strata)
    means = np.bincount(strata, values) / counts
    groups = np.bincount(strata[np.unique(codes, return_index=True)[1]])
    wider = np.sqrt(groups / np.maximum(groups - 1, 1))
    deviations: Floats = (values - means[strata]) * wider[strata]
    return deviations


def sign_test(sums: Floats, found: Spread, mean: float) -> tuple[float, float]:
    """One-sided p of "worse" and of "better" for cluster sums whose mean over samples is `mean`."""
    differing = sums[np.abs(sums) > _NOTHING]
    m = len(differing)
    if m == 0:
        return 1.0, 1.0
    size = np.abs(differing)
    if np.ptp(size) < _NOTHING:
        from scipy.special import bdtr  # the binomial's distribution function

        up = int((differing > 0).sum())
        return float(bdtr(up, m, 0.5)), float(bdtr(m - up, m, 0.5))
    if m >= MANY:
        from scipy.special import stdtr

        t = mean / math.sqrt(found.wide)
        return float(stdtr(found.groups - 1, t)), float(stdtr(found.groups - 1, -t))
    total = differing.sum()
    drawn = _signs(m) @ size
    if m > _EXACT:
        drawn = np.append(drawn, total)  # the observed signs are one of the draws: p is never 0
    edge = 1e-9 * size.sum()
    return float((drawn <= total + edge).mean()), float((drawn >= total - edge).mean())


@lru_cache(maxsize=MANY)
def _signs(m: int) -> Floats:
    """(draws, m) of -1 and 1: every combination, or 10,000 random ones, the same for each m."""
    if m <= _EXACT:
        combinations = (np.arange(2**m)[:, None] >> np.arange(m)) & 1
        return (1 - 2 * combinations).astype(np.float64)
    return np.random.default_rng(m).choice([-1.0, 1.0], (_DRAWS, m))


def _interval(
    differences: Floats, mean: float, found: Spread, differing: int, largest: float
) -> tuple[float, float]:
    """Student's t with the degrees of freedom that the cluster sums leave. Where few clusters
    differ, one more sample is added that gains and one that loses as much as any did (Bonett and
    Price 2012, there for proportions): "no sample differed" is no proof that none will."""
    quantile = student(found.df)
    if differing >= FEW:
        half = quantile * math.sqrt(found.wide)
        return max(-largest, mean - half), min(largest, mean + half)
    n = len(differences)
    most = float(np.abs(differences).max())
    if most < _NOTHING * largest:
        most = largest
    simple = float(differences.var()) / (n - 1)
    inflation = max(1.0, found.wide / simple) if simple > 0 else n / found.groups
    effective = n / inflation
    centre = mean / most * effective / (effective + 2)
    square = (float((differences**2).mean()) / most**2 * effective + 2) / (effective + 2)
    half = quantile * math.sqrt((square - centre**2) / (effective + 2))
    return max(-largest, most * (centre - half)), min(largest, most * (centre + half))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the family-wise error rate (Holm 1979), in the given order."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the false discovery rate (Benjamini and Hochberg 1995)."""
    from scipy.stats import false_discovery_control

    return [float(p) for p in false_discovery_control(p_values)] if p_values else []
