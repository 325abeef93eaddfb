"""Corrected means: equal to those of others, right although the judge errs, open about few labels."""

from __future__ import annotations

import numpy as np
import pytest

from eval_anything.statistics.corrected import LabelArrays, corrected_change, corrected_mean, misfit
from eval_anything.statistics.intervals import Floats, mean_interval
from eval_anything.statistics.paired import paired
from eval_anything.statistics.strata import allocate, spreads, strata_of
from tests.benchmarks import corrected_cells


def example(p: float, accuracy: float) -> tuple[Floats, Floats]:
    """150 labels and scores of 1,000 samples by a judge."""
    g = np.random.default_rng(7)
    truth = (g.random(1000) < p) * 1.0
    judged = np.where(g.random(1000) < accuracy, truth, 1 - truth) + 0.1 * g.random(1000)
    return truth, judged


@pytest.mark.parametrize(
    ("p", "accuracy", "most", "mean", "low", "high"),
    [
        (0.6, 0.8, 1.0, 0.6183734, 0.55265663, 0.68409017),
        (0.6, 0.8, 0.0, 0.61333333, 0.53540074, 0.69126592),
        (0.3, 0.65, 1.0, 0.28022053, 0.2117072, 0.34873386),
        (0.3, 0.65, 0.0, 0.26666667, 0.19589857, 0.33743477),
    ],
)
def test_a_corrected_mean_is_that_of_ppi_python(
    p: float, accuracy: float, most: float, mean: float, low: float, high: float
) -> None:
    """Figures of ppi_mean_pointestimate and ppi_mean_ci of ppi-python 0.2.3, lam None and 0."""
    truth, judged = example(p, accuracy)
    labels = LabelArrays(np.arange(150), truth[:150], np.full(150, 0.15))
    values = corrected_mean(judged, labels, np.arange(1000), 1.1, most).values
    assert values.mean() == pytest.approx(mean, abs=0.002)
    estimate = mean_interval(values, np.arange(1000), (0.0, 1.1))
    assert estimate.low == pytest.approx(low, abs=0.004)
    assert estimate.high == pytest.approx(high, abs=0.006)


def test_labels_of_all_samples_are_the_mean_whatever_the_judge_says() -> None:
    truth, judged = example(0.6, 0.8)
    labels = LabelArrays(np.arange(1000), truth, np.ones(1000))
    values = corrected_mean(judged, labels, np.arange(1000), 1.1).values
    assert values == pytest.approx(truth)


def test_a_judge_that_agrees_always_leaves_what_was_not_seen_open() -> None:
    truth = (np.random.default_rng(1).random(2000) < 0.5) * 1.0
    labels = LabelArrays(np.arange(200), truth[:200], np.full(200, 0.1))
    made = corrected_mean(truth, labels, np.arange(2000), 1.0)
    estimate = mean_interval(made.values, np.arange(2000), (0.0, 1.0))
    assert made.tuning == pytest.approx((1.0,))
    assert estimate.value == pytest.approx(truth.mean())
    assert 0.025 < estimate.high - estimate.low < 0.08  # 3 in 200 may be otherwise, on either side


def test_labels_that_are_all_alike_do_not_prove_that_all_samples_are() -> None:
    judged = (np.arange(400) % 2) * 1.0
    labels = LabelArrays(np.arange(40), np.ones(40), np.full(40, 0.1))
    made = corrected_mean(judged, labels, np.arange(400), 1.0)
    estimate = mean_interval(made.values, np.arange(400), (0.0, 1.0))
    assert estimate.value == 1.0
    assert estimate.low < 0.95


def test_a_biased_judge_misses_and_its_correction_covers() -> None:
    for design, icc in (("uniform", 0.5), ("unequal", 0.0)):
        cell = corrected_cells.means("length", design, icc, 60)
        assert cell["raw covers"] == 0
        assert cell["covers"] >= 0.85
        changed = corrected_cells.changes("favourite", design, 0.1, icc, 40)
        assert changed["raw covers"] < 0.2
        assert changed["covers"] >= 0.82


def test_labels_of_other_samples_in_each_run_are_valid_too() -> None:
    g = np.random.default_rng(3)
    covered = 0
    for _ in range(60):
        base = corrected_cells.clustered(g, 0.6, 1000, 0.0)
        judged = corrected_cells.judge(g, base, "favourite", candidate=True)
        first, p = corrected_cells.chosen(g, base, "uniform", 150)
        second, q = corrected_cells.chosen(g, judged, "unequal", 150)
        made = corrected_change(
            base, LabelArrays(first, base[first], p), judged, LabelArrays(second, base[second], q),
            np.arange(1000), 1.0,
        )  # fmt: skip
        ends = paired(made.values, np.arange(1000), 1.0, symmetric=False).ci95
        assert ends is not None
        covered += ends[0] <= 0.0 <= ends[1]
    assert covered >= 52


def test_probabilities_that_cannot_be_right_are_noticed() -> None:
    labels = LabelArrays(np.arange(100), np.ones(100), np.full(100, 0.5))
    assert misfit(labels, 200) is None
    assert misfit(labels, 1000) is not None


def test_strata_follow_the_judge_and_labels_go_where_they_scatter() -> None:
    shares = np.repeat([0.0, 0.5, 1.0], 100)[:, None]
    strata = strata_of(shares)
    assert np.bincount(strata).tolist() == [100, 100, 100]
    unsure = spreads(shares, strata)
    assert unsure[1] > 2 * unsure[0]
    places = np.arange(0, 300, 10)
    truth = np.where(places >= 200, places % 20 / 10, 0.0)  # the upper grade is wrong half of the time
    known = spreads(shares, strata, places, truth)
    assert known[2] > 2 * known[0]
    new = allocate(np.bincount(strata), known, np.array([10, 10, 10]), 30)
    assert new.sum() == 30
    assert new[2] > 20
    assert allocate(np.array([3, 2]), np.ones(2), np.array([1, 2]), 50).tolist() == [2, 0]
    assert len(np.unique(strata_of(np.random.default_rng(0).random((500, 2))))) == 9
