"""Agreement figures against published examples, scipy, scikit-learn and brute force."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from eval_anything.statistics import agreement
from eval_anything.statistics.agreement import (
    AgreementFigure,
    accuracy,
    attenuated_effect,
    attenuation,
    cohen_kappa,
    first_preference,
    krippendorff_alpha,
    length_bias,
    position_bias,
    self_consistency,
    sensitivity_specificity,
    spearman,
)
from eval_anything.statistics.intervals import mean_interval

NAN = math.nan

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability": four observers, twelve units.
RELIABILITY_DATA = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]

GRADES = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=25)
VERDICT = st.sampled_from([1.0, -1.0, 0.0, NAN])
PAIRS = st.lists(st.tuples(VERDICT, st.sampled_from([1.0, -1.0, 0.0])), min_size=1, max_size=25)


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "DRAWS", 40)


def columns(rows: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [a for a, _ in rows], [b for _, b in rows]


def value(figure: AgreementFigure) -> float:
    """nan for undefined."""
    return NAN if figure.value is None else figure.value


# --- Krippendorff's alpha ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_of_krippendorffs_example(level: Any, published: float) -> None:
    found = krippendorff_alpha(RELIABILITY_DATA, level)
    assert found.value == pytest.approx(published, abs=6e-4)
    assert found.n == 11, "the unit that one observer saw says nothing"


def brute_alpha(ratings: Sequence[Sequence[float]], level: str) -> float:
    """By the coincidence matrix and Krippendorff's difference functions, in loops."""
    units = [[v for v in unit if not math.isnan(v)] for unit in zip(*ratings, strict=True)]
    units = [unit for unit in units if len(unit) > 1]
    values = [v for unit in units for v in unit]
    levels = sorted(set(values))
    totals = {c: values.count(c) for c in levels}

    def difference(c: float, k: float) -> float:
        if level == "nominal":
            return float(c != k)
        if level == "interval":
            return (c - k) ** 2
        low, high = min(c, k), max(c, k)
        between = sum(totals[g] for g in levels if low <= g <= high)
        return (between - (totals[c] + totals[k]) / 2) ** 2

    observed = sum(
        sum(difference(c, k) for c, k in permutations(unit, 2)) / (len(unit) - 1) for unit in units
    ) / len(values)
    expected = sum(difference(c, k) for c, k in permutations(values, 2)) / (
        len(values) * (len(values) - 1)
    )
    return 1 - observed / expected if expected else NAN


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(st.sampled_from([1, 2, 3, 5, 8.5, NAN]), min_size=3, max_size=3), min_size=2, max_size=8
    ).filter(lambda units: any(sum(v == v for v in unit) > 1 for unit in units)),
    st.sampled_from(["nominal", "ordinal", "interval"]),
)
def test_alpha_is_that_of_the_coincidence_matrix(units: list[list[float]], level: Any) -> None:
    ratings = [list(rater) for rater in zip(*units, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agreement, "DRAWS", 5)
        found = value(krippendorff_alpha(ratings, level))
        again = value(krippendorff_alpha(ratings[::-1], level))
    assert found == pytest.approx(brute_alpha(ratings, level), abs=1e-9, nan_ok=True)
    assert again == pytest.approx(found, abs=1e-9, nan_ok=True), "no observer is special"
    assert math.isnan(found) or found <= 1 + 1e-12


# --- Cohen's kappa -------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, max_examples=60)
@given(GRADES)
def test_kappa_is_that_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    from sklearn import metrics

    first, second = columns(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agreement, "DRAWS", 5)
        for weighting, theirs in (("nominal", None), ("quadratic", "quadratic")):
            ours = value(cohen_kappa(first, second, weighting))  # type: ignore[arg-type]
            labels = [1, 2, 3, 4, 5]
            expected = (
                NAN
                if len({*first, *second}) == 1
                else metrics.cohen_kappa_score(first, second, labels=labels, weights=theirs)
            )
            assert ours == pytest.approx(expected, abs=1e-9, nan_ok=True)


@settings(deadline=None, max_examples=40)
@given(GRADES, st.permutations([1, 2, 3, 4, 5]))
def test_kappa_is_symmetric_in_range_and_blind_to_names(
    rows: list[tuple[int, int]], names: list[int]
) -> None:
    first, second = columns(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agreement, "DRAWS", 5)
        kappa = value(cohen_kappa(first, second))
        renamed = [[names[int(v) - 1] for v in side] for side in (first, second)]
        moved = [[3 * v - 7 for v in side] for side in (first, second)]
        others = [
            value(cohen_kappa(second, first)),
            value(cohen_kappa(*renamed)),
            value(cohen_kappa([str(v) for v in first], [str(v) for v in second])),
        ]
        quadratic = value(cohen_kappa(first, second, "quadratic"))
        assert value(cohen_kappa(*moved, "quadratic")) == pytest.approx(quadratic, abs=1e-9, nan_ok=True)
    assert others == [pytest.approx(kappa, abs=1e-9, nan_ok=True)] * 3
    assert math.isnan(kappa) or -1 <= kappa <= 1


def test_a_failure_of_the_judge_is_a_label_of_its_own_in_kappa() -> None:
    truth = [1, -1, 1, -1, 1, -1]
    whole = value(cohen_kappa(truth, truth))
    failing = value(cohen_kappa([NAN, NAN, *truth[2:]], truth))
    assert whole == 1
    assert failing < 1


# --- Spearman and the bootstrap ------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, max_examples=60)
@given(GRADES)
def test_rho_is_that_of_scipy(rows: list[tuple[int, int]]) -> None:
    first, second = columns(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agreement, "DRAWS", 5)
        ours = value(spearman(first, second))
        assert value(spearman(second, first)) == pytest.approx(ours, abs=1e-9, nan_ok=True)
        assert value(spearman([v**3 for v in first], second)) == pytest.approx(
            ours, abs=1e-9, nan_ok=True
        )
    theirs = float(scipy_stats.spearmanr(first, second).statistic)
    assert ours == pytest.approx(theirs, abs=1e-9, nan_ok=True)


def brute_kappa(x: Any, y: Any) -> float:
    return 1 - ((x - y) ** 2).mean() / ((x[:, None] - y[None]) ** 2).mean()


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (spearman, lambda x, y: scipy_stats.spearmanr(x, y).statistic),
        (lambda x, y, c: cohen_kappa(x, y, "quadratic", c), brute_kappa),
        *(
            (
                lambda x, y, c, level=level: krippendorff_alpha([x, y], level, c),
                lambda x, y, level=level: brute_alpha([x, y], level),
            )
            for level in ("nominal", "ordinal", "interval")
        ),
    ],
)
@pytest.mark.parametrize("clustered", [False, True])
def test_the_bootstrap_draws_whole_clusters_again(
    ours: Callable[..., AgreementFigure], theirs: Callable[..., float], clustered: bool
) -> None:
    """The same draws, with items repeated in place of weights."""
    generator = np.random.default_rng(5)
    x = generator.integers(1, 6, 30).astype(float)
    y = np.clip(x + generator.integers(-1, 2, 30), 1, 5)
    names = [f"c{i // 3}" if clustered else f"c{i:02}" for i in range(30)]
    levels = sorted(set(names))
    draws = np.random.default_rng(0).multinomial(len(levels), [1 / len(levels)] * len(levels), 40)
    found = [theirs(x, y)]
    for draw in draws:
        items = np.repeat(np.arange(30), [draw[levels.index(name)] for name in names])
        found.append(theirs(x[items], y[items]))
    figure = ours(x, y, names)
    assert figure.ci95 == pytest.approx(tuple(np.quantile(found, [0.025, 0.975])), abs=1e-9)
    if not clustered:
        assert ours(x, y, None) == figure


def test_intervals_cover_and_are_the_same_each_time() -> None:
    generator = np.random.default_rng(1)
    true_rho = 6 / math.pi * math.asin(0.6 / 2)  # of a bivariate normal with correlation 0.6
    covered = 0
    for _ in range(60):
        x = generator.normal(size=80)
        y = 0.6 * x + 0.8 * generator.normal(size=80)
        figure = spearman(x, y)
        assert figure == spearman(x, y)
        assert figure.ci95 is not None
        covered += figure.ci95[0] <= true_rho <= figure.ci95[1]
    assert covered >= 51, "95 % of 60 is 57; fewer than 51 has a chance below 1 in 100"


def test_five_hundred_items_take_less_than_two_seconds() -> None:
    generator = np.random.default_rng(2)
    x = generator.normal(size=500)
    y = x + generator.normal(size=500)
    for figure in (
        lambda: spearman(x, y),
        lambda: krippendorff_alpha([x, y], "ordinal"),
        lambda: krippendorff_alpha([x, y], "nominal"),
        lambda: cohen_kappa(x.round(), y.round()),
    ):
        start = time.process_time()
        figure()
        assert time.process_time() - start < 2


def test_what_has_no_value_or_no_interval() -> None:
    assert spearman([1, 1, 1], [1, 2, 3]) == AgreementFigure(None, None, 3)
    assert cohen_kappa([1, 1], [1, 1]) == AgreementFigure(None, None, 2)
    assert krippendorff_alpha([[1, NAN], [NAN, 2]], "interval") == AgreementFigure(None, None, 0)
    assert accuracy([1, -1], [0, 0]) == AgreementFigure(None, None, 0)
    perfect = spearman([1, 2, 3, 4], [1, 2, 3, 4])
    assert perfect == AgreementFigure(pytest.approx(1.0), None, 4), "no width is not certainty"


# --- verdicts ------------------------------------------------------------------------------------


def of_the_mean(points: Sequence[float]) -> tuple[float, float]:
    """The interval of the mean of shares, each its own cluster."""
    found = mean_interval(points, [str(i) for i in range(len(points))], (0, 1))
    return found.low, found.high


@given(PAIRS)
def test_accuracy_counts_ties_half_and_failures_as_wrong(rows: list[tuple[float, float]]) -> None:
    verdicts, preferred = columns(rows)
    points = [0.0 if math.isnan(v) else 0.5 if v == 0 else float(v == p) for v, p in rows if p != 0]
    found = accuracy(verdicts, preferred)
    assert found.n == len(points)
    if points:
        assert found.value == pytest.approx(sum(points) / len(points))
        swapped = accuracy([-v for v in verdicts], [-p for p in preferred])
        assert swapped == found, "which response is called a does not matter"
        assert found.ci95 == of_the_mean(points)


def test_pairs_of_one_source_widen_the_interval() -> None:
    verdicts, preferred = [1.0] * 40 + [-1.0] * 10, [1.0] * 50
    alone = accuracy(verdicts, preferred)
    together = accuracy(verdicts, preferred, [str(i // 5) for i in range(50)])
    assert alone.ci95 is not None
    assert together.ci95 is not None
    assert together.value == alone.value
    assert together.ci95[1] - together.ci95[0] > 1.3 * (alone.ci95[1] - alone.ci95[0])


def test_position_bias() -> None:
    #            first twice, second twice, consistent, consistent, a tie, a failure
    forward = [1, -1, 1, -1, 0, NAN]
    backward = [1, -1, -1, 1, 1, 1]
    found = position_bias(forward, backward)
    assert (found.value, found.n) == (pytest.approx(2 / 5), 5)


def test_first_preference() -> None:
    #           first twice, second twice, consistent, a tie once, a failure
    forward = [1, 1, -1, 1, 0, NAN]
    backward = [1, 1, -1, -1, 1, 1]
    found = first_preference(forward, backward)
    assert (found.value, found.n) == (pytest.approx((1 + 1 - 1 + 0 + 0.5) / 5), 5)
    turned = first_preference([-v for v in forward], [-v for v in backward])
    assert turned.value == pytest.approx(-0.3)


def test_length_bias() -> None:
    preferred = [1, -1, 1, -1, 1]
    verdicts = [1, 1, 1, 1, NAN]  # always a
    long, short = [9, 9, 9, 9, 9], [1, 1, 1, 9, 1]  # a is longer, once as long
    found = length_bias(verdicts, preferred, long, short)
    assert (found.value, found.n) == (pytest.approx(1 / 3), 3)
    other = length_bias([-v for v in verdicts], [-p for p in preferred], short, long)
    assert other == found
    assert length_bias(preferred, preferred, long, short).value == 0


def test_self_consistency() -> None:
    found = self_consistency([[1, 1, 1], [1, 1, -1], [NAN, NAN, 1], [1, 0, -1]])
    assert found.value == pytest.approx((1 + 1 / 3 + 0 + 0) / 4)
    with pytest.raises(ValueError, match="two repeats"):
        self_consistency([[1], [1]])


def test_sensitivity_and_specificity() -> None:
    truth = [1, 1, 1, 1, 0, 0, 0]
    judged = [1, 1, 0, NAN, 0, 1, NAN]
    sensitivity, specificity = sensitivity_specificity(truth, judged)
    assert (sensitivity.value, sensitivity.n) == (pytest.approx(2 / 4), 4)
    assert (specificity.value, specificity.n) == (pytest.approx(1 / 3), 3)
    assert sensitivity.ci95 == of_the_mean([1, 1, 0, 0])


# --- what errors do ------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "times"), [(0.59, 31), (0.664, 9.3), (0.75, 4), (0.82, 2.4)])
def test_attenuation(right: float, times: float) -> None:
    assert attenuation(right) ** -2 == pytest.approx(times, rel=0.02)
    assert attenuated_effect(0.01, right) == pytest.approx(
        attenuated_effect(0.01) * times**0.5, rel=0.01
    )


def test_the_effect_is_found_with_its_power() -> None:
    stderr, judge = 0.02, 0.8
    shown = attenuated_effect(stderr, judge) * attenuation(judge)
    z = np.random.default_rng(4).normal(shown / stderr, 1, 50000)
    assert (np.abs(z) > 1.96).mean() == pytest.approx(0.8, abs=0.01)
    assert attenuated_effect(stderr, 0.5) == math.inf
