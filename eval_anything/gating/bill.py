"""The bill of a training: which modalities lost, which are proven unharmed, and what is not known.

    bill = bill("runs/base", "runs/new")

Every modality of questions and of answers, and every combination of them, is judged on its samples of
all tasks, by their primary metrics. Harm is a significant loss, corrected by Holm over all of them;
proof is a one-sided interval that lies above minus the margin, for each at `alpha` (intersection-union).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from eval_anything.comparison.sides import Side, read_side, refusal
from eval_anything.content import Count, Modality, TextPart
from eval_anything.errors import UserError
from eval_anything.files.json_text import decode_strict
from eval_anything.files.reading import MAX_DOCUMENT, read_file
from eval_anything.gating.checks import Rule
from eval_anything.gating.policy import PROOF_MARGINS, TaskRule
from eval_anything.gating.requirements import (
    TaskSample,
    by_combination,
    by_modality,
    changes_of,
    is_corrected,
    unknown_labels,
    values_and_clusters,
)
from eval_anything.runs.directory import read_records, read_run_file
from eval_anything.statistics.intervals import Floats, Ints, cluster_codes
from eval_anything.statistics.paired import (
    Paired,
    change_interval,
    holm,
    lowest_change,
    paired,
    samples_that_settle,
)

_PAYING = 5  # samples that are named for each loss


BillVerdict = Literal["proven unharmed", "harmed", "not known"]


class AnswerPart(Struct, frozen=True, omit_defaults=True):
    """A part of an answer: a text, or the path of a medium."""

    modality: Modality
    text: str = ""
    path: str = ""


class PayingSample(Struct, frozen=True):
    """A sample that lost: its change as a share of the range, and the answers of both runs."""

    task: str
    sample_id: str
    change: float
    base: list[AnswerPart]
    candidate: list[AnswerPart]


class BillItem(Struct, frozen=True, kw_only=True):
    """Change of a modality or combination ("image in", "text+image -> audio"), as a share of the range.

    `interval` holds for all items at once (Bonferroni); `p_harm` is the one-sided p of "worse" after
    Holm. `lowest` is the lower end of the one-sided interval that the proof needs. `needed` is the
    number of samples that would settle an item that is not known, None if no number would. `paid` are
    the samples that lost most, `since` the first checkpoint of a training at which the harm shows.
    `through` names the harmed modalities without whose samples this one shows no harm: pictures lose
    where an answer has to have sound, too, and sound was lost. Where labels correct it, `judged` is the
    change as the judge has it, `labels` the number of samples that are known in both runs, and `unknown`
    the reason why these show nothing.
    """

    name: str
    n: int
    clusters: int
    tasks: list[str]
    difference: float
    interval: tuple[float, float] | None
    p_harm: float | None
    lowest: float | None
    verdict: BillVerdict
    needed: int | None
    paid: list[PayingSample] = []
    since: str | None = None
    through: str | None = None
    judged: float | None = None
    labels: int | None = None
    unknown: str = ""


class CheckpointNote(Struct, frozen=True):
    """Part of a checkpoint's training.json: the step, 0 before the training."""

    step: Count


class Bill(Struct, frozen=True, kw_only=True):
    """Items of all modalities and combinations that have samples; `refused` has the reasons why tasks of
    both runs are left out, `checkpoints` the runs of the training that `since` was looked for in,
    `unevaluated` its saved checkpoints that have no run."""

    base: str
    candidate: str
    margin: float
    alpha: float
    items: list[BillItem]
    refused: dict[str, str]
    checkpoints: list[str] = []
    unevaluated: list[str] = []

    @property
    def harmed(self) -> list[str]:
        """Names of the items that are harmed by themselves, not through another one."""
        return [i.name for i in self.items if i.verdict == "harmed" and i.through is None]


def bill(
    base: str | Path,
    candidate: str | Path,
    margin: float = PROOF_MARGINS["modalities"],
    alpha: float = 0.05,
    training: str | Path | None = None,
    corrected: bool = False,
) -> Bill:
    """Compares two runs by modality.

    Args:
        base: the run directory to compare with.
        candidate: the run directory that may have lost.
        margin: the loss that is still called harmless, as a share of the range.
        alpha: share of bills of an unchanged candidate in which anything is called harmed.
        training: the folder of a training whose evaluated checkpoints are searched for the first with
            each harm.
        corrected: whether metrics of which a run has labels count as these correct them. An item then
            needs labels of its own samples.

    Raises:
        UserError: a run is unfinished, they have nothing that can be compared, or the modalities of
            their samples are not on record.
    """
    if not 0 < margin < 1:
        raise UserError(f"margin {margin:g}: must be a share of the range, above 0 and below 1")
    sides = read_side(Path(base)), read_side(Path(candidate))
    changes, refused = _comparable(*sides, corrected)
    groups = _groups(changes)
    arrays = [_arrays(samples) for samples in groups.values()]
    items = [
        _item(name, samples, group, test, margin, alpha / len(groups))
        for (name, samples), group, test in zip(
            groups.items(), arrays, harm_tests(arrays, margin, alpha), strict=True
        )
    ]
    through = _causes(items, groups, alpha)
    lost = {item.name: _most_lost(groups[item.name]) for item in items if item.verdict == "harmed"}
    answers = [_answers(side, [s for samples in lost.values() for s in samples]) for side in sides]
    paths = _evaluated(Path(training)) if training is not None else []
    checkpoints = _Checkpoints(sides[0], paths, corrected)
    return Bill(
        base=str(base),
        candidate=str(candidate),
        margin=margin,
        alpha=alpha,
        items=[
            replace(
                item,
                paid=_paying(lost[item.name], *answers),
                since=checkpoints.since(item.name, alpha / len(groups)),
                through=through.get(item.name),
            )
            if item.verdict == "harmed"
            else item
            for item in items
        ],
        refused=refused,
        checkpoints=[path.name for path in paths],
        unevaluated=_unevaluated(Path(training), paths) if training is not None else [],
    )


Changes = list[tuple[Rule, list[TaskSample]]]


def _comparable(base: Side, candidate: Side, corrected: bool = False) -> tuple[Changes, dict[str, str]]:
    """Changes of the primary metrics of tasks, and the reasons why tasks of both runs are left out."""
    changes: Changes = []
    refused: dict[str, str] = {}
    for task in base.file.tasks:
        if task not in candidate.file.tasks:
            continue
        metric = candidate.results.tasks[task].primary
        reason = refusal(base, candidate, task, metric)
        invalid = [side.results.tasks[task].main.invalid or "" for side in (base, candidate)]
        if reason or any(invalid):
            refused[task] = reason or "INVALID: " + "; ".join(filter(None, invalid))
            continue
        rule = Rule(task, metric, "critical", 0.0, TaskRule(), is_primary=True)
        changes.append((rule, changes_of(rule, base, candidate, corrected)))
    if not changes:
        words = "; ".join(f"{task}: {reason}" for task, reason in refused.items()) or "no task in common"
        raise UserError(f"{base.path} and {candidate.path} cannot be compared: {words}")
    return changes, refused


def _groups(changes: Changes) -> dict[str, list[TaskSample]]:
    """Samples by modality, then by combination; not those combinations that are all of a modality."""
    groups = by_modality(changes)
    listed = list(groups.values())
    combinations = by_combination(changes)
    return groups | {name: samples for name, samples in combinations.items() if samples not in listed}


class BillGroup(NamedTuple):
    """Changes (n,) of the samples of a modality, with the codes (n,) of their clusters and tasks;
    whether none of them is corrected by labels, and the reason why they show nothing, if there is
    one."""

    values: Floats
    clusters: Ints
    tasks: Ints
    symmetric: bool = True
    unknown: str = ""

    @property
    def largest(self) -> Floats:
        """The largest change in each task."""
        return np.ones(int(self.tasks.max()) + 1)


class HarmTest(NamedTuple):
    """Change of a group, p of "worse" after Holm, the lower end that proves a margin, the verdict."""

    change: Paired
    p_harm: float
    lowest: float | None
    verdict: BillVerdict


def harm_tests(groups: Sequence[BillGroup], margin: float, alpha: float) -> list[HarmTest]:
    """Tests of harm and proofs of harmlessness of all groups."""
    changes = [paired(g.values, g.clusters, g.largest, g.tasks, g.symmetric) for g in groups]
    changes = [
        replace(c, p_worse=None) if g.unknown else c for c, g in zip(changes, groups, strict=True)
    ]
    p_values = holm([1.0 if change.p_worse is None else change.p_worse for change in changes])
    tests = []
    for g, change, p_harm in zip(groups, changes, p_values, strict=True):
        lowest = None
        if not g.unknown:
            lowest = lowest_change(g.values, g.clusters, g.largest, alpha, g.tasks)
        verdict: BillVerdict = "not known"
        if p_harm <= alpha and change.difference < 0:
            verdict = "harmed"
        elif lowest is not None and lowest > -margin:
            verdict = "proven unharmed"
        tests.append(HarmTest(change, p_harm, lowest, verdict))
    return tests


def _arrays(samples: Sequence[TaskSample]) -> BillGroup:
    values, clusters = values_and_clusters(samples)
    tasks = cluster_codes([sample.task for sample in samples])
    return BillGroup(values, clusters, tasks, not is_corrected(samples), unknown_labels(samples))


def _item(
    name: str,
    samples: Sequence[TaskSample],
    group: BillGroup,
    test: HarmTest,
    margin: float,
    alpha: float,
) -> BillItem:
    """An item; `alpha` is what Bonferroni leaves for its interval."""
    change = test.change
    is_open = test.verdict == "not known"
    return BillItem(
        name=name,
        n=change.n,
        clusters=change.clusters,
        tasks=list(dict.fromkeys(sample.task for sample in samples)),
        difference=change.difference,
        interval=None
        if group.unknown
        else change_interval(group.values, group.clusters, group.largest, alpha, group.tasks),
        p_harm=None if change.p_worse is None else test.p_harm,
        lowest=test.lowest,
        verdict=test.verdict,
        needed=_needed(change, test.lowest, margin, alpha) if is_open else None,
        judged=float(np.mean([sample.change for sample in samples])) if is_corrected(samples) else None,
        labels=sum(bool(sample.known) for sample in samples) if is_corrected(samples) else None,
        unknown=group.unknown,
    )


def _needed(change: Paired, lowest: float | None, margin: float, alpha: float) -> int | None:
    """Number of samples that would prove the margin or, if that is less, show the harm: more than there
    are, and as many clusters as p takes if all of them lose."""
    if lowest is None or change.stderr is None:
        return None
    multiples = [samples_that_settle(change.difference - lowest, change.difference + margin)]
    if change.difference < 0:
        half = NormalDist().inv_cdf(1 - alpha) * change.stderr
        multiple = samples_that_settle(half, -change.difference)
        fewest = math.log2(1 / alpha) / change.clusters
        multiples.append(None if multiple is None else max(multiple, fewest))
    possible = [multiple for multiple in multiples if multiple is not None]
    return max(change.n + 1, math.ceil(change.n * min(possible))) if possible else None


def _causes(
    items: Sequence[BillItem], groups: Mapping[str, list[TaskSample]], alpha: float
) -> dict[str, str]:
    """The harmed modalities through which another harmed item lost: without their samples, that one
    shows no harm. The modality that lost most comes first, and is its own cause, then those that lost
    without it; one that all samples have explains nothing."""
    harmed = [item for item in items if item.verdict == "harmed"]
    count = len({sample for samples in groups.values() for sample in samples})
    members: dict[str, set[TaskSample]] = {}
    through: dict[str, str] = {}
    for cause in sorted(harmed, key=lambda item: item.difference):
        if cause.name in through or " -> " in cause.name or cause.n == count:
            continue
        members[cause.name] = set(groups[cause.name])
        for names in ([cause.name], list(members)):
            excluded = set.union(*(members[name] for name in names))
            for item in harmed:
                if item.name in through or item.name in members:
                    continue
                remaining = [sample for sample in groups[item.name] if sample not in excluded]
                if len(remaining) < item.n and not _is_harmed(remaining, alpha):
                    through[item.name] = " and ".join(names)
    return through


def _is_harmed(samples: Sequence[TaskSample], alpha: float) -> bool:
    if not samples:
        return False
    [test] = harm_tests([_arrays(samples)], margin=1.0, alpha=alpha)
    return test.verdict == "harmed"


def _most_lost(samples: Sequence[TaskSample]) -> list[TaskSample]:
    lost = (sample for sample in samples if sample.change < 0)
    return sorted(lost, key=lambda s: (s.change, s.task, s.sample_id))[:_PAYING]


Answers = dict[tuple[str, str], list[AnswerPart]]
"""Parts of the first answer, by task and sample id."""


def _answers(side: Side, samples: Sequence[TaskSample]) -> Answers:
    """Answers of a run to these samples; each task is read once."""
    keys: dict[str, set[tuple[str, int]]] = {}
    for sample in samples:
        keys.setdefault(sample.task, set()).add((sample.sample_id, 0))
    return {
        (task, record.sample_id): [
            AnswerPart(part.modality, text=part.text)
            if isinstance(part, TextPart)
            else AnswerPart(part.modality, path=str(part.path))
            for part in record.parts
        ]
        for task, task_keys in keys.items()
        for record in read_records(side.path, task, task_keys)
    }


def _paying(samples: Sequence[TaskSample], base: Answers, candidate: Answers) -> list[PayingSample]:
    return [
        PayingSample(
            task=sample.task,
            sample_id=sample.sample_id,
            change=sample.change,
            base=base.get((sample.task, sample.sample_id), []),
            candidate=candidate.get((sample.task, sample.sample_id), []),
        )
        for sample in samples
    ]


def _evaluated(training: Path) -> list[Path]:
    """Runs of the checkpoints of a training, in the order of its steps. UserError if there is none."""
    steps = []
    for path in (training / "runs").glob("*/training.json"):
        note = _note(path)
        if note.step > 0 and read_run_file(path.parent).status == "done":
            steps.append((note.step, path.parent))
    if not steps:
        raise UserError(
            f"{training} has no evaluated checkpoints: it is no folder of a training, or its settings "
            "have no `evaluate:`"
        )
    return [path for _, path in sorted(steps)]


def _note(path: Path) -> CheckpointNote:
    try:
        return decode_strict(read_file(path, MAX_DOCUMENT), CheckpointNote)
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def _unevaluated(training: Path, runs: Sequence[Path]) -> list[str]:
    """Names of the complete checkpoints of a training whose step has no run, by step."""
    evaluated = {_note(run / "training.json").step for run in runs}
    saved = {
        _note(path).step: path.parent.name for path in (training / "checkpoints").glob("*/training.json")
    }
    return [name for step, name in sorted(saved.items()) if step not in evaluated]


class _Checkpoints:
    """Runs of the checkpoints of a training, each read when it is asked for, and once."""

    def __init__(self, base: Side, paths: Sequence[Path], corrected: bool) -> None:
        self._base = base
        self._corrected = corrected
        self._paths = paths
        self._read: dict[int, dict[str, list[TaskSample]]] = {}

    def since(self, name: str, alpha: float) -> str | None:
        """The first checkpoint at which an item is harmed; by bisection, since what was paid is seldom
        given back. None if the last one shows no harm."""
        first, last = 0, len(self._paths) - 1
        if last < 0 or not self._is_harmed(last, name, alpha):
            return None
        while first < last:
            middle = (first + last) // 2
            if self._is_harmed(middle, name, alpha):
                last = middle
            else:
                first = middle + 1
        return self._paths[last].name

    def _is_harmed(self, index: int, name: str, alpha: float) -> bool:
        if index not in self._read:
            changes, _ = _comparable(self._base, read_side(self._paths[index]), self._corrected)
            self._read[index] = _groups(changes)
        return _is_harmed(self._read[index].get(name, []), alpha)
