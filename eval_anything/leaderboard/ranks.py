"""Ranks as intervals: which places a run may have, given that its samples could have been others.

Runs are drawn together: a cluster of samples comes or stays away for all of them at once, so what
makes a sample hard for everybody cancels (a paired bootstrap over clusters, 1,000 draws, fixed seed).
Run i is told from run j where their difference exceeds c_i standard errors, c_i being the 95 % quantile
of the largest |difference - its draws| / standard error over all other runs: the whole of i's
comparisons is right at once with 95 % (Mogstad, Romano, Shaikh and Wilhelm, "Inference for Ranks",
Review of Economic Studies 2024, the one-step set of a single rank). Its rank is then between 1 + the
runs that are surely better and the number of runs - those that are surely worse.

Two things keep small samples honest. The bootstrap's errors are widened by sqrt(G / (G - 1)) and by
Student's quantile against the normal one for G clusters. And two runs that differ in fewer than six
clusters are never told apart: five of five signs alike have p = 2 * 2^-5 = 0.06.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from eval_anything.leaderboard.samples import TaskSamples
from eval_anything.statistics.bootstrap import ClusterBootstrap
from eval_anything.statistics.intervals import Z95, Floats, Ints, student

DRAWS = 1000


_LEVEL = 0.95


_FEWEST = 6  # clusters that differ


_NOTHING = 1e-12


class Ranks(NamedTuple):
    """(runs,) each: the best and the worst place a run may have; 1 is the best of all."""

    low: Ints
    high: Ints


def rank_intervals(means: Floats, groups: int, differing: Ints | None = None) -> Ranks:
    """Ranks from means (1 + draws, runs), the observed ones first, turned so that up is good.

    `groups` is the number of clusters that were drawn, `differing` (runs, runs) in how many of them
    two runs differ; None where nobody can say, as for aggregates of several tasks.
    """
    count = means.shape[1]
    better, worse = np.zeros(count, np.int64), np.zeros(count, np.int64)
    widen = 1.0
    if groups > 1:
        widen = math.sqrt(groups / (groups - 1)) * student(groups - 1) / Z95
    for i in range(count):
        differences = means - means[:, i : i + 1]
        observed = differences[0]
        deviations = differences[1:] - observed
        errors = np.sqrt((deviations**2).mean(axis=0))
        spread = errors > _NOTHING
        if spread.any():
            largest = np.abs(deviations[:, spread] / errors[spread]).max(axis=1)
            critical = float(np.quantile(largest, _LEVEL)) * widen
        else:
            critical = 0.0
        told = np.abs(observed) > critical * errors + _NOTHING
        told &= groups >= _FEWEST
        if differing is not None:
            told &= differing[i] >= _FEWEST
        better[i] = (told & (observed > 0)).sum()
        worse[i] = (told & (observed < 0)).sum()
    return Ranks(1 + better, count - worse)


class TaskDraws:
    """Means of one task's metrics for several runs, over the same draws of its clusters."""

    def __init__(self, runs: Sequence[TaskSamples]) -> None:
        self._runs = runs
        clusters = (row.cluster for run in runs for row in run.rows)
        self._bootstrap = ClusterBootstrap(clusters, DRAWS, observed=True)
        self.groups = len(self._bootstrap.codes)
        self._sums: dict[str, tuple[Floats, Floats]] = {}

    def means(self, metric: str) -> Floats:
        """(1 + draws, runs); nan in the column of a run without a value."""
        means = self._bootstrap.means(*self._of(metric))
        return np.where(np.isnan(means), means[0], means)

    def differing(self, metric: str) -> Ints:
        """(runs, runs): in how many clusters the mean differs; where one has no value, it does not."""
        sums, counts = self._of(metric)
        with np.errstate(invalid="ignore"):
            means = sums / counts
        found = [
            (np.abs(means - means[:, i : i + 1]) > _NOTHING).sum(axis=0) for i in range(len(self._runs))
        ]
        return np.asarray(found, np.int64).reshape(len(self._runs), len(self._runs))

    def _of(self, metric: str) -> tuple[Floats, Floats]:
        """Sums of the samples' values and how many they are, (clusters, runs) each."""
        if metric not in self._sums:
            totals = [self._bootstrap.totals(*_sample_means(run, metric)) for run in self._runs]
            self._sums[metric] = (
                np.stack([sums for sums, _ in totals], axis=1),
                np.stack([counts for _, counts in totals], axis=1),
            )
        return self._sums[metric]


def _sample_means(run: TaskSamples, metric: str) -> tuple[list[float], list[str]]:
    """The value of each sample that has one, its mean over repeats, and the sample's cluster."""
    place = next((str(i) for i, m in enumerate(run.metrics) if m.name == metric), None)
    samples: dict[tuple[str, str], int] = {}
    codes: list[int] = []
    values: list[float] = []
    clusters: list[str] = []
    for row in run.rows:
        value = row.values.get(place) if place is not None else None
        if value is not None:
            code = samples.setdefault((row.sample_id, row.item), len(samples))
            if code == len(clusters):
                clusters.append(row.cluster)
            codes.append(code)
            values.append(value)
    if not samples:
        return [], []
    return (np.bincount(codes, values) / np.bincount(codes)).tolist(), clusters
