"""Means and intervals, against brute force, scipy, and simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from eval_anything.statistics.intervals import mean_interval, student, wilson

UNIT = (0.0, 1.0)
ROWS = st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abcdef")), min_size=1, max_size=40)


def own(n: int) -> list[str]:
    """Each value a cluster of its own."""
    return [str(i) for i in range(n)]


@given(successes=st.integers(0, 200), extra=st.integers(0, 200))
def test_wilson_is_that_of_scipy(successes: int, extra: int) -> None:
    n = successes + extra
    if n == 0:
        return
    theirs = scipy_stats.binomtest(successes, n).proportion_ci(method="wilson")
    low, high = wilson(successes / n, n)
    assert low == pytest.approx(theirs.low, abs=1e-12)
    assert high == pytest.approx(theirs.high, abs=1e-12)


@settings(deadline=None)
@given(ROWS)
def test_the_mean_and_its_clustered_error_are_those_of_the_formula(
    rows: list[tuple[float, str]],
) -> None:
    values, clusters = [v for v, _ in rows], [c for _, c in rows]
    estimate = mean_interval(values, clusters, UNIT)
    n, mean = len(values), sum(values) / len(values)
    assert estimate.n == n
    assert estimate.value == pytest.approx(mean)
    assert 0 <= estimate.low <= estimate.value + 1e-12
    assert estimate.value - 1e-12 <= estimate.high <= 1
    groups = set(clusters)
    if len(groups) < 2:
        assert estimate.stderr is None
        assert (estimate.low, estimate.high) == UNIT
        return
    pairs = sum(  # all pairs of values that share a cluster
        (values[i] - mean) * (values[j] - mean)
        for i in range(n)
        for j in range(n)
        if clusters[i] == clusters[j]
    )
    expected = math.sqrt(max(0.0, pairs) * len(groups) / (len(groups) - 1)) / n
    assert estimate.stderr == pytest.approx(expected, abs=1e-7)


@settings(deadline=None)
@given(st.lists(st.integers(1, 99).map(lambda n: n / 100), min_size=2, max_size=40, unique=True))
def test_far_from_the_ends_it_is_the_t_interval_of_scipy(values: list[float]) -> None:
    estimate = mean_interval(values, own(len(values)), (-1e4, 1e4))
    error = scipy_stats.sem(values)
    second, fourth = (scipy_stats.moment(values, order) for order in (2, 4))
    excess = fourth - second**2
    df = len(values) - 1
    if excess > 1e-12 * second**2:  # what a sum of squares has when its items are not normal
        df = min(df, max(1, 2 * len(values) * second**2 / excess))
    low, high = scipy_stats.t.interval(0.95, df, np.mean(values), error)
    # moved by the skewness (Johnson 1978), but never so far that the mean is outside
    third = scipy_stats.moment(values, 3) / second / len(values)
    shift = np.clip((1 + 2 * 1.959964**2) / 6 * third, low - np.mean(values), high - np.mean(values))
    assert estimate.stderr == pytest.approx(error)
    assert estimate.low == pytest.approx(low + shift, rel=1e-3, abs=1e-3)
    assert estimate.high == pytest.approx(high + shift, rel=1e-3, abs=1e-3)


def test_a_proportion_without_clusters_is_wilsons() -> None:
    values = [1.0] * 14 + [0.0] * 26
    estimate = mean_interval(values, own(40), UNIT)
    # Miller's error divides by n - 1, and the quantile is Student's
    assert (estimate.low, estimate.high) == pytest.approx(wilson(14 / 40, 39, student(39)))
    theirs = scipy_stats.binomtest(14, 40).proportion_ci(method="wilson")
    assert theirs.low - 0.02 < estimate.low <= theirs.low
    assert theirs.high <= estimate.high < theirs.high + 0.02


@pytest.mark.parametrize("value", [0.0, 1.0, 0.4])
def test_equal_values_leave_open_what_would_go_unseen(value: float) -> None:
    estimate = mean_interval([value] * 10, own(10), UNIT)
    unseen = 1 - 0.05**0.1  # of other samples, none is among ten in 5 % of draws
    low, high = value - value * unseen, value + (1 - value) * unseen
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert estimate.value == value


def test_rare_events_are_not_excluded_by_two_of_them() -> None:
    """Wilson's interval of 2 of 24 begins above .02, where 8 % of samples have two and more."""
    estimate = mean_interval([1.0] * 2 + [0.0] * 22, own(24), UNIT)
    assert wilson(2 / 24, 24)[0] > 0.02 > estimate.low
    assert 0.2 < estimate.high < scipy_stats.binomtest(2, 24).proportion_ci().high + 0.05


def test_a_few_other_values_do_not_show_which_ones_there_are() -> None:
    estimate = mean_interval([0.5] * 47 + [0.25] * 3, own(50), UNIT)
    unseen = 1 - 0.05 ** (1 / 50)
    mean = 0.5 - 0.25 * 3 / 50
    assert estimate.low == pytest.approx(mean * (1 - unseen))
    assert estimate.high == pytest.approx(mean + (1 - mean) * unseen)
    many = mean_interval([0.5] * 40 + [0.25] * 10, own(50), UNIT)
    assert many.high < many.value + (1 - many.value) * unseen


def test_copies_in_a_cluster_add_no_certainty() -> None:
    values = [float(i % 3 == 0) for i in range(12)]
    alone = mean_interval(values, own(12), UNIT)
    copied = mean_interval(values * 10, own(12) * 10, UNIT)
    assert copied.stderr == pytest.approx(alone.stderr)
    assert 1 < (copied.high - copied.low) / (alone.high - alone.low) < 1.1
    careless = mean_interval(values * 10, own(120), UNIT)
    assert careless.high - careless.low < (alone.high - alone.low) / 2


def test_other_ranges_are_the_same_scaled() -> None:
    values = [0.0, 0.25, 0.5, 1.0, 1.0, 0.75]
    unit = mean_interval(values, own(6), UNIT)
    scaled = mean_interval([1 + 9 * v for v in values], own(6), (1.0, 10.0))
    assert scaled.value == pytest.approx(1 + 9 * unit.value)
    assert scaled.stderr == pytest.approx(9 * (unit.stderr or 0))
    assert scaled.low == pytest.approx(1 + 9 * unit.low)
    assert scaled.high == pytest.approx(1 + 9 * unit.high)
    below = mean_interval([v - 4 for v in values], own(6), (-4.0, -3.0))
    assert below.low == pytest.approx(unit.low - 4)


Draw = Callable[[np.random.Generator], tuple[list[float], list[str]]]


def bernoulli(p: float, n: int) -> Draw:
    return lambda g: ((g.random(n) < p).astype(float).tolist(), own(n))


def graded(n: int) -> Draw:
    return lambda g: (g.beta(2, 1, n).tolist(), own(n))


def clustered(groups: int, size: int) -> Draw:
    """Each cluster has a success rate of its own; the true mean is .7."""

    def draw(g: np.random.Generator) -> tuple[list[float], list[str]]:
        rates = np.repeat(g.beta(3.5, 1.5, groups), size)
        return (g.random(groups * size) < rates).astype(float).tolist(), [
            str(i // size) for i in range(groups * size)
        ]

    return draw


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (bernoulli(0.5, 100), 0.5),
        (bernoulli(0.9, 30), 0.9),
        (bernoulli(0.97, 50), 0.97),
        (graded(20), 2 / 3),
        (clustered(40, 5), 0.7),
    ],
)
def test_the_intervals_hold_the_truth_as_often_as_they_say(draw: Draw, truth: float) -> None:
    generator = np.random.default_rng(7)
    trials = 1000
    hits = 0
    for _ in range(trials):
        estimate = mean_interval(*draw(generator), UNIT)
        hits += estimate.low <= truth <= estimate.high
    assert 0.92 <= hits / trials <= 0.99
