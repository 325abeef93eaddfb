"""From records to numbers: every metric of every task with its interval, and the aggregates.

The records are the truth; this can be done again at any time, as long as the task is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from eval_anything import plugins
from eval_anything.content import Metric, Score
from eval_anything.errors import UserError, near
from eval_anything.judges.assemble import TaskScorers
from eval_anything.judges.canaries import is_rewarded
from eval_anything.runs.directory import Outline
from eval_anything.runs.results_file import AggregateResult, MetricResult, TaskResult
from eval_anything.statistics.bootstrap import ClusterBootstrap
from eval_anything.statistics.intervals import mean_interval
from eval_anything.tasks.registry import Aggregate, Suite
from eval_anything.tasks.task import Task

# Above this share of unscored samples a judged metric says nothing: it is INVALID.
MAX_UNSCORED = 0.02


_DRAWS_AT_ONCE = 100  # of a task's clusters, so that a large task takes little memory


class Value(NamedTuple):
    """One sample's mean score over its repeats (None: unscored), its cluster, whether it failed."""

    value: float | None
    cluster: str
    failed: bool


class ScoredTask(NamedTuple):
    """One task's numbers, and by metric the values that aggregates draw anew."""

    result: TaskResult
    values: dict[str, list[Value]]


def score_task(
    task: Task, scorers: TaskScorers, records: Sequence[Outline], canaries: Sequence[Outline] = ()
) -> ScoredTask:
    """All metrics of a task, whole and by group. A judge that rewards a canary is not believed."""
    records = _in_task_order(task, records)
    scored = [(record, dict(record.scores)) for record in records]
    if scorers.controls is not None:
        try:
            given = scorers.controls([(task.by_id[r.sample_id], scores) for r, scores in scored])
            for (_, scores), more in zip(scored, given, strict=True):
                scores.update(more)
        except Exception as error:
            raise UserError(
                f"{task.name}: its controls, {task.file.controls}, failed: "
                f"{type(error).__name__}: {error}"
            ) from error
    metrics = scorers.metrics
    unavailable = {m for s in scorers.scorers if not s.available for m in s.metrics}
    values = {name: _values(name, scored) for name in metrics}
    primary = task.file.primary
    values = {name: found for name, found in values.items() if found or name == primary}
    summaries = {
        name: _summary(found, metrics[name], name not in unavailable) for name, found in values.items()
    }
    if records and not values[primary]:
        summaries[primary] = replace(summaries[primary], invalid="it applies to no sample of the task")
    for name, canary in _rewarded(canaries, metrics).items():
        if name in summaries:
            reason = f"its judge rewards the canary {canary!r}"
            summaries[name] = replace(
                summaries[name], value=None, stderr=None, ci95=None, invalid=reason
            )
    result = TaskResult(
        primary=primary,
        metrics=summaries,
        groups=_groups(task, scored, metrics) or UNSET,
        samples=len({r.sample_id for r in records}),
        failed=len({r.sample_id for r in records if r.error is not None}),
    )
    return ScoredTask(result, values)


def _rewarded(canaries: Sequence[Outline], metrics: Mapping[str, Metric]) -> dict[str, str]:
    """The metrics whose judge gives more than half of the range to a canary, and which one it is."""
    return {
        name: record.sample_id.partition(":")[0]
        for record in canaries
        for name, score in record.scores.items()
        if name in metrics and is_rewarded(score, metrics[name])
    }


def _in_task_order(task: Task, records: Sequence[Outline]) -> list[Outline]:
    """Records are written as they finish; sums and controls must not depend on that."""
    place = {sample.id: i for i, sample in enumerate(task.samples)}
    known = (record for record in records if record.sample_id in place)
    return sorted(known, key=lambda record: (place[record.sample_id], record.repeat))


def _values(name: str, scored: Sequence[tuple[Outline, Mapping[str, Score]]]) -> list[Value]:
    """One value a sample: the mean over its repeats, unscored if no repeat has a value."""
    by_sample: dict[str, list[tuple[Outline, Score]]] = {}
    for record, scores in scored:
        if name in scores:
            by_sample.setdefault(record.sample_id, []).append((record, scores[name]))
    values = []
    for pairs in by_sample.values():
        numbers = [score.value for _, score in pairs if score.value is not None]
        mean = sum(numbers) / len(numbers) if numbers else None
        failed = any(record.error is not None for record, _ in pairs)
        values.append(Value(mean, pairs[0][0].source_id, failed))
    return values


def _summary(values: Sequence[Value], metric: Metric, judged: bool) -> MetricResult:
    """One metric; invalid if its judge left too many samples unscored."""
    numbers = [(v.value, v.cluster) for v in values if v.value is not None]
    unscored = len(values) - len(numbers)
    summary = MetricResult(
        value=None,
        stderr=None,
        ci95=None,
        n=len(values),
        failed=sum(v.failed for v in values),
        unscored=unscored,
        better=metric.better,
        range=metric.range,
    )
    if judged and unscored > MAX_UNSCORED * len(values):
        return replace(summary, invalid=f"{unscored} of {len(values)} samples are unscored")
    if not numbers:
        return summary
    estimate = mean_interval([n for n, _ in numbers], [c for _, c in numbers], metric.range)
    ci95 = (estimate.low, estimate.high)
    return replace(summary, value=estimate.value, stderr=estimate.stderr, ci95=ci95)


def _groups(
    task: Task,
    scored: Sequence[tuple[Outline, Mapping[str, Score]]],
    metrics: Mapping[str, Metric],
) -> dict[str, dict[str, MetricResult]]:
    """The primary metric apart for each value of the metadata keys in `group_by`."""
    primary = task.file.primary
    groups: dict[str, dict[str, MetricResult]] = {}
    for key in task.file.group_by:
        members: dict[str, list[tuple[Outline, Mapping[str, Score]]]] = {}
        for record, scores in scored:
            value = task.groups(task.by_id[record.sample_id]).get(key)
            if value is not None:
                members.setdefault(value, []).append((record, scores))
        for value in sorted(members):
            values = _values(primary, members[value])
            if values:
                groups.setdefault(key, {})[value] = _summary(values, metrics[primary], judged=False)
    return groups


def aggregates(suite: Suite, tasks: Mapping[str, ScoredTask]) -> dict[str, AggregateResult]:
    """The suite's aggregates of which all tasks were run, each with an interval from a bootstrap over
    clusters.

    Every task's clusters are drawn anew as a whole, so that metrics of one task keep their
    correlation (Efron's percentile interval, 2,000 draws, fixed seed).
    """
    wanted = _computable(suite, tasks)
    if not wanted:
        return {}
    points: dict[str, float] = {}
    draws: dict[str, Any] = {}
    found: dict[str, AggregateResult] = {}
    resampled = {task: _Resampled(tasks[task], i) for i, task in enumerate(suite.tasks) if task in tasks}
    for name, aggregate in wanted.items():
        undefined = AggregateResult(
            value=None,
            ci95=None,
            formula=aggregate.formula,
            inputs={key: _full(suite, ref) for key, ref in aggregate.inputs.items()},
        )
        inputs = {
            key: _input(suite, name, ref, resampled, points, draws)
            for key, ref in aggregate.inputs.items()
        }
        defined = {key: value for key, value in inputs.items() if value is not None}
        if len(defined) < len(inputs):
            found[name] = undefined
            continue
        formula = plugins.load(plugins.AGGREGATES, aggregate.formula)
        points[name] = float(formula({key: point for key, (point, _) in defined.items()}))
        draws[name] = formula({key: draw for key, (_, draw) in defined.items()})
        low, high = np.quantile(draws[name], [0.025, 0.975])
        stderr = float(np.std(draws[name], ddof=1))
        found[name] = replace(
            undefined, value=points[name], stderr=stderr, ci95=(float(low), float(high))
        )
    return found


def _computable(suite: Suite, tasks: Mapping[str, ScoredTask]) -> dict[str, Aggregate]:
    """The aggregates that do not lack a task of the suite; unknown names are left for later to say."""
    missing = {task for task in suite.tasks if task not in tasks}
    found: dict[str, Aggregate] = {}
    for name, aggregate in suite.aggregates.items():
        sources = {_full(suite, reference.partition(":")[0]) for reference in aggregate.inputs.values()}
        if sources & missing:
            missing.add(_full(suite, name))
        else:
            found[name] = aggregate
    return found


def _full(suite: Suite, reference: str) -> str:
    """An aggregate's input with the name of its suite: `suite/task:metric`, or `suite/aggregate`."""
    return reference if "/" in reference else f"{suite.name}/{reference}"


class _Resampled:
    """Means of a task's metrics over draws of its clusters; the same draws for every metric."""

    def __init__(self, task: ScoredTask, seed: int) -> None:
        self._task = task
        clusters = (v.cluster for values in task.values.values() for v in values)
        self._bootstrap = ClusterBootstrap(clusters, seed=seed, at_once=_DRAWS_AT_ONCE)

    def metric(self, name: str) -> tuple[float, Any] | None:
        """(mean, means of the draws (2000,)), None if the metric has no value."""
        summary = self._task.result.metrics.get(name)
        if summary is None or summary.value is None:
            return None
        scored = [(v.value, v.cluster) for v in self._task.values[name] if v.value is not None]
        totals = self._bootstrap.totals([v for v, _ in scored], [cluster for _, cluster in scored])
        means = self._bootstrap.means(*totals)
        return summary.value, np.where(np.isnan(means), summary.value, means)


def _input(
    suite: Suite,
    aggregate: str,
    reference: str,
    resampled: Mapping[str, _Resampled],
    points: Mapping[str, float],
    draws: Mapping[str, Any],
) -> tuple[float, Any] | None:
    """An aggregate's input: `task:metric`, or the name of an aggregate before it."""
    task, colon, metric = reference.partition(":")
    if not colon:
        if task in suite.aggregates:
            return (points[task], draws[task]) if task in points else None
        known = list(suite.aggregates)
        raise UserError(f"suite {suite.name}: {aggregate} wants {task!r}.{near(task, known)}")
    full = _full(suite, task)
    if full not in resampled:
        raise UserError(
            f"suite {suite.name}: {aggregate} wants the task {full!r}, which the suite does not "
            f"have.{near(full, resampled)}"
        )
    return resampled[full].metric(metric)


def invalid_metrics(tasks: Mapping[str, TaskResult]) -> list[tuple[str, str]]:
    """Metrics that say nothing, and why: their judge failed too often, or nothing was scored."""
    return [
        (f"{task}:{name}", metric.invalid)
        for task, result in tasks.items()
        for name, metric in result.metrics.items()
        if metric.invalid is not UNSET
    ]
