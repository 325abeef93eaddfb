"""Proofs that a policy requires: losses that must be shown not to be there, of tasks and of modalities.

A modality's samples are pooled over all tasks: those whose question has it ("image in"), and those whose
answer must have it ("image out"). A task that is critical is proven on its own whenever a policy has
`prove`: pooled over three tasks, the loss of one of them would pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from eval_anything.comparison.corrected import corrected_changes, is_labelled
from eval_anything.comparison.pairs import pair
from eval_anything.comparison.sides import Side, refusal
from eval_anything.content import MODALITIES, Modality
from eval_anything.errors import UserError
from eval_anything.gating.checks import Rule
from eval_anything.gating.decide import Requirement
from eval_anything.gating.policy import GatePolicy
from eval_anything.runs.labels_file import NotCorrectedError
from eval_anything.statistics.corrected import MIN_LABELS
from eval_anything.statistics.intervals import Floats, Ints, cluster_codes


class NothingPairedError(UserError):
    """A metric has no sample with a value in both runs, as far as they are."""


class TaskSample(NamedTuple):
    """A sample's change as a share of the range, up is good; with its task, its cluster, and the
    modalities of question and answer.

    `value` counts in its place where labels correct the metric (`comparison/corrected.py`), and `known`
    says whether this sample has a label; None without a correction.
    """

    task: str
    cluster: str
    inputs: tuple[Modality, ...]
    outputs: tuple[Modality, ...]
    change: float
    sample_id: str = ""
    value: float | None = None
    known: bool | None = None

    @property
    def counted(self) -> float:
        """The change that statistics are made of."""
        return self.change if self.value is None else self.value


def task_margin(policy: GatePolicy, rule: Rule) -> float | None:
    """The loss that a metric must be shown not to have; None if nothing is asked of it."""
    if rule.tier == "advisory":
        return None
    if rule.rule.prove is not None or policy.prove is None:
        return rule.rule.prove
    is_required = rule.tier == "critical" or "tasks" in policy.prove.of
    return policy.prove.margin_of("tasks") if is_required else None


def requirements_of(
    policy: GatePolicy, changes: Sequence[tuple[Rule, list[TaskSample]]]
) -> list[Requirement]:
    """Requirements of a policy about two runs, from the changes by each of its rules (`changes_of`).
    UserError if modalities must be proven, and neither run has those of its samples on record."""
    requirements = []
    for rule, samples in changes:
        margin = task_margin(policy, rule)
        if margin is not None:
            values, clusters = values_and_clusters(samples)
            critical = rule.tier == "critical"
            requirements.append(Requirement(rule.name, values, clusters, margin, critical))
    if policy.prove is not None and "modalities" in policy.prove.of:
        margin = policy.prove.margin_of("modalities")
        for name, samples in by_modality(changes).items():
            values, clusters = values_and_clusters(samples)
            strata = cluster_codes([sample.task for sample in samples])
            open_reason = unknown_labels(samples)
            requirements.append(
                Requirement(name, values, clusters, margin, strata=strata, unknown=open_reason)
            )
    return requirements


def is_corrected(samples: Sequence[TaskSample]) -> bool:
    """Whether labels correct any of these changes."""
    return any(sample.known is not None for sample in samples)


def unknown_labels(samples: Sequence[TaskSample]) -> str:
    """The reason why a part of the corrected samples, such as a modality, shows nothing: too few labels
    are of it; "" if it does. The labels of others say nothing about the judge's errors here."""
    open_samples = [sample for sample in samples if sample.known is not None]
    labelled = {(sample.task, sample.cluster) for sample in open_samples if sample.known}
    if not open_samples or all(s.known for s in open_samples) or len(labelled) >= MIN_LABELS:
        return ""
    return f"{len(labelled)} of its sources have labels in both runs, and {MIN_LABELS} are needed"


def changes_of(rule: Rule, base: Side, side: Side, corrected: bool = False) -> list[TaskSample]:
    """Changes of one metric, corrected by labels if that is asked for and a run has any.

    UserError if it cannot be compared or corrected, NothingPairedError without a pair.
    """
    reason = refusal(base, side, rule.task, rule.metric)
    if reason:
        raise UserError(f"{rule.name} differs in {reason} in {base.path} and {side.path}")
    rows, _ = pair(base.outlines[rule.task], side.outlines[rule.task], rule.metric)
    if not rows:
        raise NothingPairedError(
            f"{rule.name}: no sample has a value in both {base.path} and {side.path}"
        )
    score = next(o.scores[rule.metric] for o in side.outlines[rule.task] if rule.metric in o.scores)
    low, high = score.range
    up = (1.0 if score.better == "higher" else -1.0) / (high - low)
    values: Sequence[float | None] = [None] * len(rows)
    has_label: Sequence[bool | None] = [None] * len(rows)
    if corrected and is_labelled(rule.task, rule.metric, base, side):
        try:
            corrections = corrected_changes(rule.task, rule.metric, rows, base, side)
        except NotCorrectedError as error:
            raise UserError(f"{rule.name} cannot be corrected: {error}") from None
        values, has_label = (up * corrections.values).tolist(), corrections.known
    return [
        TaskSample(
            task=rule.task,
            cluster=row.cluster,
            inputs=row.inputs,
            outputs=row.outputs,
            change=up * (row.candidate - row.base),
            sample_id=row.sample_id,
            value=value,
            known=is_known,
        )
        for row, value, is_known in zip(rows, values, has_label, strict=True)
    ]


def values_and_clusters(samples: Sequence[TaskSample]) -> tuple[Floats, Ints]:
    """Changes (n,), and the codes (n,) of their clusters, which no two tasks share."""
    clusters = [f"{sample.task}\n{sample.cluster}" for sample in samples]
    return np.array([sample.counted for sample in samples]), cluster_codes(clusters)


def by_modality(changes: Sequence[tuple[Rule, list[TaskSample]]]) -> dict[str, list[TaskSample]]:
    """Samples of tasks that are gated by their primary metric, of each modality of questions
    ("image in"), then of answers ("image out"). UserError for samples without modalities on record."""
    members: dict[str, list[TaskSample]] = {}
    for sample in _of_primary_metrics(changes):
        for name in (*(f"{m} in" for m in sample.inputs), *(f"{m} out" for m in sample.outputs)):
            members.setdefault(name, []).append(sample)
    order = [f"{modality} {side}" for side in ("in", "out") for modality in MODALITIES]
    return {name: members[name] for name in order if name in members}


def by_combination(changes: Sequence[tuple[Rule, list[TaskSample]]]) -> dict[str, list[TaskSample]]:
    """Samples by all modalities of question and answer at once: "text+image -> audio"; "any" where the
    answer may have any. Errors as in `by_modality`."""
    members: dict[str, list[TaskSample]] = {}
    for sample in _of_primary_metrics(changes):
        name = f"{'+'.join(sample.inputs)} -> {'+'.join(sample.outputs) or 'any'}"
        members.setdefault(name, []).append(sample)
    return dict(sorted(members.items()))


def _of_primary_metrics(changes: Sequence[tuple[Rule, list[TaskSample]]]) -> list[TaskSample]:
    for rule, samples in changes:
        if not all(sample.inputs for sample in samples):
            raise UserError(
                f"{rule.task}: no run has the modalities of its samples on record, as all are of an "
                "older version. Run one of them again; a gate can prove tasks alone"
            )
    return [sample for rule, samples in changes if rule.is_primary for sample in samples]
