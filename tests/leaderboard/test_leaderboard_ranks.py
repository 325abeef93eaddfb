"""Ranks as intervals: they hold the true rank, tell what can be told, and say nothing of the rest."""

from __future__ import annotations

import numpy as np
import pytest

from eval_anything.leaderboard.ranks import RunDifferences, TaskDraws, rank_intervals, ranks_against
from eval_anything.leaderboard.samples import SampleRow, ScoredMetric, TaskSamples


def _run(values: list[float | None], clusters: list[str] | None = None, repeats: int = 1) -> TaskSamples:
    rows = [
        SampleRow(
            f"s{i}", "item", repeat, clusters[i] if clusters else f"c{i}", "t", "", "", "", {"0": v}, {}
        )
        for i, v in enumerate(values)
        for repeat in range(repeats)
    ]
    return TaskSamples([ScoredMetric("m", "j", (0.0, 1.0), "higher")], [0], rows)


def _ranks(runs: list[TaskSamples]) -> list[tuple[int, int]]:
    draws = TaskDraws(runs)
    found = rank_intervals(draws.means("m"), draws.groups, draws.differing("m"))
    return list(zip(found.low.tolist(), found.high.tolist(), strict=True))


def test_what_is_clear_is_told() -> None:
    generator = np.random.default_rng(0)
    hard = generator.normal(0, 0.3, 100)
    runs = [_run((level + hard + generator.normal(0, 0.05, 100)).tolist()) for level in (0.9, 0.7, 0.5)]
    assert _ranks(runs) == [(1, 1), (2, 2), (3, 3)]


def test_pairing_tells_what_independent_intervals_cannot() -> None:
    """The spread of difficulty is ten times the difference; on the same samples it cancels."""
    generator = np.random.default_rng(1)
    hard = generator.normal(0, 1, 200)
    better, worse = hard + 0.1 + generator.normal(0, 0.1, 200), hard + generator.normal(0, 0.1, 200)
    assert _ranks([_run(worse.tolist()), _run(better.tolist())]) == [(2, 2), (1, 1)]


def test_equal_runs_are_tied() -> None:
    values = [float(i % 2) for i in range(40)]
    assert _ranks([_run(values)] * 3) == [(1, 3)] * 3


def test_few_clusters_that_differ_tell_nothing() -> None:
    base = [0.0] * 60
    five, six = [1.0] * 5 + base[5:], [1.0] * 9 + base[9:]
    assert _ranks([_run(base), _run(five)]) == [(1, 2), (1, 2)]
    assert _ranks([_run(base), _run(six)]) == [(2, 2), (1, 1)]


def test_samples_of_one_source_count_once() -> None:
    """Forty samples from four sources are four: nothing can be told."""
    clusters = [f"c{i % 4}" for i in range(40)]
    assert _ranks([_run([0.0] * 40, clusters), _run([1.0] * 40, clusters)]) == [(1, 2), (1, 2)]


def test_a_single_run_and_a_single_sample() -> None:
    assert _ranks([_run([0.5, 0.7])]) == [(1, 1)]
    assert _ranks([_run([0.1]), _run([0.9])]) == [(1, 2), (1, 2)]


def test_repeats_are_averaged_and_gaps_left_out() -> None:
    draws = TaskDraws([_run([0.0, 1.0, None], repeats=3), _run([1.0, None, None])])
    assert draws.means("m")[0].tolist() == [0.5, 1.0]
    assert draws.differing("m").tolist() == [[0, 1], [1, 0]]
    assert np.isnan(TaskDraws([_run([None])]).means("m")).all()


def _uneven(runs: list[TaskSamples]) -> list[tuple[int, int]]:
    draws = TaskDraws(runs)
    assert not draws.even
    found = ranks_against(
        RunDifferences(
            draws.of_others("m", i) - draws.of_one("m", i),
            draws.shared_groups(i),
            draws.differing_from("m", i),
        )
        for i in range(len(runs))
    )
    return list(zip(found.low.tolist(), found.high.tolist(), strict=True))


def test_runs_with_other_samples_are_compared_on_those_that_both_have() -> None:
    """The first 40 samples are easy: a run that has only these is no better for it."""
    generator = np.random.default_rng(2)
    easy, hard = generator.normal(0.9, 0.05, 40), generator.normal(0.2, 0.05, 190)
    whole = np.concatenate([easy, hard])
    worse = (whole - 0.1).tolist()
    assert _uneven([_run(whole.tolist()), _run((easy - 0.1).tolist())]) == [(1, 1), (2, 2)]
    assert _uneven([_run(worse), _run(easy.tolist()), _run(whole.tolist())])[0] == (3, 3)
    draws = TaskDraws([_run(whole.tolist()), _run(easy.tolist())])
    assert draws.of_one("m", 0)[0] == pytest.approx([whole.mean(), easy.mean()])
    assert draws.shared_groups(0).tolist() == [230, 40]


def test_runs_without_a_common_sample_are_not_told_apart() -> None:
    one, other = _run([1.0] * 40), _run([0.0] * 80)
    other.rows = other.rows[40:]
    assert _uneven([one, other]) == [(1, 2), (1, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("n", [25, 100])
def test_the_true_rank_is_inside(n: int) -> None:
    """In at least 95 % of draws, within the error of 200 trials, for models that are close."""
    truth = np.array([0.62, 0.60, 0.55, 0.50, 0.50])
    places = [(1, 1), (2, 2), (3, 3), (4, 5), (4, 5)]  # the last two are equal: either place is right
    inside = np.zeros(5)
    trials = 200
    for seed in range(trials):
        generator = np.random.default_rng(seed)
        shared = generator.normal(0, 0.25, (n, 1))
        values = np.clip(truth + shared + generator.normal(0, 0.2, (n, 5)), -1, 2)
        found = _ranks([_run(values[:, i].tolist()) for i in range(5)])
        inside += [(low <= best and worst <= high) or (low <= worst and best <= high and best != worst)
                   for (low, high), (best, worst) in zip(found, places, strict=True)]  # fmt: skip
    assert (inside / trials >= 0.92).all(), inside / trials
