"""Results from records: every metric of every task with its interval, and the aggregates.

Results depend on nothing but the records and the task, so they can be computed again at any time.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from eval_anything import plugins
from eval_anything.content import Metric, Score
from eval_anything.errors import UserError, near
from eval_anything.files.code import raised_at
from eval_anything.judges.assemble import TaskScorers
from eval_anything.judges.canaries import is_rewarded
from eval_anything.runs.directory import Outline
from eval_anything.runs.results_file import (
    AggregateResult,
    Figure,
    MetricResult,
    RepeatsResult,
    TaskResult,
)
from eval_anything.statistics.bootstrap import ClusterBootstrap, unseen_draws
from eval_anything.statistics.intervals import mean_interval
from eval_anything.statistics.repeats import RepeatedScores
from eval_anything.tasks.registry import Aggregate, Suite
from eval_anything.tasks.task import Task

# A judged metric with a larger share of unscored samples than this is INVALID.
MAX_UNSCORED = 0.02


_DRAWS_AT_ONCE = 100  # of a task's clusters, so that a large task takes little memory


class Value(NamedTuple):
    """Mean score of a sample over its repeats (None: unscored or skipped), its cluster, and whether it
    failed or was skipped."""

    value: float | None
    cluster: str
    failed: bool
    skipped: bool = False


class Values(Collection[Value]):
    """The values of one metric, one for each sample that it applies to, in the order of the task."""

    def __init__(self) -> None:
        self._numbers = array("d")
        self._clusters: list[str] = []
        self._flags = bytearray()

    def add(self, value: Value) -> None:
        """Adds the value of the next sample."""
        self._numbers.append(math.nan if value.value is None else value.value)
        self._clusters.append(value.cluster)
        self._flags.append(value.failed + 2 * value.skipped)

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Value]:
        for number, cluster, flags in zip(self._numbers, self._clusters, self._flags, strict=True):
            yield Value(None if math.isnan(number) else number, cluster, bool(flags & 1), flags > 1)

    def __contains__(self, value: object) -> bool:
        return any(value == other for other in self)


class ScoredTask(NamedTuple):
    """Results of a task, the values of its samples by metric, which aggregates resample, and the places
    in the task of those samples that have a value of its primary metric."""

    result: TaskResult
    values: Mapping[str, Collection[Value]]
    primary: Sequence[int] = ()

    @property
    def grades(self) -> dict[str, Iterable[float]]:
        """The values by metric of samples that the model answered and a judge scored."""
        return {
            name: (v.value for v in samples if v.value is not None and not (v.failed or v.skipped))
            for name, samples in self.values.items()
        }


_Scored = tuple[Outline, Mapping[str, Score]]
"""A record and its scores, with those of controls."""


def score_task(
    task: Task, scorers: TaskScorers, records: Iterable[Outline], canaries: Iterable[Outline] = ()
) -> ScoredTask:
    """Results of a task: all metrics over its samples, and the primary one for each group.

    Args:
        task: the task.
        scorers: its scorers, and its controls, which are applied here.
        records: records of its samples, in the order of the task, on which sums and controls depend.
        canaries: records of the canaries. A metric whose judge rewards one of them is INVALID.

    Raises:
        UserError: if the code of the controls fails.
    """
    metrics = scorers.metrics
    primary = task.file.primary
    columns = _Columns(task, metrics)
    for sample_id, answers in groupby(_with_controls(task, scorers, records), lambda s: s[0].sample_id):
        columns.add(sample_id, list(answers))
    unavailable = {m for s in scorers.scorers if not s.available for m in s.metrics}
    values = {name: samples for name, samples in columns.values.items() if samples or name == primary}
    summaries = {
        name: _summary(samples, metrics[name], name not in unavailable)
        for name, samples in values.items()
    }
    if columns.samples and not values[primary]:
        summaries[primary] = replace(summaries[primary], invalid="it applies to no sample of the task")
    for name, canary in _rewarded(canaries, metrics).items():
        if name in summaries:
            reason = f"its judge rewards the canary {canary!r}"
            summaries[name] = replace(
                summaries[name], value=None, stderr=None, ci95=None, invalid=reason
            )
    task_result = TaskResult(
        title=task.file.title or UNSET,
        description=task.file.description or UNSET,
        primary=primary,
        metrics={
            name: replace(
                summary,
                description=metrics[name].description or UNSET,
                repeats=UNSET if summary.value is None else columns.repeats(name),
            )
            for name, summary in summaries.items()
        },
        groups=columns.groups(metrics[primary]) or UNSET,
        samples=columns.samples,
        failed=columns.failed,
        skipped=columns.skipped,
    )
    return ScoredTask(task_result, values, columns.primary)


def _with_controls(task: Task, scorers: TaskScorers, records: Iterable[Outline]) -> Iterable[_Scored]:
    """The records with their scores. Controls need all of them at once."""
    if scorers.controls is None:
        return ((record, record.scores) for record in records)
    scored = [(record, dict(record.scores)) for record in records]
    try:
        controls = scorers.controls([(task.by_id[r.sample_id], scores) for r, scores in scored])
        for (_, scores), control in zip(scored, controls, strict=True):
            scores.update(control)
    except Exception as error:
        raise UserError(
            f"{task.name}: its controls, {task.file.controls}, failed: "
            f"{type(error).__name__}: {error} ({raised_at(error, task.folder.path)})"
        ) from error
    return scored


class _Columns:
    """The values of all metrics of a task, sample by sample, and counts of its samples."""

    def __init__(self, task: Task, metrics: Mapping[str, Metric]) -> None:
        self._task = task
        self._groups: dict[str, dict[str, Values]] = {key: {} for key in task.file.group_by}
        self.values = {name: Values() for name in metrics}
        self._answers = {
            name: RepeatedScores(metric.range, metric.range[metric.better == "higher"])
            for name, metric in metrics.items()
        }
        self.primary = array("q")
        self.samples = self.failed = self.skipped = 0

    def add(self, sample_id: str, answers: Sequence[_Scored]) -> None:
        """Adds the answers to the next sample."""
        number = self._task.samples.numbers[sample_id]
        own_id = self._task.samples.ids[number]
        self.samples += 1
        self.failed += any(record.failed for record, _ in answers)
        self.skipped += any(record.skipped for record, _ in answers)
        for name, column in self.values.items():
            pairs = [(record, scores[name]) for record, scores in answers if name in scores]
            if not pairs:
                continue
            value = _value(pairs)
            if value.cluster == own_id:  # as it mostly is: one text is enough
                value = value._replace(cluster=own_id)
            column.add(value)
            if len(pairs) > 1:
                scores = [score.value for _, score in pairs if score.value is not None]
                self._answers[name].add(scores, value.cluster)
            if name == self._task.file.primary:
                self.primary.append(number)
                self._add_to_groups(sample_id, value)

    def repeats(self, name: str) -> RepeatsResult | UnsetType:
        """Variation of several answers to the samples of a metric."""
        variation = self._answers[name].variation()
        if variation is None:
            return UNSET
        passes = variation.passes
        return RepeatsResult(
            answers=variation.answers,
            within=Figure(*variation.within),
            between=Figure(*variation.between),
            consistency=Figure(*variation.consistency),
            passes=UNSET if passes is None else {str(j): Figure(*f) for j, f in passes.items()},
        )

    def _add_to_groups(self, sample_id: str, value: Value) -> None:
        if self._groups:
            for key, group in self._task.groups(self._task.by_id[sample_id]).items():
                self._groups[key].setdefault(group, Values()).add(value)

    def groups(self, metric: Metric) -> dict[str, dict[str, MetricResult]]:
        """Results of the primary metric by key of `group_by`, and by its value in the metadata."""
        return {
            key: {group: _summary(members[group], metric, judged=False) for group in sorted(members)}
            for key, members in self._groups.items()
            if members
        }


def _value(answers: Sequence[tuple[Outline, Score]]) -> Value:
    """The value of a metric for a sample: the mean over its answers, None if all are unscored."""
    numbers = [score.value for _, score in answers if score.value is not None]
    mean = sum(numbers) / len(numbers) if numbers else None
    failed = any(record.failed for record, _ in answers)
    skipped = mean is None and any(record.skipped for record, _ in answers)
    return Value(mean, answers[0][0].source_id, failed, skipped)


def _rewarded(canaries: Iterable[Outline], metrics: Mapping[str, Metric]) -> dict[str, str]:
    """Name of a canary that got more than half of the range, for each metric where this happened."""
    return {
        name: record.sample_id.partition(":")[0]
        for record in canaries
        for name, score in record.scores.items()
        if name in metrics and is_rewarded(score, metrics[name])
    }


def _summary(values: Collection[Value], metric: Metric, judged: bool) -> MetricResult:
    """Result of one metric; INVALID if `judged` and too many samples are unscored."""
    numbers = [v.value for v in values if v.value is not None]
    skipped = sum(v.skipped for v in values)
    unscored = len(values) - len(numbers) - skipped
    summary = MetricResult(
        value=None,
        stderr=None,
        ci95=None,
        n=len(values),
        failed=sum(v.failed for v in values),
        unscored=unscored,
        skipped=skipped,
        better=metric.better,
        range=metric.range,
    )
    if judged and unscored > MAX_UNSCORED * len(values):
        return replace(summary, invalid=f"{unscored} of {len(values)} samples are unscored")
    if not numbers:
        return summary
    clusters = [v.cluster for v in values if v.value is not None]
    estimate = mean_interval(numbers, clusters, metric.range)
    ci95 = (estimate.low, estimate.high)
    return replace(summary, value=estimate.value, stderr=estimate.stderr, ci95=ci95)


def aggregates(suite: Suite, tasks: Mapping[str, ScoredTask]) -> dict[str, AggregateResult]:
    """Aggregates of a suite whose tasks were all run, with intervals from a cluster bootstrap.

    The clusters of each task are resampled as a whole, so that metrics of one task keep their
    correlation (Efron's percentile interval, 2,000 draws, fixed seed). UserError if an aggregate refers
    to an unknown task.
    """
    computable = _computable(suite, tasks)
    if not computable:
        return {}
    points: dict[str, float] = {}
    draws: dict[str, Any] = {}
    combined: dict[str, AggregateResult] = {}
    resampled = {task: _Resampled(tasks[task], i) for i, task in enumerate(suite.tasks) if task in tasks}
    for name, aggregate in computable.items():
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
        defined = {key: point for key, point in inputs.items() if point is not None}
        if len(defined) < len(inputs):
            combined[name] = undefined
            continue
        formula = plugins.load(plugins.AGGREGATES, aggregate.formula)
        points[name] = float(formula({key: point for key, (point, _) in defined.items()}))
        draws[name] = formula({key: draw for key, (_, draw) in defined.items()})
        low, high = np.quantile(draws[name], [0.025, 0.975])
        stderr = float(np.std(draws[name], ddof=1))
        combined[name] = replace(
            undefined, value=points[name], stderr=stderr, ci95=(float(low), float(high))
        )
    return combined


def _computable(suite: Suite, tasks: Mapping[str, ScoredTask]) -> dict[str, Aggregate]:
    """Aggregates of which every task was run; references to unknown tasks are not checked here."""
    missing = {task for task in suite.tasks if task not in tasks}
    computable: dict[str, Aggregate] = {}
    for name, aggregate in suite.aggregates.items():
        sources = {_full(suite, reference.partition(":")[0]) for reference in aggregate.inputs.values()}
        if sources & missing:
            missing.add(_full(suite, name))
        else:
            computable[name] = aggregate
    return computable


def _full(suite: Suite, reference: str) -> str:
    """Reference of an aggregate's input with its suite: `suite/task:metric`, or `suite/aggregate`."""
    return reference if "/" in reference else f"{suite.name}/{reference}"


class _Resampled:
    """Bootstrap means of the metrics of a task, all over the same draws of its clusters."""

    def __init__(self, task: ScoredTask, seed: int) -> None:
        self._task = task
        clusters = (v.cluster for values in task.values.values() for v in values)
        self._bootstrap = ClusterBootstrap(clusters, seed=seed, at_once=_DRAWS_AT_ONCE)

    def metric(self, name: str) -> tuple[float, Any] | None:
        """Mean, and means of the draws (2000,); None if the metric has no value."""
        summary = self._task.result.metrics.get(name)
        if summary is None or summary.value is None:
            return None
        scored = [(v.value, v.cluster) for v in self._task.values[name] if v.value is not None]
        values, clusters = [v for v, _ in scored], [cluster for _, cluster in scored]
        if max(values) == min(values):
            size = len(values), len(set(clusters))
            return summary.value, unseen_draws(summary.value, summary.range, *size, name)
        means = self._bootstrap.means(*self._bootstrap.totals(values, clusters))
        return summary.value, np.where(np.isnan(means), summary.value, means)


def _input(
    suite: Suite,
    aggregate: str,
    reference: str,
    resampled: Mapping[str, _Resampled],
    points: Mapping[str, float],
    draws: Mapping[str, Any],
) -> tuple[float, Any] | None:
    """Mean and bootstrap means of an aggregate's input: `task:metric`, or an earlier aggregate."""
    task, colon, metric = reference.partition(":")
    if not colon:
        if task in suite.aggregates:
            return (points[task], draws[task]) if task in points else None
        names = list(suite.aggregates)
        raise UserError(f"suite {suite.name}: {aggregate} wants {task!r}.{near(task, names)}")
    full = _full(suite, task)
    if full not in resampled:
        raise UserError(
            f"suite {suite.name}: {aggregate} wants the task {full!r}, which the suite does not "
            f"have.{near(full, resampled)}"
        )
    return resampled[full].metric(metric)


def invalid_metrics(tasks: Mapping[str, TaskResult]) -> list[tuple[str, str]]:
    """Metrics that are INVALID, as `task:metric`, each with the reason."""
    return [
        (f"{task_name}:{metric_name}", metric.invalid)
        for task_name, task in tasks.items()
        for metric_name, metric in task.metrics.items()
        if metric.invalid is not UNSET
    ]
