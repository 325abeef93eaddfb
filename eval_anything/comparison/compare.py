"""Compares two runs: every metric, paired by sample, with its change and the interval of the change.

    comparison = compare("runs/base", "runs/candidate")

Only metrics of the same tasks, judges and sampling are compared, on the samples that both runs have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from eval_anything.comparison.aggregates import AggregateChange, aggregate_changes
from eval_anything.comparison.corrected import corrected_changes, is_labelled
from eval_anything.comparison.equivalence import EquivalenceReport, check_margin, equivalence_of
from eval_anything.comparison.pairs import PairedSample, mean_of, pair
from eval_anything.comparison.sides import Side, read_side, refused_metrics, samples_of
from eval_anything.errors import UserError
from eval_anything.runs.labels_file import NotCorrectedError
from eval_anything.runs.results_file import JudgeResult, MetricResult
from eval_anything.statistics.agreement import attenuated_effect
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
    judge shrink every difference; None elsewhere. `corrected` is the change corrected by labels of both
    runs; `not_corrected` says why there is none although one of them has labels.
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
    corrected: Paired | None = None
    not_corrected: str = ""

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


class Comparison(Struct, frozen=True):
    """Comparison of two runs on the same tasks.

    `refused` has the reason why a metric (`task:metric`) or an aggregate cannot be compared.
    `p_holm` holds the adjusted p of each task's primary metric (family-wise error rate), `p_bh` that of
    every metric (false discovery rate), both by `task:metric`. `equivalence` has the verdicts that were
    asked for.
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
    equivalence: EquivalenceReport | None = None


def compare(
    base: str | Path,
    candidate: str | Path,
    corrected: bool = False,
    equivalence: float | None = None,
) -> Comparison:
    """Compares two run directories.

    Args:
        base: the run directory to compare with.
        candidate: the run directory whose changes are reported.
        corrected: whether `p_holm` and `p_bh` are of corrected changes, where labels correct a metric.
        equivalence: a margin, as a share of the range of a metric: are the runs equal within it?

    Raises:
        UserError: a run is unfinished, the runs have no metric in common that can be compared, or none
            that labels correct although that is asked for, or the margin is none.
    """
    if equivalence is not None:
        check_margin(equivalence)
    if equivalence is not None and corrected:
        raise UserError(
            "--equivalence is of the scores as they are: leave out --corrected, or compare twice"
        )
    return compare_sides(read_side(Path(base)), read_side(Path(candidate)), corrected, equivalence)


def compare_sides(
    base: Side, candidate: Side, corrected: bool = False, equivalence: float | None = None
) -> Comparison:
    """Compares two runs that have been read; otherwise like `compare`."""
    tasks = [task for task in base.file.tasks if task in candidate.file.tasks]
    if not tasks:
        raise UserError(
            f"{base.path} and {candidate.path} have no task in common "
            f"({', '.join(base.file.tasks)}; {', '.join(candidate.file.tasks)})"
        )
    refused = refused_metrics(base, candidate, tasks)
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
    aggregates = aggregate_changes(base, candidate, tasks, refused)
    if corrected and all(metric.corrected is None for metric in metrics):
        uncorrected = "; ".join(f"{m.name}: {m.not_corrected}" for m in metrics if m.not_corrected)
        raise UserError(
            f"no metric can be corrected: {uncorrected or 'no run has labels'}. "
            "`eval-anything judges correct` gives runs their labels"
        )
    p_values = {m.name: _decisive(m, corrected).p for m in metrics}
    tested = [m for m in metrics if p_values[m.name] is not None]
    primary = [m for m in tested if m.primary]
    return Comparison(
        base=str(base.path),
        candidate=str(candidate.path),
        tasks=tasks,
        only_base=[t for t in base.file.tasks if t not in tasks],
        only_candidate=[t for t in candidate.file.tasks if t not in tasks],
        metrics=metrics,
        groups=groups,
        aggregates=aggregates,
        p_holm=_adjusted(primary, p_values, holm),
        p_bh=_adjusted(tested, p_values, benjamini_hochberg),
        judges=candidate.results.judges,
        notes=_notes(base, candidate, metrics, refused),
        refused=refused,
        equivalence=None
        if equivalence is None
        else equivalence_of(
            base,
            candidate,
            equivalence,
            [(m.task, m.metric) for m in metrics if m.primary and not m.invalid],
        ),
    )


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
        base=mean_of([row.base for row in rows]),
        candidate=mean_of([row.candidate for row in rows]),
        change=change,
        mde=_true_mde(change, metric_result, high - low),
        unpaired=unpaired,
        losses=losses,
        gains=len(changed) - losses,
        flips=[Flip(row.sample_id, row.base, row.candidate) for row in (*worst, *best)],
        invalid="; ".join(invalid),
        **_corrected(task, name, rows, base, candidate),
    )


def _corrected(
    task: str, name: str, rows: Sequence[PairedSample], base: Side, candidate: Side
) -> dict[str, Any]:
    """Fields of a change about its correction; {} where neither run has labels."""
    if not is_labelled(task, name, base, candidate):
        return {}
    score = next(o.scores[name] for o in candidate.outlines[task] if name in o.scores)
    up = 1.0 if score.better == "higher" else -1.0
    try:
        changes = corrected_changes(task, name, rows, base, candidate)
    except NotCorrectedError as error:
        return {"not_corrected": str(error)}
    clusters = [row.cluster for row in rows]
    width = score.range[1] - score.range[0]
    return {"corrected": paired(up * changes.values, clusters, width, symmetric=False)}


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
            base=mean_of([row.base for row in group_rows]),
            candidate=mean_of([row.candidate for row in group_rows]),
            change=_paired(group_rows, up, score.range[1] - score.range[0]),
        )
        for (key, group), group_rows in sorted(members.items())
    ]


def _decisive(change: MetricChange, corrected: bool) -> Paired:
    return change.corrected if corrected and change.corrected is not None else change.change


def _adjusted(
    metrics: Sequence[MetricChange], p_values: Mapping[str, float | None], adjust: Any
) -> dict[str, float]:
    names = [metric.name for metric in metrics]
    return dict(zip(names, adjust([p_values[name] for name in names]), strict=True))


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
