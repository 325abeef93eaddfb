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
    """The best and the worst rank of each run, (runs,) each; 1 is the best of all."""

    low: Ints
    high: Ints


def rank_intervals(means: Floats, groups: int, differing: Ints | None = None) -> Ranks:
    """Ranks of runs from the draws of their means.

    Args:
        means: (1 + draws, runs), the observed means first; higher must be better.
        groups: the number of clusters that were drawn.
        differing: (runs, runs), the number of clusters in which two runs differ; None if it is unknown,
            as for aggregates of several tasks.
    """
    count = means.shape[1]
    better, worse = np.zeros(count, np.int64), np.zeros(count, np.int64)
    widening = 1.0
    if groups > 1:
        widening = math.sqrt(groups / (groups - 1)) * student(groups - 1) / Z95
    for i in range(count):
        differences = means - means[:, i : i + 1]
        observed = differences[0]
        deviations = differences[1:] - observed
        errors = np.sqrt((deviations**2).mean(axis=0))
        spread = errors > _NOTHING
        if spread.any():
            largest = np.abs(deviations[:, spread] / errors[spread]).max(axis=1)
            critical = float(np.quantile(largest, _LEVEL)) * widening
        else:
            critical = 0.0
        significant = np.abs(observed) > critical * errors + _NOTHING
        significant &= groups >= _FEWEST
        if differing is not None:
            significant &= differing[i] >= _FEWEST
        better[i] = (significant & (observed > 0)).sum()
        worse[i] = (significant & (observed < 0)).sum()
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
        """Means of a metric, (1 + draws, runs); nan in the column of a run without a value."""
        means = self._bootstrap.means(*self._totals(metric))
        return np.where(np.isnan(means), means[0], means)

    def differing(self, metric: str) -> Ints:
        """Number of clusters, (runs, runs), in which both runs have a mean and these differ."""
        sums, counts = self._totals(metric)
        with np.errstate(invalid="ignore"):
            means = sums / counts
        counts_by_run = [
            (np.abs(means - means[:, i : i + 1]) > _NOTHING).sum(axis=0) for i in range(len(self._runs))
        ]
        return np.asarray(counts_by_run, np.int64).reshape(len(self._runs), len(self._runs))

    def _totals(self, metric: str) -> tuple[Floats, Floats]:
        """Sums of the samples' values and numbers of these samples, (clusters, runs) each."""
        if metric not in self._sums:
            totals = [self._bootstrap.totals(*_sample_means(run, metric)) for run in self._runs]
            self._sums[metric] = (
                np.stack([sums for sums, _ in totals], axis=1),
                np.stack([counts for _, counts in totals], axis=1),
            )
        return self._sums[metric]


def _sample_means(run: TaskSamples, metric: str) -> tuple[list[float], list[str]]:
    """Values of the scored samples (means over their repeats), and the clusters of these samples."""
    index = next((str(i) for i, m in enumerate(run.metrics) if m.name == metric), None)
    samples: dict[tuple[str, str], int] = {}
    codes: list[int] = []
    values: list[float] = []
    clusters: list[str] = []
    for row in run.rows:
        score = row.values.get(index) if index is not None else None
        if score is not None:
            code = samples.setdefault((row.sample_id, row.item), len(samples))
            if code == len(clusters):
                clusters.append(row.cluster)
            codes.append(code)
            values.append(score)
    if not samples:
        return [], []
    return (np.bincount(codes, values) / np.bincount(codes)).tolist(), clusters
