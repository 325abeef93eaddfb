"""How far a judge agrees with labels, what biases it, and what its errors do to the numbers it gives.

Verdicts on pairs (a, b) are +1 for a, -1 for b, 0 for a tie, and nan where the judge failed. A figure
is a value with its 95 % interval: that of `stats.mean_interval` for rates and means, else percentiles
of a bootstrap (Efron 1979; 2,000 draws, fixed seed). `clusters` names what items share; those of one
cluster are drawn together. Without it each item is a cluster of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from eval_anything.statistics.bootstrap import DRAWS, cluster_counts
from eval_anything.statistics.intervals import Z95, Floats, mean_interval

Clusters = Sequence[str] | None


# Weights (draws, items), how often each draw has each item, to one value a draw; nan: undefined.
Statistic = Callable[[Floats], Floats]


_SEED = 0


_CELLS = 2_000_000  # of one batch of draws: 16 MB for each array in it


_NOTHING = 1e-12


class AgreementFigure(Struct, frozen=True):
    """A value, its 95 % interval, and the number of items in it.

    Without a value the figure is undefined, as kappa is if all items have one label. Without an
    interval there is nothing to take it from: one cluster, or draws that are all the same.
    """

    value: float | None
    ci95: tuple[float, float] | None
    n: int


# --- of verdicts on pairs ------------------------------------------------------------------------


def accuracy(verdicts: ArrayLike, preferred: ArrayLike, clusters: Clusters = None) -> AgreementFigure:
    """Share (0..1) of the pairs with a preferred side for which the verdict is that side.

    The judge's tie counts half, a failure is wrong. Pairs that the labels call a tie have no right
    side and are left out, as in setup S2 of MT-Bench (arXiv 2306.05685).
    """
    points = (1 + _floats(verdicts) * _floats(preferred)) / 2
    return rate(np.nan_to_num(points), clusters, where=_floats(preferred) != 0)


def position_bias(forward: ArrayLike, backward: ArrayLike, clusters: Clusters = None) -> AgreementFigure:
    """Share (0..1) of the pairs for which the verdict follows the position (see arXiv 2305.17926).

    `forward` and `backward` are verdicts on the same pairs in both orders: +1 for what was shown
    first, -1 for what was shown second. Pairs with a failure in either are left out.
    """
    both = _floats(forward) * _floats(backward)
    return rate(both == 1, clusters, where=~np.isnan(both))


def first_preference(
    forward: ArrayLike, backward: ArrayLike, clusters: Clusters = None
) -> AgreementFigure:
    """P(what is shown first wins) - P(what is shown second wins), -1..1, over both orders of each pair.

    The arguments are those of `position_bias`. As each response has each place once, what they are
    worth cancels. Pairs with a failure in either are left out.
    """
    wins = (_floats(forward) + _floats(backward)) / 2
    return _mean(wins, clusters, ~np.isnan(wins), (-1.0, 1.0))


def length_bias(
    verdicts: ArrayLike,
    preferred: ArrayLike,
    lengths_a: ArrayLike,
    lengths_b: ArrayLike,
    clusters: Clusters = None,
) -> AgreementFigure:
    """P(the judge prefers the longer response) - P(the labels do), -1..1; ties count half.

    Over the pairs that have a verdict and differ in length. On what such a bias does see arXiv
    2310.10076, which compares accuracies instead.
    """
    longer = np.sign(_floats(lengths_a) - _floats(lengths_b))
    excess = (_floats(verdicts) - _floats(preferred)) * longer / 2
    return _mean(excess, clusters, ~np.isnan(excess) & (longer != 0), (-1.0, 1.0))


def self_consistency(verdicts: ArrayLike, clusters: Clusters = None) -> AgreementFigure:
    """Probability (0..1) that two repeats of the judge on the same item agree.

    `verdicts` is (items, repeats). It is the observed agreement of Fleiss (1971), item by item; a
    failure agrees with nothing.
    """
    table = _floats(verdicts)
    repeats = table.shape[1]
    if repeats < 2:
        raise ValueError("self-consistency needs at least two repeats")
    same = (table[:, :, None] == table[:, None, :]).sum((1, 2)) - (~np.isnan(table)).sum(1)
    return rate(same / (repeats * (repeats - 1)), clusters)


# --- of labels -----------------------------------------------------------------------------------


def sensitivity_specificity(
    truth: ArrayLike, judged: ArrayLike, clusters: Clusters = None
) -> tuple[AgreementFigure, AgreementFigure]:
    """Share (0..1) of the true items (1) that are judged 1, and of the false ones (0) judged 0.

    Youden (1950). A failure of the judge (nan) is wrong for both.
    """
    actual, found = _floats(truth), _floats(judged)
    return (
        rate(found == 1, clusters, where=actual == 1),
        rate(found == 0, clusters, where=actual == 0),
    )


def cohen_kappa(
    first: ArrayLike,
    second: ArrayLike,
    weighting: Literal["nominal", "quadratic"] = "nominal",
    clusters: Clusters = None,
) -> AgreementFigure:
    """Agreement of two raters beyond chance, 1 - observed / expected disagreement, -1..1.

    Nominal after Cohen (1960): labels are equal or not, and nan is a label of its own. Quadratic after
    Cohen (1968): labels are numbers, and disagreement is their squared difference.
    """
    if weighting == "quadratic":
        x, y = np.split(_unit(np.concatenate([_floats(first), _floats(second)])), 2)

        def statistic(w: Floats) -> Floats:
            n = w.sum(1)
            observed = w @ (x - y) ** 2 / n
            expected = (w @ x**2 + w @ y**2) / n - 2 * (w @ x) * (w @ y) / n**2
            return _beyond_chance(observed, expected)

        return _bootstrap(statistic, len(x), clusters)
    levels, codes = np.unique(
        np.concatenate([np.asarray(first), np.asarray(second)]), return_inverse=True
    )
    a, b = np.split(codes, 2)
    is_a, is_b = (code[:, None] == np.arange(len(levels)) for code in (a, b))

    def of_labels(w: Floats) -> Floats:
        n = w.sum(1)
        expected = 1 - ((w @ is_a) * (w @ is_b)).sum(1) / n**2
        return _beyond_chance(w @ (a != b) / n, expected)

    return _bootstrap(of_labels, len(a), clusters)


def krippendorff_alpha(
    ratings: ArrayLike,
    level: Literal["nominal", "ordinal", "interval"],
    clusters: Clusters = None,
) -> AgreementFigure:
    """Agreement of any number of raters beyond chance, at most 1.

    `ratings` is (raters, items), nan where a rater has none; items with fewer than two ratings say
    nothing and are not in n. After Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability".
    His ordinal difference of two values is that of their mid-ranks among all values.
    """
    table = _floats(ratings).T
    kept = (~np.isnan(table)).sum(1) >= 2
    table = table[kept]
    there = ~np.isnan(table)
    item = np.nonzero(there)[0]  # of each value; those of one item are neighbours
    values = _unit(table[there])
    sizes = there.sum(1)
    starts = np.cumsum(sizes) - sizes
    unequal = there[:, :, None] & there[:, None, :] & (table[:, :, None] != table[:, None, :])
    unequal_pairs = unequal.sum((1, 2)) / np.maximum(sizes - 1, 1)

    def statistic(w: Floats) -> Floats:
        weights = w[:, item]
        n = weights.sum(1)
        if level == "nominal":
            observed = w @ unequal_pairs
            expected = n**2 - (_totals(values, weights)[0] ** 2).sum(1)
        else:
            places = _mid_ranks(values, weights) / n[:, None] if level == "ordinal" else values[None]
            sums, squares = (np.add.reduceat(p, starts, axis=1) for p in (places, places**2))
            observed = (w * (2 * (sizes * squares - sums**2) / (sizes - 1))).sum(1)
            expected = 2 * (n * (weights * places**2).sum(1) - (weights * places).sum(1) ** 2)
        return _beyond_chance(observed / n, expected / (n * (n - 1)))

    names = None if clusters is None else [c for c, keep in zip(clusters, kept, strict=True) if keep]
    return _bootstrap(statistic, len(table), names, cells=len(values))


def spearman(first: ArrayLike, second: ArrayLike, clusters: Clusters = None) -> AgreementFigure:
    """Spearman's rho (1904), -1..1: Pearson's correlation of the mid-ranks of numbers without nan."""
    x, y = _floats(first), _floats(second)

    def statistic(w: Floats) -> Floats:
        centre = w.sum(1, keepdims=True) / 2
        a, b = _mid_ranks(x, w) - centre, _mid_ranks(y, w) - centre
        spread = (w * a**2).sum(1) * (w * b**2).sum(1)
        return _ratio((w * a * b).sum(1), np.sqrt(spread))

    return _bootstrap(statistic, len(x), clusters)


# --- what a judge's errors do --------------------------------------------------------------------


def attenuation(accuracy: float) -> float:
    """J = 2 * accuracy - 1 (-1..1): what a judge leaves of a difference; Youden's index (1950) of a
    judge that errs alike on both sides. The items needed to see the difference grow by 1 / J^2."""
    return 2 * accuracy - 1


def attenuated_effect(stderr: float, accuracy: float = 1.0, power: float = 0.8) -> float:
    """The smallest true difference found with this power at the two-sided 5 % level through a judge.

    (z_0.975 + z_power) * stderr / J; `stderr` is that of the difference as the judge shows it, J its
    `attenuation`. Infinite for a judge that is no better than chance. The formula without J: arXiv
    2411.00640, on power.
    """
    j = attenuation(accuracy)
    return (Z95 + NormalDist().inv_cdf(power)) * stderr / j if j > 0 else math.inf


# --- means and the bootstrap ---------------------------------------------------------------------


def rate(
    points: ArrayLike, clusters: Clusters = None, where: NDArray[np.bool_] | None = None
) -> AgreementFigure:
    """The mean of points in 0..1, of those in `where`; Wilson's interval if all are 0 or 1."""
    points = _floats(points)
    return _mean(points, clusters, np.ones(len(points), bool) if where is None else where, (0.0, 1.0))


def _mean(
    values: Floats, clusters: Clusters, where: NDArray[np.bool_], bounds: tuple[float, float]
) -> AgreementFigure:
    names = np.arange(len(values)).astype(str) if clusters is None else np.asarray(clusters)
    chosen: list[float] = values[where].tolist()
    if not chosen:
        return AgreementFigure(None, None, 0)
    found = mean_interval(chosen, names[where].tolist(), bounds)
    return AgreementFigure(found.value, (found.low, found.high), found.n)


def _bootstrap(statistic: Statistic, n: int, clusters: Clusters, cells: int = 0) -> AgreementFigure:
    """The statistic of n items, and percentiles of it over draws of their clusters.

    Draws in which it is undefined are left out. `cells` is the size of what it makes of one draw, if
    that is more than n.
    """
    if n == 0:
        return AgreementFigure(None, None, 0)
    point = float(statistic(np.ones((1, n)))[0])
    if math.isnan(point):
        return AgreementFigure(None, None, n)
    names, cluster = np.unique(np.arange(n) if clusters is None else clusters, return_inverse=True)
    at_once = max(1, min(DRAWS, _CELLS // max(n, cells)))
    found = [
        statistic(drawn[:, cluster].astype(float))
        for drawn in cluster_counts(len(names), DRAWS, _SEED, at_once)
    ]
    # With the point among them there is a quantile even if no draw is defined.
    low, high = np.nanquantile(np.concatenate([[point], *found]), [0.025, 0.975])
    return AgreementFigure(point, (float(low), float(high)) if high - low > _NOTHING else None, n)


def _mid_ranks(values: Floats, weights: Floats) -> Floats:
    """(draws, n): ranks in each draw, less one half; ties have the mean of their ranks."""
    totals, codes = _totals(values, weights)
    return (np.cumsum(totals, axis=1) - totals / 2)[:, codes]


def _totals(values: Floats, weights: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """(draws, levels): the weight of each distinct value, in rising order; and each value's place."""
    _, starts, codes = np.unique(np.sort(values), return_index=True, return_inverse=True)
    order = np.argsort(values, kind="stable")
    place = np.empty(len(values), np.intp)
    place[order] = codes
    totals: Floats = np.add.reduceat(weights[:, order], starts, axis=1)
    return totals, place


def _beyond_chance(observed: Floats, expected: Floats) -> Floats:
    return 1 - _ratio(observed, expected)


def _ratio(above: Any, below: Any) -> Floats:
    """nan where the denominator vanishes but for rounding."""
    usable = below > _NOTHING
    result: Floats = np.where(usable, above / np.where(usable, below, 1.0), np.nan)
    return result


def _unit(values: Floats) -> Floats:
    """The values moved and scaled to 0..1, where rounding is known; agreement does not change."""
    if values.size == 0:
        return values
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=float)
