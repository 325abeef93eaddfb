"""The stored sequence of a gate: which samples were counted at which step, so that a rerun goes on with
new ones only.

A rerun counts what the candidate has answered since, in further steps, behind those on record. Samples
of a source that is counted already vary with those that were, and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct, ValidationError

from eval_anything.comparison.sides import Side, samples_of
from eval_anything.errors import UserError
from eval_anything.files.hashing import sha256_of
from eval_anything.files.json_text import decode_strict
from eval_anything.files.reading import MAX_LINES, read_file
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.gating.checks import Rule
from eval_anything.gating.policy import GatePolicy
from eval_anything.gating.requirements import (
    NothingPairedError,
    TaskSample,
    by_modality,
    task_margin,
)
from eval_anything.gating.sequential import (
    Counted,
    Sequential,
    SequentialProof,
    SequentialTask,
    Share,
    arrange,
    decide_sequence,
    units_of,
)
from eval_anything.statistics.sequential import Units

SEQUENCE = "sequence.json"
"""The file of a sequence, in the directory of the candidate."""


class SequenceStep(Struct, frozen=True):
    """Samples that were counted at once, by task and cluster, and the sha256 of their changes."""

    samples: dict[str, dict[str, list[str]]]
    changes: str


class StoredSequence(Struct, frozen=True, forbid_unknown_fields=True):
    """sequence.json: the sha256 of the policy's rules, and the steps so far."""

    policy: str
    steps: list[SequenceStep]


class SequenceNote(Struct, frozen=True):
    """State of a gate's sequence: its file, the samples counted up to the decision, those that the
    runs have in common, those of them that belong to no step (they came later than others of their
    source, or wait for samples of other tasks), and whether it has decided."""

    file: str
    counted: int
    available: int
    left_out: int
    decided: bool


Changes = Sequence[tuple[Rule, list[TaskSample]]]


def policy_digest(policy: GatePolicy) -> str:
    """sha256 of what decides in a policy."""
    rules = {n: getattr(policy, n) for n in ("alpha", "suite", "prove", "defaults", "tasks")}
    return sha256_of(rules)


def read_sequence(path: Path, policy: GatePolicy) -> StoredSequence:
    """The sequence on record; one without steps if there is none. UserError if it is damaged, or was
    begun with another policy."""
    digest = policy_digest(policy)
    if not path.exists():
        return StoredSequence(digest, [])
    try:
        stored = decode_strict(read_file(path, MAX_LINES), StoredSequence)
    except (ValueError, ValidationError) as error:
        raise UserError(f"{path} is damaged: {error}. {_ANEW}") from None
    if stored.policy != digest:
        raise UserError(
            f"{path} was begun with other rules of the policy: a second look with new ones would not "
            f"keep alpha. {_ANEW}"
        )
    return stored


_ANEW = "To begin anew, take samples that no gate has counted, and delete the file"


def extend(
    stored: StoredSequence, bases: Sequence[Side], side: Side, changes: Sequence[Changes], path: Path
) -> StoredSequence:
    """The sequence with the steps that the candidate's new samples allow.

    Args:
        stored: the sequence so far.
        bases: the baselines.
        side: the candidate.
        changes: those by each rule, for each baseline.
        path: the file of the sequence, for messages.

    Raises:
        UserError: samples that were counted have changed.
    """
    by_id = _by_id(changes)
    for number, step in enumerate(stored.steps, start=1):
        if _digest(step.samples, by_id) != step.changes:
            raise UserError(
                f"{path}: answers or scores of step {number} have changed since they were counted. "
                f"{_ANEW}"
            )
    names = _samples_by_cluster(bases, side, [rule.task for rule, _ in changes[0]])
    counted = _counted(stored)
    new = {
        task: [cluster for cluster in clusters if (task, cluster) not in counted]
        for task, clusters in names.items()
    }
    steps = []
    for arranged in arrange(new):
        samples = {task: {c: names[task][c] for c in clusters} for task, clusters in arranged.items()}
        steps.append(SequenceStep(samples, _digest(samples, by_id)))
    return StoredSequence(stored.policy, [*stored.steps, *steps])


def _counted(stored: StoredSequence) -> set[tuple[str, str]]:
    """The clusters that were counted, as (task, cluster)."""
    return {
        (task, cluster) for step in stored.steps for task, of in step.samples.items() for cluster in of
    }


def decide_stored(
    sequence: StoredSequence, policy: GatePolicy, changes: Changes, alpha: float
) -> Sequential:
    """The decision over the steps of a sequence. UserError if it has none."""
    steps = sequence.steps
    gated = [(rule, samples) for rule, samples in changes if rule.tier != "advisory"]
    shares = [_share(rule.task, samples, steps, rule.rule.weight) for rule, samples in gated]
    suite = _units(shares, steps)
    tasks, proofs = [], []
    for (rule, _), share in zip(gated, shares, strict=True):
        units = _units([share], steps)
        tasks.append(SequentialTask(rule.name, units, rule.margin))
        margin = task_margin(policy, rule)
        if margin is not None:
            proofs.append(SequentialProof(rule.name, units, margin, rule.tier == "critical"))
    if policy.prove is not None and "modalities" in policy.prove.of:
        margin = policy.prove.margin_of("modalities")
        for name, samples in by_modality(changes).items():
            by_task: dict[str, list[TaskSample]] = {}
            for sample in samples:
                by_task.setdefault(sample.task, []).append(sample)
            parts = [_share(task, of_task, steps, None) for task, of_task in by_task.items()]
            proofs.append(SequentialProof(name, _units(parts, steps), margin))
    return decide_sequence(tasks, suite, policy.suite.margin, alpha, proofs)


def _units(shares: Sequence[Share], steps: Sequence[SequenceStep]) -> Units:
    units = units_of(shares, [step.samples for step in steps])
    if units is None:
        raise NothingPairedError("not each gated metric has a sample with a value in both runs yet")
    return units


def _share(
    task: str, samples: Sequence[TaskSample], steps: Sequence[SequenceStep], weight: float | None
) -> Share:
    """Sums over the samples that were counted, by cluster."""
    ids = {id_ for step in steps for of in step.samples.get(task, {}).values() for id_ in of}
    sums: dict[str, Counted] = {}
    for sample in samples:
        if sample.sample_id in ids:
            total, count = sums.get(sample.cluster, (0.0, 0))
            sums[sample.cluster] = Counted(total + sample.change, count + 1)
    return Share(task, sums, weight)


def note_of(
    sequence: StoredSequence,
    decisions: Sequence[Sequential],
    bases: Sequence[Side],
    side: Side,
    path: Path,
) -> SequenceNote:
    """State of the sequence: up to the last of the decisions that were needed."""
    blocked = [d.steps for d in decisions if d.decision.verdict == "BLOCK"]
    last = min(blocked) if blocked else max(d.steps for d in decisions)
    names = _samples_by_cluster(bases, side, list(sequence.steps[0].samples))
    available = sum(len(ids) for clusters in names.values() for ids in clusters.values())
    return SequenceNote(
        file=str(path),
        counted=_count(sequence.steps[:last]),
        available=available,
        left_out=available - _count(sequence.steps),
        decided=bool(blocked) or all(d.decided for d in decisions),
    )


def _count(steps: Sequence[SequenceStep]) -> int:
    """Number of samples of some steps."""
    return sum(
        len(ids) for step in steps for clusters in step.samples.values() for ids in clusters.values()
    )


def write_sequence(sequence: StoredSequence, path: Path) -> None:
    """Writes the sequence."""
    write_atomically(path, pretty_json(sequence))


def _samples_by_cluster(
    bases: Sequence[Side], side: Side, tasks: Sequence[str]
) -> dict[str, dict[str, list[str]]]:
    """Ids of the samples that all runs have, by task and cluster."""
    names: dict[str, dict[str, list[str]]] = {}
    for task in dict.fromkeys(tasks):
        shared = set.intersection(*(samples_of(base.outlines[task]) for base in bases))
        clusters: dict[str, set[str]] = {}
        for outline in side.outlines[task]:
            if (outline.sample_id, outline.item) in shared:
                clusters.setdefault(outline.source_id, set()).add(outline.sample_id)
        names[task] = {cluster: sorted(ids) for cluster, ids in clusters.items()}
    return names


Lookup = list[tuple[str, dict[str, float]]]
"""For each baseline and rule its task and the changes by sample id."""


def _by_id(changes: Sequence[Changes]) -> Lookup:
    return [
        (rule.task, {sample.sample_id: round(sample.change, 9) for sample in samples})
        for of_base in changes
        for rule, samples in of_base
    ]


def _digest(samples: Mapping[str, Mapping[str, Sequence[str]]], by_id: Lookup) -> str:
    """sha256 of the changes of these samples, for each baseline and rule."""
    rows = []
    for task, of_rule in by_id:
        ids = sorted(id_ for cluster in samples.get(task, {}).values() for id_ in cluster)
        rows.append([(id_, of_rule[id_]) for id_ in ids if id_ in of_rule])
    return sha256_of(rows)
