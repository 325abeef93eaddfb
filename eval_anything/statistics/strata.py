"""Samples to label next: strata by what judges say, and how many labels each stratum gets.

Within a stratum all samples are equally likely, so a label's probability is the share of its stratum
that is
labelled, however many rounds that took. Labels go where they shrink the interval most: in proportion
to a
stratum's size and to the spread of labels in it (Neyman 1934).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval_anything.statistics.intervals import Floats, Ints

_MOST_BINS = {1: 5, 2: 3}  # strata of one column, of each of two; of more columns each has two


_PRIOR_LABELS = 5
"""Labels that a stratum's assumed spread counts for."""


_LEAST_VARIANCE = 0.05
"""Of labels where the judge is sure of its grade, as a share of the squared range: judges err."""


def strata_of(shares: Floats) -> Ints:
    """Stratum of each sample (n,), from its scores by the judge (n, k), as shares of the range.

    Example:
        >>> strata_of(np.array([[0.0], [1.0], [0.5], [1.0]])).tolist()
        [0, 2, 1, 2]
    """
    columns = shares.shape[1]
    bins = [_bins(column, _MOST_BINS.get(columns, 2)) for column in shares.T]
    _, codes = np.unique(np.stack(bins, axis=1), axis=0, return_inverse=True)
    strata: Ints = codes.reshape(-1).astype(np.int64)
    return strata


def _bins(column: Floats, most: int) -> Ints:
    """Bin of each value: its own for few values, else by quantiles."""
    values = np.unique(column)
    inner = np.quantile(column, np.arange(1, most) / most) if len(values) > most else values[1:]
    ends = np.unique(inner)
    if len(values) > most:
        return np.searchsorted(ends, column, "left").astype(np.int64)
    return np.searchsorted(ends, column, "right").astype(np.int64)


def spreads(
    shares: Floats, strata: Ints, places: Sequence[int] | Ints = (), truth: Floats | None = None
) -> Floats:
    """Standard deviations of the labels in each stratum (strata,), as far as they are known.

    Args:
        shares: scores by the judge (n, k), as shares of the range.
        strata: the stratum of each sample (n,).
        places: samples that are labelled.
        truth: their labels, as shares of the range. Without any, a judge in the middle of its range is
            taken to be unsure, and one at its ends to be sure.
    """
    count = int(strata.max()) + 1
    sizes = np.bincount(strata, minlength=count)
    mean = np.stack([np.bincount(strata, column, count) / sizes for column in shares.T])
    prior = (mean * (1 - mean)).mean(0) + _LEAST_VARIANCE
    if truth is None or not len(places):
        assumed: Floats = np.sqrt(prior)
        return assumed
    label_strata = strata[np.asarray(places)]
    label_counts = np.bincount(label_strata, minlength=count)
    centre = np.bincount(label_strata, truth, count) / np.maximum(label_counts, 1)
    squares = np.bincount(label_strata, (truth - centre[label_strata]) ** 2, count)
    freedom = np.maximum(label_counts - 1, 0)
    if freedom.sum():  # the prior says how strata differ, the labels how much they scatter
        prior *= (squares.sum() / freedom.sum()) / float(prior @ sizes / sizes.sum())
    spread: Floats = np.sqrt((squares + _PRIOR_LABELS * prior) / (freedom + _PRIOR_LABELS))
    return spread


def allocate(sizes: Ints, spread: Floats, labelled: Ints, count: int) -> Ints:
    """Numbers of new labels in each stratum (strata,), `count` in all or as many as are left.

    All labels, old and new, come as near to Neyman's shares as the old ones allow. Each stratum gets two
    before others get more, since one label shows no spread.

    Example:
        >>> allocate(np.array([100, 100]), np.array([0.1, 0.3]), np.array([0, 0]), 40).tolist()
        [10, 30]
    """
    total = labelled.copy()
    weights = sizes * np.maximum(spread, 1e-6)
    for _ in range(min(count, int((sizes - labelled).sum()))):
        need = np.where(total < np.minimum(sizes, 2), np.inf, weights / (total + 0.5))
        total[np.argmax(np.where(total < sizes, need, -1.0))] += 1
    new: Ints = total - labelled
    return new
