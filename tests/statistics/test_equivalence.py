"""Two one-sided tests: what they decide, and how often they err."""

from __future__ import annotations

import numpy as np
import pytest

from eval_anything.statistics.equivalence import equivalence
from eval_anything.statistics.intervals import Floats
from eval_anything.statistics.paired import change_interval


def changes(n: int, better: int, worse: int) -> Floats:
    values = np.zeros(n)
    values[:better], values[better : better + worse] = 1.0, -1.0
    return values


@pytest.mark.parametrize(
    ("values", "margin", "verdict"),
    [
        (changes(400, 2, 2), 0.05, "equivalent"),
        (changes(400, 40, 0), 0.05, "different"),
        (changes(400, 0, 40), 0.05, "different"),
        (changes(400, 20, 0), 0.05, "not known"),
        (changes(40, 1, 1), 0.05, "not known"),
    ],
)
def test_the_interval_decides(values: Floats, margin: float, verdict: str) -> None:
    decided = equivalence(values, np.arange(len(values)), margin)
    assert decided.verdict == verdict
    assert decided.interval == change_interval(values, np.arange(len(values)), 1.0, 0.05, sides=1)
    mirrored = equivalence(-values, np.arange(len(values)), margin)
    assert mirrored.verdict == verdict
    assert mirrored.difference == -decided.difference


def test_the_samples_that_would_settle_it() -> None:
    few = equivalence(changes(40, 1, 1), np.arange(40), 0.05)
    assert few.needed is not None
    assert few.needed > 40
    times = -(-few.needed // 40)
    many = equivalence(np.tile(changes(40, 1, 1), times), np.arange(40 * times), 0.05)
    assert many.verdict == "equivalent"
    assert equivalence(changes(400, 20, 0), np.arange(400), 0.05).needed is None
    beyond = equivalence(changes(400, 24, 0), np.arange(400), 0.05)
    assert beyond.verdict == "not known"
    assert beyond.needed is not None


def test_one_cluster_shows_nothing() -> None:
    alone = equivalence(changes(100, 0, 0), np.zeros(100, np.int64), 0.5)
    assert (alone.verdict, alone.interval, alone.needed, alone.clusters) == ("not known", None, None, 1)


def test_clusters_widen_it() -> None:
    values = np.repeat(changes(60, 2, 2), 10)
    assert equivalence(values, np.arange(600), 0.04).verdict == "equivalent"
    assert equivalence(values, np.repeat(np.arange(60), 10), 0.04).verdict == "not known"


def test_a_difference_of_the_margin_is_rarely_called_equivalent() -> None:
    """At a true difference of the margin, the verdict "equivalent" is wrong: at most 5 % of the time."""
    random = np.random.default_rng(5)
    draws, n, margin = 400, 300, 0.06
    wrong = 0
    for _ in range(draws):
        kinds = random.random(n)
        values = np.where(kinds < 0.10, 1.0, np.where(kinds < 0.14, -1.0, 0.0))  # 0.06 on average
        wrong += equivalence(values, np.arange(n), margin).verdict == "equivalent"
    assert wrong / draws <= 0.05 + 2 * (0.05 * 0.95 / draws) ** 0.5
