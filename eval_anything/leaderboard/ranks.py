"""Ranks as confidence intervals over the choice of samples.

All runs share the draws of a paired bootstrap over clusters (1,000 draws, fixed seed), so the
difficulty of a sample, common to all runs, cancels. Run i differs significantly from run j if their
difference exceeds c_i standard errors, c_i being the 95 % quantile of the largest |difference - its
draws| / standard error over all other runs: all comparisons of run i are right at once with 95 %
(Mogstad, Romano, Shaikh and Wilhelm, "Inference for Ranks", Review of Economic Studies 2024, the
one-step set of a single rank). The rank of run i is then between 1 + the number of significantly better
runs, and the number of runs - that of significantly worse ones.

Two corrections apply to small samples. The bootstrap's errors are widened by sqrt(G / (G - 1)) and by
Student's quantile against the normal one for G clusters. And the difference of two runs that differ in
fewer than six clusters is never significant: five of five equal signs have p = 2 * 2^-5 = 0.06.

Runs that have other samples, such as the first 40 of 230, are compared two by two, each pair on the
samples that both have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from eval_anything.leaderboard.samples import TaskSamples
from eval_anything.statistics.bootstrap import ClusterBootstrap
from eval_anything.statistics.intervals import Z95, Floats, Ints, student

DRAWS = 1000


_LEVEL = 0.95


_FEWEST = 6  # clusters that differ


_NOTHING = 1e-12


class Ranks(NamedTuple):
    """The best and the worst rank of each run, (runs,) each; 1 is the best of all."""

    low: Ints
    high: Ints


Bools = np.ndarray[Any, np.dtype[np.bool_]]


class RunDifferences(NamedTuple):
    """Differences of all runs from one of them.

    Attributes:
        differences: (1 + draws, runs), the observed ones first; positive is better than the one. nan for
            a run with which it shares no sample.
        groups: (runs,), the number of clusters that were drawn.
        differing: (runs,), the number of clusters that differ; None if it is unknown, as for aggregates
            of several tasks.
    """

    differences: Floats
    groups: Ints
    differing: Ints | None = None


def rank_intervals(means: Floats, groups: int, differing: Ints | None = None) -> Ranks:
    """Ranks of runs that have the same samples, from the draws of their means.

    Args:
        means: (1 + draws, runs), the observed means first; higher must be better.
        groups: the number of clusters that were drawn.
        differing: (runs, runs), the number of clusters in which two runs differ; None if it is unknown.
    """
    count = means.shape[1]
    return ranks_against(
        RunDifferences(
            means - means[:, i : i + 1],
            np.full(count, groups, np.int64),
            None if differing is None else differing[i],
        )
        for i in range(count)
    )


def ranks_against(runs: Iterable[RunDifferences]) -> Ranks:
    """Ranks of runs from the differences of the others from each."""
    better, worse, count = [], [], 0
    for against in runs:
        significant = _significant(against)
        observed = against.differences[0]
        better.append(int((significant & (observed > 0)).sum()))
        worse.append(int((significant & (observed < 0)).sum()))
        count = len(observed)
    return Ranks(1 + np.array(better, np.int64), count - np.array(worse, np.int64))


def _significant(against: RunDifferences) -> Bools:
    """Whether each run differs significantly from the one."""
    observed = against.differences[0]
    deviations = against.differences[1:] - observed
    errors = np.sqrt((deviations**2).mean(axis=0))
    spread = errors > _NOTHING
    critical = 0.0
    if spread.any():
        largest = np.abs(deviations[:, spread] / errors[spread]).max(axis=1)
        critical = float(np.quantile(largest, _LEVEL))
    widening = np.array([_widening(int(groups)) for groups in against.groups])
    significant: Bools = np.abs(observed) > critical * widening * errors + _NOTHING
    significant &= against.groups >= _FEWEST
    if against.differing is not None:
        significant &= against.differing >= _FEWEST
    return significant


@cache
def _widening(groups: int) -> float:
    """Factor by which the bootstrap's errors of so few clusters are too small."""
    return math.sqrt(groups / (groups - 1)) * student(groups - 1) / Z95 if groups > 1 else 1.0


Samples = frozenset[tuple[str, str]]
"""Samples of a run, as (sample id, item)."""


class TaskDraws:
    """Means of one task's metrics for several runs, over the same draws of its clusters.

    Attributes:
        groups: the number of clusters.
        even: whether all runs have the same samples.
    """

    def __init__(self, runs: Sequence[TaskSamples]) -> None:
        self._runs = runs
        clusters = (row.cluster for run in runs for row in run.rows)
        self._bootstrap = ClusterBootstrap(clusters, DRAWS, observed=True)
        self.groups = len(self._bootstrap.codes)
        distinct: dict[Samples, Samples] = {}
        sets = (frozenset((row.sample_id, row.item) for row in run.rows) for run in runs)
        self._samples = [distinct.setdefault(samples, samples) for samples in sets]
        self.even = len(distinct) <= 1
        self._totals_cache: dict[tuple[int, str, int | None], tuple[Floats, Floats]] = {}

    def means(self, metric: str) -> Floats:
        """Means of a metric, (1 + draws, runs); nan in the column of a run without a value."""
        return self._means([self._totals(run, metric) for run in range(len(self._runs))])

    def differing(self, metric: str) -> Ints:
        """Number of clusters, (runs, runs), in which both runs have a mean and these differ."""
        totals = [self._totals(run, metric) for run in range(len(self._runs))]
        means = np.stack([_cluster_means(sums, counts) for sums, counts in totals], axis=1)
        counts = [_differing(means, means[:, run : run + 1]) for run in range(len(totals))]
        return np.array(counts, np.int64)

    def of_others(self, metric: str, run: int) -> Floats:
        """Means of a metric, (1 + draws, runs): of each run over the samples that it shares with one."""
        return self._means([self._totals(i, metric, run) for i in range(len(self._runs))])

    def of_one(self, metric: str, run: int) -> Floats:
        """Means of a metric of one run, (1 + draws, runs): over the samples that it shares with each."""
        return self._means([self._totals(run, metric, i) for i in range(len(self._runs))])

    def shared_groups(self, run: int) -> Ints:
        """Number of clusters, (runs,), of which a run shares samples with each."""
        clusters = {(r.sample_id, r.item): r.cluster for r in self._runs[run].rows}
        shared = (self._samples[run] & samples for samples in self._samples)
        return np.array([len({clusters[key] for key in keys}) for keys in shared], np.int64)

    def differing_from(self, metric: str, run: int) -> Ints:
        """Number of clusters, (runs,), in which a run differs from each on the samples they share."""
        everyone = range(len(self._runs))
        means_of_others = np.stack(
            [_cluster_means(*self._totals(i, metric, run)) for i in everyone], axis=1
        )
        own_means = np.stack([_cluster_means(*self._totals(run, metric, i)) for i in everyone], axis=1)
        return _differing(own_means, means_of_others)

    def _means(self, totals: Sequence[tuple[Floats, Floats]]) -> Floats:
        sums = np.stack([sums for sums, _ in totals], axis=1)
        counts = np.stack([counts for _, counts in totals], axis=1)
        means = self._bootstrap.means(sums, counts)
        return np.where(np.isnan(means), means[0], means)

    def _totals(self, run: int, metric: str, other: int | None = None) -> tuple[Floats, Floats]:
        """Sums of a run's sample means and numbers of these samples, (clusters,) each; only of samples
        that it shares with another run, if one is named."""
        if other is not None and self._samples[other] is self._samples[run]:
            other = None
        key = (run, metric, other)
        if key not in self._totals_cache:
            only = None if other is None else self._samples[other]
            values, clusters = _sample_means(self._runs[run], metric, only)
            self._totals_cache[key] = self._bootstrap.totals(values, clusters)
        return self._totals_cache[key]


def _cluster_means(sums: Floats, counts: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return sums / counts


def _differing(means: Floats, other_means: Floats) -> Ints:
    """Number of clusters (the rows) with two means that differ, for each column."""
    counts: Ints = (np.abs(means - other_means) > _NOTHING).sum(axis=0)
    return counts


def _sample_means(run: TaskSamples, metric: str, only: Samples | None) -> tuple[list[float], list[str]]:
    """Values of the scored samples (means over their repeats), and the clusters of these samples; `only`
    some samples, if they are given."""
    index = next((str(i) for i, m in enumerate(run.metrics) if m.name == metric), None)
    samples: dict[tuple[str, str], int] = {}
    codes: list[int] = []
    values: list[float] = []
    clusters: list[str] = []
    for row in run.rows:
        score = row.values.get(index) if index is not None else None
        if score is not None and (only is None or (row.sample_id, row.item) in only):
            code = samples.setdefault((row.sample_id, row.item), len(samples))
            if code == len(clusters):
                clusters.append(row.cluster)
            codes.append(code)
            values.append(score)
    if not samples:
        return [], []
    return (np.bincount(codes, values) / np.bincount(codes)).tolist(), clusters
