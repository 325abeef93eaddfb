"""Compares two runs: every metric, paired by sample, with its change and the interval of the change.

    comparison = compare("runs/base", "runs/candidate")

Only metrics of the same tasks, judges and sampling are compared, on the samples that both runs have.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from msgspec import Struct

from eval_anything import plugins
from eval_anything.content import Modality
from eval_anything.errors import UserError
from eval_anything.runs.comparable import conditions, unlike
from eval_anything.runs.directory import Outline, RunFile, read_outlines, read_run_file
from eval_anything.runs.results_file import JudgeResult, MetricResult, Results, read_results
from eval_anything.statistics.agreement import attenuated_effect
from eval_anything.statistics.bootstrap import ClusterBootstrap, unseen_draws
from eval_anything.statistics.intervals import Floats
from eval_anything.statistics.paired import Paired, benjamini_hochberg, holm, paired

_MOST_FLIPS = 20


class Flip(Struct, frozen=True):
    """A sample whose value changed: its id, and the mean over repeats in base and candidate."""

    sample_id: str
    base: float
    candidate: float


class MetricChange(Struct, frozen=True, kw_only=True):
    """One metric of one task, over the samples that have a value in both runs.

    `base` and `candidate` are means in the metric's own units; `change` is positive if the candidate is
    better, whatever `better` says. `unpaired` counts samples with a value in one run alone. `losses` and
    `gains` count the samples that changed, `flips` are the largest of these changes, losses first.
    `invalid` is the reason why a run's own number is INVALID, or "". `mde` is the minimum detectable
    effect of the true values where the accuracy of the metric's judge is known, since the errors of a
    judge shrink every difference; None elsewhere.
    """

    task: str
    metric: str
    primary: bool
    better: Literal["higher", "lower"]
    range: tuple[float, float]
    judge: str
    base: float
    candidate: float
    change: Paired
    mde: float | None
    unpaired: int
    losses: int
    gains: int
    flips: list[Flip]
    invalid: str = ""

    @property
    def name(self) -> str:
        """`task:metric`."""
        return f"{self.task}:{self.metric}"


class GroupChange(Struct, frozen=True):
    """The primary metric over the samples of one group, such as one combination of modalities."""

    task: str
    key: str
    group: str
    base: float
    candidate: float
    change: Paired


class AggregateChange(Struct, frozen=True):
    """An aggregate such as AMG: a paired bootstrap over clusters (2,000 draws, fixed seed)."""

    name: str
    base: float
    candidate: float
    difference: float
    ci95: tuple[float, float]


class Comparison(Struct, frozen=True):
    """Comparison of two runs on the same tasks.

    `refused` has the reason why a metric (`task:metric`) or an aggregate cannot be compared.
    `p_holm` holds the adjusted p of each task's primary metric (family-wise error rate), `p_bh` that of
    every metric (false discovery rate), both by `task:metric`.
    """

    base: str
    candidate: str
    tasks: list[str]
    only_base: list[str]
    only_candidate: list[str]
    metrics: list[MetricChange]
    groups: list[GroupChange]
    aggregates: list[AggregateChange]
    p_holm: dict[str, float]
    p_bh: dict[str, float]
    judges: dict[str, JudgeResult]
    notes: list[str]
    refused: dict[str, str] = {}


class Side(NamedTuple):
    """A finished run with the outlines of its records by task."""

    path: Path
    file: RunFile
    results: Results
    outlines: dict[str, list[Outline]]


def compare(base: str | Path, candidate: str | Path) -> Comparison:
    """Compares two run directories.

    Args:
        base: the run directory to compare with.
        candidate: the run directory whose changes are reported.

    Raises:
        UserError: a run is unfinished, or the runs have no metric in common that can be compared.
    """
    return compare_sides(read_side(Path(base)), read_side(Path(candidate)))


def read_side(run: Path) -> Side:
    """Reads a finished run. UserError if it is unfinished or damaged."""
    file = read_run_file(run)
    if file.status != "done":
        raise UserError(
            f"{run} is not finished (status: {file.status}). Go on with it: "
            f"{shlex.join(file.command) or 'the command that began it'}"
        )
    results = read_results(run, file.tasks)
    return Side(run, file, results, {task: read_outlines(run, task) for task in file.tasks})


def compare_sides(base: Side, candidate: Side) -> Comparison:
    """Compares two runs that have been read; otherwise like `compare`."""
    tasks = [task for task in base.file.tasks if task in candidate.file.tasks]
    if not tasks:
        raise UserError(
            f"{base.path} and {candidate.path} have no task in common "
            f"({', '.join(base.file.tasks)}; {', '.join(candidate.file.tasks)})"
        )
    refused = _refused(base, candidate, tasks)
    metrics: list[MetricChange] = []
    groups: list[GroupChange] = []
    for task in tasks:
        metrics += _metrics(task, base, candidate, refused)
        if f"{task}:{base.results.tasks[task].primary}" not in refused:
            groups += _groups(task, base, candidate)
    if refused and not metrics:
        reasons = _by_task(refused, metrics)
        differences = [f"{name} differs in {reason}" for name, reason in reasons.items()]
        raise UserError(
            f"{base.path} and {candidate.path} cannot be compared: {'; '.join(differences)}. "
            "Run both with the same version of the tasks, judges and sampling."
        )
    aggregates = _aggregates(base, candidate, tasks, refused)
    primary = [m for m in metrics if m.primary and m.change.p is not None]
    tested = [m for m in metrics if m.change.p is not None]
    return Comparison(
        base=str(base.path),
        candidate=str(candidate.path),
        tasks=tasks,
        only_base=[t for t in base.file.tasks if t not in tasks],
        only_candidate=[t for t in candidate.file.tasks if t not in tasks],
        metrics=metrics,
        groups=groups,
        aggregates=aggregates,
        p_holm=_adjusted(primary, holm),
        p_bh=_adjusted(tested, benjamini_hochberg),
        judges=candidate.results.judges,
        notes=_notes(base, candidate, metrics, refused),
        refused=refused,
    )


def refusal(base: Side, candidate: Side, task: str, metric: str) -> str:
    """The conditions in which two runs differ, so that a metric cannot be compared; "" if it can."""
    judges = [_judge_of(metric, side.outlines[task]) for side in (base, candidate)]
    first, second = (
        conditions(side.file, task, judge) for side, judge in zip((base, candidate), judges, strict=True)
    )
    return ", ".join(unlike(first, second))


def _judge_of(metric: str, outlines: Sequence[Outline]) -> str | None:
    """The judge of a metric, None if it is in no record."""
    return next((o.scores[metric].judge for o in outlines if metric in o.scores), None)


def _refused(base: Side, candidate: Side, tasks: Sequence[str]) -> dict[str, str]:
    """Metrics that both runs have and that cannot be compared, as `task:metric`, with the reasons."""
    refused = {}
    for task in tasks:
        for metric in _scored(base.outlines[task]) & _scored(candidate.outlines[task]):
            reason = refusal(base, candidate, task, metric)
            if reason:
                refused[f"{task}:{metric}"] = reason
    return dict(sorted(refused.items()))


def _scored(outlines: Sequence[Outline]) -> set[str]:
    """Metrics that have a value in a record."""
    return {name for o in outlines for name, score in o.scores.items() if score.value is not None}


def _by_task(refused: Mapping[str, str], metrics: Sequence[MetricChange]) -> dict[str, str]:
    """The reasons by task, where all metrics of a task are refused for the same one, else by metric."""
    compared = {metric.task for metric in metrics}
    reasons: dict[str, set[str]] = {}
    for name, reason in refused.items():
        reasons.setdefault(name.partition(":")[0], set()).add(reason)
    single = {
        task: next(iter(words))
        for task, words in reasons.items()
        if len(words) == 1 and task not in compared
    }
    metric_reasons = {
        name: reason for name, reason in refused.items() if name.partition(":")[0] not in single
    }
    return single | metric_reasons


class PairedSample(NamedTuple):
    """A sample with a value in both runs: means over repeats, its cluster, id and groups, and the
    modalities of its question and of the answer that it asks for (empty: neither record has them)."""

    base: float
    candidate: float
    cluster: str
    sample_id: str
    groups: Mapping[str, str]
    inputs: tuple[Modality, ...] = ()
    outputs: tuple[Modality, ...] = ()


def _metrics(task: str, base: Side, candidate: Side, refused: Mapping[str, str]) -> list[MetricChange]:
    """Changes of all metrics with scores in both runs, but those that cannot be compared."""
    primary = base.results.tasks[task].primary
    names = dict.fromkeys(
        name for outline in (*base.outlines[task], *candidate.outlines[task]) for name in outline.scores
    )
    changes = []
    comparable = [name for name in names if f"{task}:{name}" not in refused]
    for name in sorted(comparable, key=lambda n: n != primary):
        rows, unpaired = pair(base.outlines[task], candidate.outlines[task], name)
        if rows:
            change = _change(task, name, name == primary, rows, unpaired, base, candidate)
            changes.append(change)
    return changes


def _change(
    task: str,
    name: str,
    primary: bool,
    rows: Sequence[PairedSample],
    unpaired: int,
    base: Side,
    candidate: Side,
) -> MetricChange:
    score = next(o.scores[name] for o in candidate.outlines[task] if name in o.scores)
    invalid = [
        f"{side.path}: {metric.invalid}"
        for side in (base, candidate)
        if (metric := side.results.tasks[task].metrics.get(name)) is not None and metric.invalid
    ]
    up = 1.0 if score.better == "higher" else -1.0
    changed = [row for row in rows if row.base != row.candidate]
    changed.sort(key=lambda row: (up * (row.candidate - row.base), row.sample_id))
    losses = sum(up * (row.candidate - row.base) < 0 for row in changed)
    low, high = score.range
    change = _paired(rows, up, high - low)
    metric_result = candidate.results.tasks[task].metrics.get(name)
    worst = changed[: min(losses, _MOST_FLIPS)]
    best = changed[losses:][-_MOST_FLIPS:][::-1]
    return MetricChange(
        task=task,
        metric=name,
        primary=primary,
        better=score.better,
        range=score.range,
        judge=score.judge,
        base=_mean([row.base for row in rows]),
        candidate=_mean([row.candidate for row in rows]),
        change=change,
        mde=_true_mde(change, metric_result, high - low),
        unpaired=unpaired,
        losses=losses,
        gains=len(changed) - losses,
        flips=[Flip(row.sample_id, row.base, row.candidate) for row in (*worst, *best)],
        invalid="; ".join(invalid),
    )


def _paired(rows: Sequence[PairedSample], up: float, largest: float) -> Paired:
    return paired(
        [up * (row.candidate - row.base) for row in rows], [row.cluster for row in rows], largest
    )


def _true_mde(change: Paired, metric_result: MetricResult | None, largest: float) -> float | None:
    quality = metric_result.calibration if metric_result is not None else None
    if not quality or quality.figure != "accuracy" or not change.stderr:
        return None
    effect = attenuated_effect(change.stderr, quality.value)
    return effect if effect <= largest else None


def pair(
    base: Sequence[Outline], candidate: Sequence[Outline], metric: str
) -> tuple[list[PairedSample], int]:
    """Samples with a value of the metric in both runs, and the number of those with one in one run."""
    base_values, candidate_values = by_sample(base, metric), by_sample(candidate, metric)
    rows = []
    for key, (values, outline) in base_values.items():
        if key in candidate_values:
            other_values, other = candidate_values[key]
            newer = outline if outline.inputs else other  # an older version did not record modalities
            about = outline.source_id, outline.sample_id, outline.groups
            rows.append(
                PairedSample(_mean(values), _mean(other_values), *about, newer.inputs, newer.outputs)
            )
    return rows, len(base_values) + len(candidate_values) - 2 * len(rows)


def by_sample(
    outlines: Sequence[Outline], metric: str
) -> dict[tuple[str, str], tuple[list[float], Outline]]:
    """Values over repeats by (sample id, item): a sample whose item has changed is another one."""
    scored: dict[tuple[str, str], tuple[list[float], Outline]] = {}
    for outline in outlines:
        score = outline.scores.get(metric)
        if score is not None and score.value is not None:
            scored.setdefault((outline.sample_id, outline.item), ([], outline))[0].append(score.value)
    return scored


def _groups(task: str, base: Side, candidate: Side) -> list[GroupChange]:
    """Changes of the primary metric in the groups of each key that the task groups by."""
    primary = base.results.tasks[task].primary
    rows, _ = pair(base.outlines[task], candidate.outlines[task], primary)
    if not rows:
        return []
    score = next(o.scores[primary] for o in candidate.outlines[task] if primary in o.scores)
    up = 1.0 if score.better == "higher" else -1.0
    members: dict[tuple[str, str], list[PairedSample]] = {}
    for row in rows:
        for key, group in row.groups.items():
            members.setdefault((key, group), []).append(row)
    return [
        GroupChange(
            task=task,
            key=key,
            group=group,
            base=_mean([row.base for row in group_rows]),
            candidate=_mean([row.candidate for row in group_rows]),
            change=_paired(group_rows, up, score.range[1] - score.range[0]),
        )
        for (key, group), group_rows in sorted(members.items())
    ]


def _aggregates(
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
        values = [_mean(values) for values, _ in scored]
        means = self._bootstrap.means(*self._bootstrap.totals(values, clusters))
        return np.where(np.isnan(means), means[0], means)


def _adjusted(metrics: Sequence[MetricChange], correct: Any) -> dict[str, float]:
    p_values = [m.change.p for m in metrics]
    return dict(zip([m.name for m in metrics], correct(p_values), strict=True))


def samples_of(outlines: Sequence[Outline]) -> set[tuple[str, str]]:
    """The samples with a record, as (sample id, item)."""
    return {(outline.sample_id, outline.item) for outline in outlines}


def _notes(
    base: Side, candidate: Side, metrics: Sequence[MetricChange], refused: Mapping[str, str]
) -> list[str]:
    reasons = _by_task(refused, metrics)
    notes = [f"not compared: {name}, other {reason}" for name, reason in reasons.items()]
    if base.file.weights == candidate.file.weights:
        notes.append("both runs are of the same weights")
    alone = {}
    for task in dict.fromkeys(m.task for m in metrics):
        first, second = samples_of(base.outlines[task]), samples_of(candidate.outlines[task])
        alone[task] = len(first ^ second)
        if alone[task]:
            notes.append(
                f"{task}: compared on the {len(first & second)} samples that both runs have "
                f"({len(first)} in {base.path}, {len(second)} in {candidate.path})"
            )
    unpaired = [
        f"{m.name} ({m.unpaired - alone[m.task]})"
        for m in metrics
        if m.primary and m.unpaired > alone[m.task]
    ]
    if unpaired:
        notes.append(f"samples with a value in one run alone are left out: {', '.join(unpaired)}")
    return notes


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
