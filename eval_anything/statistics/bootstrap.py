"""The cluster bootstrap: samples are drawn anew with replacement, whole clusters at a time (Efron 1979).

A draw of G clusters is a row of counts, how often it has each of them; that row is multinomial. So a
mean over a draw is a ratio of two products with the row, and all metrics of one set of samples share the
draws, which keeps their correlation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from eval_anything.statistics.intervals import Floats, Ints

DRAWS = 2000


def cluster_counts(clusters: int, draws: int, seed: int, at_once: int) -> Iterator[Ints]:
    """How often each draw has each cluster: arrays (at most `at_once`, clusters) of `draws` rows in all.

    Each row adds up to the number of clusters, which is at least 1. The same seed gives the same rows,
    whatever `at_once` is.
    """
    generator = np.random.default_rng(seed)
    shares = np.full(clusters, 1 / clusters)
    for start in range(0, draws, at_once):
        yield generator.multinomial(clusters, shares, min(at_once, draws - start))


class ClusterBootstrap:
    """Means over the same draws of clusters, for any number of metrics.

    `codes` maps a cluster's name to its column. With `observed` the first row of all means is not a draw
    but the samples as they are, each cluster once.
    """

    def __init__(
        self,
        clusters: Iterable[str],
        draws: int = DRAWS,
        seed: int = 0,
        at_once: int = DRAWS,
        observed: bool = False,
    ) -> None:
        self.codes = {cluster: i for i, cluster in enumerate(sorted(set(clusters)))}
        size = max(len(self.codes), 1)
        # Of int64, 2,000 draws of 5,000 clusters would take 80 MB. No count comes near 2**16.
        self._counts = [c.astype(np.uint16) for c in cluster_counts(size, draws, seed, at_once)]
        if observed:
            self._counts[0] = np.vstack([np.ones(size, np.uint16), self._counts[0]])

    def totals(self, values: Sequence[float], clusters: Sequence[str]) -> tuple[Floats, Floats]:
        """(clusters,) each: the sum of the values in every cluster, and how many values it has."""
        columns = np.array([self.codes[cluster] for cluster in clusters], np.int64)
        size = max(len(self.codes), 1)
        counts = np.bincount(columns, minlength=size).astype(np.float64)
        return np.bincount(columns, values, size).astype(np.float64), counts

    def means(self, sums: Floats, counts: Floats) -> Floats:
        """(draws, ...): the mean in each draw, from the `totals` of one metric (clusters,) or of several
        (clusters, ...). nan where a draw has no value."""
        with np.errstate(invalid="ignore"):
            return np.concatenate([(drawn @ sums) / (drawn @ counts) for drawn in self._counts])
