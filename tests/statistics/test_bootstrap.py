"""The cluster bootstrap that intervals of aggregates, ranks, comparisons and agreement share."""

from __future__ import annotations

import numpy as np
import pytest

from eval_anything.statistics.bootstrap import ClusterBootstrap, cluster_counts


def test_draws_do_not_depend_on_how_many_are_made_at_once() -> None:
    together = np.concatenate(list(cluster_counts(7, 50, seed=3, at_once=50)))
    assert together.shape == (50, 7)
    assert (together.sum(axis=1) == 7).all()
    assert (np.concatenate(list(cluster_counts(7, 50, seed=3, at_once=8))) == together).all()
    assert (np.concatenate(list(cluster_counts(7, 50, seed=4, at_once=50))) != together).any()


def test_clusters_come_or_stay_away_as_a_whole() -> None:
    bootstrap = ClusterBootstrap(["b", "a", "a"], draws=200, observed=True)
    means = bootstrap.means(*bootstrap.totals([1.0, 0.0, 0.5], ["b", "a", "a"]))
    assert means[0] == pytest.approx(0.5)
    assert set(means[1:]) == {0.25, 0.5, 1.0}, "two of a, one of each, two of b"


def test_a_draw_without_any_value_has_no_mean() -> None:
    bootstrap = ClusterBootstrap(["a", "b"], draws=200)
    means = bootstrap.means(*bootstrap.totals([2.0], ["a"]))
    assert set(means[~np.isnan(means)]) == {2.0}
    assert np.isnan(means).any()
    assert np.isnan(ClusterBootstrap([]).means(np.zeros(1), np.zeros(1))).all()
    assert bootstrap.totals([], [])[0].tolist() == [0.0, 0.0]
