"""Paired differences, against scipy, published examples and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from eval_anything.statistics.agreement import attenuated_effect
from eval_anything.statistics.intervals import spread
from eval_anything.statistics.paired import benjamini_hochberg, holm, lowest_change, paired

DIFFERENCES = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=2, max_size=12)


def own(n: int) -> np.ndarray:
    """Each sample a cluster of its own."""
    return np.arange(n)


@pytest.mark.parametrize(("worse", "better"), [(59, 16), (4, 11), (0, 3), (7, 7)])
def test_one_binary_sample_a_cluster_is_mcnemars_exact_test(worse: int, better: int) -> None:
    # 59 and 16 are the discordant pairs of Agresti's example (Categorical Data Analysis, 10.1)
    values = np.array([-1.0] * worse + [1.0] * better + [0.0] * 20)
    found = paired(values, own(len(values)), 1.0)
    theirs = scipy_stats.binomtest(better, worse + better, 0.5, alternative="less")
    assert found.p_worse == pytest.approx(theirs.pvalue)
    both = scipy_stats.binomtest(better, worse + better, 0.5)
    assert found.p == pytest.approx(both.pvalue)


@settings(deadline=None, max_examples=40)
@given(DIFFERENCES)
def test_few_clusters_are_tested_by_all_their_signs(values: list[float]) -> None:
    found = paired(values, own(len(values)), 1.0)
    total = sum(values)
    sums = [
        sum(s * abs(v) for s, v in zip(signs, values, strict=True))
        for signs in itertools.product((-1, 1), repeat=len(values))
    ]
    assert found.p_worse == pytest.approx(sum(s <= total + 1e-9 for s in sums) / len(sums))
    assert found.p_better == pytest.approx(sum(s >= total - 1e-9 for s in sums) / len(sums))


def test_drawn_signs_come_near_to_all_of_them() -> None:
    values = np.random.default_rng(5).normal(-0.1, 0.3, 18).clip(-1, 1)
    found = paired(values, own(18), 1.0)
    theirs = scipy_stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="less"
    )
    assert found.p_worse == pytest.approx(theirs.pvalue, abs=0.01)


def test_many_clusters_are_students_paired_test() -> None:
    g = np.random.default_rng(3)
    values = g.normal(-0.02, 0.2, 400).clip(-1, 1)
    found = paired(values, own(400), 1.0)
    theirs = scipy_stats.ttest_1samp(values, 0, alternative="less")
    assert found.p_worse == pytest.approx(theirs.pvalue)
    assert found.stderr == pytest.approx(scipy_stats.sem(values))
    low, high = scipy_stats.t.interval(0.95, 399, values.mean(), scipy_stats.sem(values))
    assert found.ci95 == pytest.approx((low, high), abs=2e-4)


def test_few_that_differ_have_few_degrees_of_freedom_and_a_skewed_interval() -> None:
    values = np.array([-1.0, -1.0, -1.0] + [0.0] * 37)
    found = paired(values, own(40), 1.0)
    assert found.ci95 is not None
    found_spread = spread(values - values.mean(), own(40))
    assert found_spread is not None
    assert 4 < found_spread.df < 8, "three samples decide, not forty"
    half = scipy_stats.t.ppf(0.975, found_spread.df) * scipy_stats.sem(values)
    shift = (1 + 2 * 1.959964**2) / 6 * scipy_stats.moment(values, 3) / np.var(values) / 40
    assert shift < 0, "losses are likelier to be more than fewer"
    assert found.ci95[0] == pytest.approx(values.mean() + shift - half)
    unseen = 1 - 0.05 ** (1 / 40)
    assert found.ci95[1] == pytest.approx(values.mean() + unseen * (1 - values.mean()))


@pytest.mark.parametrize("value", [1.0, 0.5, 0.0, -1.0])
def test_changes_that_are_all_alike_have_the_width_of_the_rule_of_three(value: float) -> None:
    found = paired([value] * 24, own(24), 1.0)
    assert found.ci95 is not None
    unseen = 1 - 0.05 ** (1 / 24)  # 3 / 24, nearly
    assert found.ci95 == pytest.approx((value - unseen * (value + 1), value + unseen * (1 - value)))
    clustered = paired([value] * 24, own(24) // 4, 1.0)
    assert clustered.ci95 is not None
    wider = 1 - 0.05 ** (3 / 24)  # 1 + (4 - 1) * 2/3 samples are as good as one
    assert clustered.ci95 == pytest.approx((value - wider * (value + 1), value + wider * (1 - value)))


def test_clusters_with_little_in_them_do_not_prove_that_they_are_no_clusters() -> None:
    """Three changes in three clusters of 40 look independent, but the next may come five at a time."""
    values = np.zeros(200)
    values[[0, 50, 100]] = 1
    together, alone = paired(values, own(200) // 5, 1.0), paired(values, own(200), 1.0)
    assert together.stderr == pytest.approx(alone.stderr, rel=0.03)
    assert together.ci95 is not None
    assert alone.ci95 is not None
    assert together.ci95[1] > 1.3 * alone.ci95[1]


def test_one_task_without_a_change_still_adds_doubt_to_the_mean_of_several() -> None:
    g = np.random.default_rng(2)
    steady, same = g.normal(0, 0.02, 24), np.ones(24)
    strata = np.repeat([0, 1], 24)
    found = paired(np.concatenate([steady, same]), own(48), np.ones(2), strata)
    assert found.ci95 is not None
    assert found.difference == pytest.approx(0.5, abs=0.01)
    assert found.ci95[0] < found.difference - 0.04, "one of 24 samples would change it by 1 / 48"
    both = paired(np.repeat([0.0, 1.0], 24), own(48), np.ones(2), strata)
    unseen = 1 - 0.05 ** (1 / 48)
    assert both.ci95 == pytest.approx((0.5 - 1.5 * unseen, 0.5 + 0.5 * unseen))


def test_the_lowest_change_belongs_to_one_side_alone() -> None:
    g = np.random.default_rng(3)
    values = g.normal(-0.02, 0.2, 400).clip(-1, 1)
    lowest = lowest_change(values, own(400), 1.0, 0.05)
    expected = values.mean() - scipy_stats.t.ppf(0.95, 399) * scipy_stats.sem(values)
    assert lowest == pytest.approx(expected, abs=5e-4)
    assert lowest_change([1.0, 0.0], ["a", "a"], 1.0, 0.05) is None
    assert lowest_change([0.0] * 60, own(60), 1.0, 0.05) == pytest.approx(-(1 - 0.05 ** (1 / 60)))


def test_nothing_that_differs_still_has_a_width() -> None:
    found = paired([0.0] * 30, own(30), 10.0)
    assert (found.difference, found.p, found.mde) == (0, 1, None)
    assert found.ci95 is not None
    assert 0.5 < found.ci95[1] == pytest.approx(-found.ci95[0])
    assert found.ci95[1] < 2


def test_copies_in_a_cluster_are_no_evidence() -> None:
    g = np.random.default_rng(1)
    alone = g.choice([-1.0, 0.0, 0.5], 60)
    copied = paired(np.repeat(alone, 5), np.repeat(own(60), 5), 1.0)
    single = paired(alone, own(60), 1.0)
    assert copied.p_worse == pytest.approx(single.p_worse, rel=0.2)
    assert copied.stderr == pytest.approx(single.stderr)
    assert copied.clusters == 60
    assert copied.n == 300


def test_one_cluster_has_no_spread() -> None:
    found = paired([0.5, -0.5, 1.0], ["a", "a", "a"], 1.0)
    assert found.difference == pytest.approx(1 / 3)
    assert (found.stderr, found.ci95, found.p, found.mde) == (None, None, None, None)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=80), st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_turning_the_sides_turns_everything(values: list[float], size: int) -> None:
    codes = np.arange(len(values)) // size
    one, other = paired(values, codes, 1.0), paired([-v for v in values], codes, 1.0)
    assert one.difference == pytest.approx(-other.difference)
    if one.ci95 is not None and other.ci95 is not None:
        assert one.ci95 == pytest.approx((-other.ci95[1], -other.ci95[0]))
        assert one.p_worse == pytest.approx(other.p_better, abs=0.02)
        assert one.ci95[0] <= one.difference <= one.ci95[1]
        assert -1 <= one.ci95[0] <= one.ci95[1] <= 1


def test_what_a_test_can_see_is_what_it_finds_four_times_in_five() -> None:
    g = np.random.default_rng(0)
    error = 0.03
    seen = attenuated_effect(error)
    estimates = g.normal(seen, error, 20_000)
    assert float((estimates > 1.96 * error).mean()) == pytest.approx(0.8, abs=0.01)


def test_corrections_are_those_of_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    p_values = [0.01, 0.04, 0.03, 0.005, 0.5, 0.04]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
    assert benjamini_hochberg(p_values) == pytest.approx(multipletests(p_values, method="fdr_bh")[1])
    assert holm([]) == benjamini_hochberg([]) == []
