"""Agreement of a judge with labels, its biases, and the effect of its errors on measured differences.

Verdicts on pairs (a, b) are +1 for a, -1 for b, 0 for a tie, and nan where the judge failed. Every
statistic comes with its 95 % interval: that of `intervals.mean_interval` for rates and means, else
percentiles of a bootstrap (Efron 1979; 2,000 draws, fixed seed). `clusters` has the cluster of each
item; items of one cluster are resampled together. Without it each item is a cluster of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from eval_anything.statistics.bootstrap import DRAWS, cluster_counts
from eval_anything.statistics.intervals import Z95, Floats, mean_interval

Clusters = Sequence[str] | None


# From the count of each item in each draw (draws, items) to one value per draw; nan: undefined.
Statistic = Callable[[Floats], Floats]


_SEED = 0


_CELLS = 2_000_000  # of one batch of draws: 16 MB for each array in it


_NOTHING = 1e-12


_ALIKE = 0.9
_LEAST_ALIKE = 10


class SameValue(Struct, frozen=True):
    """A value that nearly all of n have: whoever gave it may not tell them apart."""

    value: float | str
    count: int
    n: int


def same_value(values: Iterable[float | str]) -> SameValue | None:
    """The value that nine in ten have, or more; None if there is none, or fewer than ten values.

    Example:
        >>> same_value([10.0] * 19 + [7.0])
        SameValue(value=10.0, count=19, n=20)
        >>> same_value([1.0, 0.0] * 10) is None
        True
    """
    counts = Counter(values)
    n = counts.total()
    [(value, count)] = counts.most_common(1) or [(0.0, 0)]
    return SameValue(value, count, n) if n >= _LEAST_ALIKE and count >= _ALIKE * n else None


class AgreementFigure(Struct, frozen=True):
    """A statistic: its value, its 95 % interval, and the number of items it is computed from.

    `value` is None where the statistic is undefined, as kappa is if all items have one label. `ci95`
    is None where no interval can be computed: one cluster, or draws that all give the same value.
    """

    value: float | None
    ci95: tuple[float, float] | None
    n: int


# --- verdicts on pairs ---------------------------------------------------------------------------


def accuracy(verdicts: ArrayLike, preferred: ArrayLike, clusters: Clusters = None) -> AgreementFigure:
    """Share (0..1) of the pairs with a preferred side for which the verdict is that side.

    A tie of the judge counts half, a failure counts as wrong. Pairs that the labels call a tie have no
    right side and are left out, as in setup S2 of MT-Bench (arXiv 2306.05685).

    Example:
        >>> accuracy([1, -1, 0, 1], preferred=[1, 1, -1, 0]).value  # right, wrong, half, left out
        0.5
    """
    points = (1 + _floats(verdicts) * _floats(preferred)) / 2
    return rate(np.nan_to_num(points), clusters, where=_floats(preferred) != 0)


def position_bias(forward: ArrayLike, backward: ArrayLike, clusters: Clusters = None) -> AgreementFigure:
    """Share (0..1) of the pairs for which the verdict follows the position (see arXiv 2305.17926).

    Args:
        forward: verdicts on the pairs in one order: +1 for the response in first position, -1 for the
            one in second position.
        backward: verdicts on the same pairs in the opposite order, coded in the same way.

    Pairs with a failure in either order are left out.
    """
    agreement = _floats(forward) * _floats(backward)
    return rate(agreement == 1, clusters, where=~np.isnan(agreement))


def first_preference(
    forward: ArrayLike, backward: ArrayLike, clusters: Clusters = None
) -> AgreementFigure:
    """P(first position wins) - P(second position wins), -1..1, over both orders of each pair.

    The arguments are those of `position_bias`. Each response is in each position once, so differences
    in their quality cancel. Pairs with a failure in either order are left out.
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

    Computed over the pairs that have a verdict and differ in length. For the effects of such a bias see
    arXiv 2310.10076, which compares accuracies instead.
    """
    longer = np.sign(_floats(lengths_a) - _floats(lengths_b))
    excess = (_floats(verdicts) - _floats(preferred)) * longer / 2
    return _mean(excess, clusters, ~np.isnan(excess) & (longer != 0), (-1.0, 1.0))


def self_consistency(verdicts: ArrayLike, clusters: Clusters = None) -> AgreementFigure:
    """Probability (0..1) that two repeats of the judge on the same item agree.

    `verdicts` is (items, repeats). The probability is the observed agreement of Fleiss (1971) per item;
    a failure (nan) agrees with nothing. ValueError for fewer than two repeats.
    """
    table = _floats(verdicts)
    repeats = table.shape[1]
    if repeats < 2:
        raise ValueError("self-consistency needs at least two repeats")
    same = (table[:, :, None] == table[:, None, :]).sum((1, 2)) - (~np.isnan(table)).sum(1)
    return rate(same / (repeats * (repeats - 1)), clusters)


# --- labels --------------------------------------------------------------------------------------


def sensitivity_specificity(
    truth: ArrayLike, judged: ArrayLike, clusters: Clusters = None
) -> tuple[AgreementFigure, AgreementFigure]:
    """Sensitivity, the share (0..1) of the items with truth 1 that are judged 1, and specificity, the
    share of those with truth 0 that are judged 0 (Youden 1950).

    A failure of the judge (nan) counts as wrong in both.
    """
    actual, predicted = _floats(truth), _floats(judged)
    return (
        rate(predicted == 1, clusters, where=actual == 1),
        rate(predicted == 0, clusters, where=actual == 0),
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

    Example:
        >>> cohen_kappa([1, 1, 0, 0], [1, 0, 0, 0]).value
        0.5
    """
    if weighting == "quadratic":
        x, y = np.split(_unit(np.concatenate([_floats(first), _floats(second)])), 2)

        def quadratic(w: Floats) -> Floats:
            n = w.sum(1)
            observed = w @ (x - y) ** 2 / n
            expected = (w @ x**2 + w @ y**2) / n - 2 * (w @ x) * (w @ y) / n**2
            return _beyond_chance(observed, expected)

        return _bootstrap(quadratic, len(x), clusters)
    levels, codes = np.unique(
        np.concatenate([np.asarray(first), np.asarray(second)]), return_inverse=True
    )
    a, b = np.split(codes, 2)
    is_a, is_b = (code[:, None] == np.arange(len(levels)) for code in (a, b))

    def nominal(w: Floats) -> Floats:
        n = w.sum(1)
        expected = 1 - ((w @ is_a) * (w @ is_b)).sum(1) / n**2
        return _beyond_chance(w @ (a != b) / n, expected)

    return _bootstrap(nominal, len(a), clusters)


def krippendorff_alpha(
    ratings: ArrayLike,
    level: Literal["nominal", "ordinal", "interval"],
    clusters: Clusters = None,
) -> AgreementFigure:
    """Agreement of any number of raters beyond chance, at most 1.

    After Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability". His ordinal difference of
    two values is that of their mid-ranks among all values.

    Args:
        ratings: (raters, items), nan where a rater did not rate an item. Items with fewer than two
            ratings cannot be paired: they are left out, and not counted in n.
        level: the level of measurement, which defines the difference of two ratings.
        clusters: the cluster of each item.
    """
    table = _floats(ratings).T
    pairable = (~np.isnan(table)).sum(1) >= 2
    table = table[pairable]
    present = ~np.isnan(table)
    item_codes = np.nonzero(present)[0]  # the item of each value, ascending
    values = _unit(table[present])
    sizes = present.sum(1)
    starts = np.cumsum(sizes) - sizes
    unequal = present[:, :, None] & present[:, None, :] & (table[:, :, None] != table[:, None, :])
    unequal_pairs = unequal.sum((1, 2)) / np.maximum(sizes - 1, 1)

    def statistic(w: Floats) -> Floats:
        weights = w[:, item_codes]
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

    pairable_clusters = None if clusters is None else np.asarray(clusters)[pairable].tolist()
    return _bootstrap(statistic, len(table), pairable_clusters, cells=len(values))


def spearman(first: ArrayLike, second: ArrayLike, clusters: Clusters = None) -> AgreementFigure:
    """Spearman's rho (1904), -1..1: Pearson's correlation of the mid-ranks. No number may be nan."""
    x, y = _floats(first), _floats(second)

    def statistic(w: Floats) -> Floats:
        centre = w.sum(1, keepdims=True) / 2
        a, b = _mid_ranks(x, w) - centre, _mid_ranks(y, w) - centre
        spread = (w * a**2).sum(1) * (w * b**2).sum(1)
        return _ratio((w * a * b).sum(1), np.sqrt(spread))

    return _bootstrap(statistic, len(x), clusters)


# --- effect of a judge's errors ------------------------------------------------------------------


def attenuation(accuracy: float) -> float:
    """Factor J = 2 * accuracy - 1 (-1..1) by which a judge's errors shrink a true difference.

    It is Youden's index (1950) of a judge that errs equally often on both sides. The number of items
    needed to detect the difference grows by 1 / J^2.
    """
    return 2 * accuracy - 1


def attenuated_effect(stderr: float, accuracy: float = 1.0, power: float = 0.8) -> float:
    """Minimum detectable effect: the smallest true difference detected at the two-sided 5 % level.

    (z_0.975 + z_power) * stderr / J (arXiv 2411.00640, on power, extended by J).

    Args:
        stderr: standard error of the difference of the judge's scores.
        accuracy: accuracy of the judge on pairs, from which J is its `attenuation`.
        power: probability (0..1) that the difference is detected.

    Returns:
        The difference in the unit of `stderr`; infinite for a judge that is no better than chance.

    Example:
        >>> round(attenuated_effect(0.02), 3), round(attenuated_effect(0.02, accuracy=0.75), 3)
        (0.056, 0.112)
    """
    j = attenuation(accuracy)
    return (Z95 + NormalDist().inv_cdf(power)) * stderr / j if j > 0 else math.inf


# --- means and the bootstrap ---------------------------------------------------------------------


def rate(
    points: ArrayLike, clusters: Clusters = None, where: NDArray[np.bool_] | None = None
) -> AgreementFigure:
    """Mean of the points (n,), each in 0..1, where the mask `where` (n,) is true; without it, of all.

    The interval is Wilson's if all points are 0 or 1.
    """
    points = _floats(points)
    return _mean(points, clusters, np.ones(len(points), bool) if where is None else where, (0.0, 1.0))


def _mean(
    values: Floats, clusters: Clusters, where: NDArray[np.bool_], bounds: tuple[float, float]
) -> AgreementFigure:
    cluster_names = np.arange(len(values)).astype(str) if clusters is None else np.asarray(clusters)
    chosen: list[float] = values[where].tolist()
    if not chosen:
        return AgreementFigure(None, None, 0)
    estimate = mean_interval(chosen, cluster_names[where].tolist(), bounds)
    return AgreementFigure(estimate.value, (estimate.low, estimate.high), estimate.n)


def _bootstrap(statistic: Statistic, n: int, clusters: Clusters, cells: int = 0) -> AgreementFigure:
    """The statistic of n items, and its percentiles over bootstrap draws of their clusters.

    Draws in which it is undefined are left out. `cells` is the number of values that the statistic
    holds in memory per draw, if that is more than n.
    """
    if n == 0:
        return AgreementFigure(None, None, 0)
    point = float(statistic(np.ones((1, n)))[0])
    if math.isnan(point):
        return AgreementFigure(None, None, n)
    names, cluster = np.unique(np.arange(n) if clusters is None else clusters, return_inverse=True)
    at_once = max(1, min(DRAWS, _CELLS // max(n, cells)))
    draws = [
        statistic(counts[:, cluster].astype(float))
        for counts in cluster_counts(len(names), DRAWS, _SEED, at_once)
    ]
    # The point itself is included, so that quantiles exist even if no draw is defined.
    low, high = np.nanquantile(np.concatenate([[point], *draws]), [0.025, 0.975])
    return AgreementFigure(point, (float(low), float(high)) if high - low > _NOTHING else None, n)


def _mid_ranks(values: Floats, weights: Floats) -> Floats:
    """Ranks in each draw minus one half (draws, n); ties share the mean of their ranks."""
    totals, codes = _totals(values, weights)
    return (np.cumsum(totals, axis=1) - totals / 2)[:, codes]


def _totals(values: Floats, weights: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Total weight of each distinct value, ascending (draws, levels), and each value's level (n,)."""
    _, starts, codes = np.unique(np.sort(values), return_index=True, return_inverse=True)
    order = np.argsort(values, kind="stable")
    level_of = np.empty(len(values), np.intp)
    level_of[order] = codes
    totals: Floats = np.add.reduceat(weights[:, order], starts, axis=1)
    return totals, level_of


def _beyond_chance(observed: Floats, expected: Floats) -> Floats:
    return 1 - _ratio(observed, expected)


def _ratio(numerator: Any, denominator: Any) -> Floats:
    """Quotient; nan where the denominator is zero up to rounding."""
    usable = denominator > _NOTHING
    ratio: Floats = np.where(usable, numerator / np.where(usable, denominator, 1.0), np.nan)
    return ratio


def _unit(values: Floats) -> Floats:
    """Values shifted and scaled to 0..1, where rounding errors have a known size; this does not change
    agreement."""
    if values.size == 0:
        return values
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=float)
