"""The cluster bootstrap: samples are resampled with replacement, whole clusters at a time (Efron 1979).

A draw of G clusters is a multinomial row of counts, one for each cluster. A mean over a draw is a ratio
of two products with that row. All metrics of one set of samples share the draws, which keeps their
correlation. Values that are all alike are alike in every draw: `unseen_draws` has what they leave open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from eval_anything.statistics.intervals import Floats, Ints, assumed_clump

DRAWS = 2000


def cluster_counts(clusters: int, draws: int, seed: int, at_once: int) -> Iterator[Ints]:
    """Bootstrap counts of each cluster in each draw, in batches of shape (at most `at_once`, clusters).

    The batches have `draws` rows in total. Each row sums to the number of clusters, which is at least 1.
    The same seed gives the same rows, whatever `at_once` is.
    """
    generator = np.random.default_rng(seed)
    shares = np.full(clusters, 1 / clusters)
    for start in range(0, draws, at_once):
        yield generator.multinomial(clusters, shares, min(at_once, draws - start))


def unseen_draws(
    mean: float, bounds: tuple[float, float], n: int, clusters: int, name: str, draws: int = DRAWS
) -> Floats:
    """Draws of a mean (draws,) whose n values are all alike: a share of others, which would go unseen,
    lies at one end of the range or at the other. Their 95 % interval is that of `ends_of_mean`.

    Args:
        mean: the value that all have.
        bounds: lower and upper end of the range of a value.
        n: number of values.
        clusters: number of their clusters.
        name: name of the metric, which makes its draws its own.
        draws: number of draws.
    """
    generator = np.random.default_rng(list(name.encode()))
    shares = 1 - generator.random(draws) ** (float(assumed_clump(n, clusters)) / n)
    ends: Floats = generator.choice(np.array(bounds), draws)
    return mean + shares * (ends - mean)


class ClusterBootstrap:
    """Bootstrap means of any number of metrics, all over the same draws of clusters.

    Args:
        clusters: names of the clusters, in any order and with duplicates.
        draws: number of bootstrap draws.
        seed: seed of the draws.
        at_once: number of draws in one batch, which bounds the memory that `means` takes.
        observed: whether the first row of all means is the original samples, each cluster once,
            followed by the draws.

    Attributes:
        codes: the column of each cluster by its name.
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
        # As int64, 2,000 draws of 5,000 clusters would take 80 MB. No count comes near 2**16.
        self._counts = [c.astype(np.uint16) for c in cluster_counts(size, draws, seed, at_once)]
        if observed:
            self._counts[0] = np.vstack([np.ones(size, np.uint16), self._counts[0]])

    def totals(self, values: Sequence[float], clusters: Sequence[str]) -> tuple[Floats, Floats]:
        """Sum and number of the values in each cluster, both (clusters,)."""
        columns = np.array([self.codes[cluster] for cluster in clusters], np.int64)
        size = max(len(self.codes), 1)
        counts = np.bincount(columns, minlength=size).astype(np.float64)
        return np.bincount(columns, values, size).astype(np.float64), counts

    def means(self, sums: Floats, counts: Floats) -> Floats:
        """Means in each draw (draws, ...), from the `totals` of one metric (clusters,) or of several
        (clusters, ...). nan where a draw has no value."""
        with np.errstate(invalid="ignore"):
            return np.concatenate(
                [(draw_counts @ sums) / (draw_counts @ counts) for draw_counts in self._counts]
            )
