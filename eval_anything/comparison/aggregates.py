"""Changes of aggregates, by a paired bootstrap over the clusters of both runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from eval_anything import plugins
from eval_anything.comparison.pairs import by_sample, mean_of, pair
from eval_anything.comparison.sides import Side, samples_of
from eval_anything.runs.directory import Outline
from eval_anything.statistics.bootstrap import ClusterBootstrap, unseen_draws
from eval_anything.statistics.intervals import Floats


class AggregateChange(Struct, frozen=True):
    """An aggregate such as AMG: a paired bootstrap over clusters (2,000 draws, fixed seed)."""

    name: str
    base: float
    candidate: float
    difference: float
    ci95: tuple[float, float]


def aggregate_changes(
    base: Side, candidate: Side, tasks: Sequence[str], refused: dict[str, str]
) -> list[AggregateChange]:
    """Changes of the aggregates whose tasks both runs have. The bootstrap draws the samples of a cluster
    in both runs together. Aggregates of metrics that are `refused` are added to these."""
    draws: dict[str, _Draws] = {}
    means_of: dict[str, Any] = {}
    changes = []
    for name, aggregate in base.results.aggregates.items():
        same_name = candidate.results.aggregates.get(name)
        formula = plugins.find(plugins.AGGREGATES, aggregate.formula or "")
        if formula is None or same_name is None or aggregate.formula != same_name.formula:
            continue
        differing = [refused[ref] for ref in aggregate.inputs.values() if ref in refused]
        if differing:
            refused[name] = differing[0]
            continue
        inputs: dict[str, Any] = {}
        for key, reference in aggregate.inputs.items():
            task, colon, metric = reference.partition(":")
            if colon and task in tasks:
                if task not in draws:
                    draws[task] = _Draws(task, tasks.index(task), base, candidate)
                means = draws[task].means(metric)
            else:
                means = means_of.get(reference)
            if means is not None:
                inputs[key] = means
        if len(inputs) < len(aggregate.inputs):
            continue
        base_means, candidate_means = (
            formula({key: means[side] for key, means in inputs.items()}) for side in (0, 1)
        )
        means_of[name] = base_means, candidate_means
        difference = candidate_means - base_means
        low, high = np.quantile(difference[1:], [0.025, 0.975])
        changes.append(
            AggregateChange(
                name,
                float(base_means[0]),
                float(candidate_means[0]),
                float(difference[0]),
                (float(low), float(high)),
            )
        )
    return changes


class _Draws:
    """Means of a task's metrics in both runs: the observed one, then 2,000 draws of its clusters.

    Only samples of both runs count. Of these, each run's mean is over its own scored ones: a metric of
    pairs of modalities applies only to responses that contain both, and these may differ.
    """

    def __init__(self, task: str, seed: int, base: Side, candidate: Side) -> None:
        shared = samples_of(base.outlines[task]) & samples_of(candidate.outlines[task])
        self._outlines = tuple(
            [o for o in side.outlines[task] if (o.sample_id, o.item) in shared]
            for side in (base, candidate)
        )
        clusters = (o.source_id for outlines in self._outlines for o in outlines)
        self._bootstrap = ClusterBootstrap(clusters, seed=seed, observed=True)

    def means(self, metric: str) -> tuple[Floats, Floats] | None:
        """Means of base and candidate, (1 + draws,) each; None if one of them has no value."""
        base, candidate = (self._run_means(outlines, metric) for outlines in self._outlines)
        if base is None or candidate is None:
            return None
        rows, unpaired = pair(self._outlines[0], self._outlines[1], metric)
        changes = {round(row.candidate - row.base, 12) for row in rows}
        if len(changes) == 1 and not unpaired:  # nothing differs, in any draw
            low, high = next(o.scores[metric].range for o in self._outlines[0] if metric in o.scores)
            clusters = len({row.cluster for row in rows})
            unseen = unseen_draws(changes.pop(), (low - high, high - low), len(rows), clusters, metric)
            candidate[1:] = np.clip(base[1:] + unseen, low, high)
        return base, candidate

    def _run_means(self, outlines: Sequence[Outline], metric: str) -> Floats | None:
        scored = by_sample(outlines, metric).values()
        if not scored:
            return None
        clusters = [outline.source_id for _, outline in scored]
        values = [mean_of(values) for values, _ in scored]
        means = self._bootstrap.means(*self._bootstrap.totals(values, clusters))
        return np.where(np.isnan(means), means[0], means)
