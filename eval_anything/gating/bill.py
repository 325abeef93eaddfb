"""The bill of a training: which modalities lost, which are proven unharmed, and what is not known.

    bill = bill("runs/base", "runs/new")

Every modality of questions and of answers, and every combination of them, is judged on its samples of
all tasks, by their primary metrics. Harm is a significant loss, corrected by Holm over all of them;
proof is a one-sided interval that lies above minus the margin, for each at `alpha` (intersection-union).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from eval_anything.comparison import Side, read_side, refusal
from eval_anything.content import TextPart
from eval_anything.errors import UserError
from eval_anything.files.json_text import decode_strict
from eval_anything.files.reading import MAX_DOCUMENT, read_file
from eval_anything.gating.checks import Rule
from eval_anything.gating.decide import samples_that_settle
from eval_anything.gating.policy import PROOF_MARGINS, TaskRule
from eval_anything.gating.requirements import (
    TaskSample,
    by_combination,
    by_modality,
    changes_of,
    values_and_clusters,
)
from eval_anything.runs.directory import is_run, read_records
from eval_anything.statistics.intervals import Floats, Ints, cluster_codes
from eval_anything.statistics.paired import Paired, change_interval, holm, lowest_change, paired

_PAYING = 5  # samples that are named for each loss


BillVerdict = Literal["proven unharmed", "harmed", "not known"]


class PayingSample(Struct, frozen=True):
    """A sample that lost: its change as a share of the range, and the answers of both runs, texts and
    paths of media."""

    task: str
    sample_id: str
    change: float
    base: list[str]
    candidate: list[str]


class BillItem(Struct, frozen=True, kw_only=True):
    """Change of a modality or combination ("image in", "text+image -> audio"), as a share of the range.

    `interval` holds for all items at once (Bonferroni); `p_harm` is the one-sided p of "worse" after
    Holm. `lowest` is the lower end of the one-sided interval that the proof needs. `needed` is the
    number of samples that would settle an item that is not known, None if no number would. `paid` are
    the samples that lost most, `since` the first checkpoint of a training at which the harm shows.
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


class Bill(Struct, frozen=True, kw_only=True):
    """Items of all modalities and combinations that have samples; `refused` has the reasons why tasks of
    both runs are left out, `checkpoints` the runs of the training that `since` was looked for in."""

    base: str
    candidate: str
    margin: float
    alpha: float
    items: list[BillItem]
    refused: dict[str, str]
    checkpoints: list[str] = []

    @property
    def harmed(self) -> list[str]:
        """Names of the items that are harmed."""
        return [item.name for item in self.items if item.verdict == "harmed"]


def bill(
    base: str | Path,
    candidate: str | Path,
    margin: float = PROOF_MARGINS["modalities"],
    alpha: float = 0.05,
    training: str | Path | None = None,
) -> Bill:
    """Compares two runs by modality.

    Args:
        base: the run directory to compare with.
        candidate: the run directory that may have lost.
        margin: the loss that is still called harmless, as a share of the range.
        alpha: share of bills of an unchanged candidate in which anything is called harmed.
        training: the folder of a training whose evaluated checkpoints are searched for the first with
            each harm.

    Raises:
        UserError: a run is unfinished, they have nothing that can be compared, or the modalities of
            their samples are not on record.
    """
    if not 0 < margin < 1:
        raise UserError(f"margin {margin:g}: must be a share of the range, above 0 and below 1")
    sides = read_side(Path(base)), read_side(Path(candidate))
    changes, refused = _comparable(*sides)
    groups = _groups(changes)
    tested = [_tested(samples) for samples in groups.values()]
    harms = holm([1.0 if change.p_worse is None else change.p_worse for change in tested])
    items = [
        _item(name, samples, change, p, margin, alpha, len(groups))
        for (name, samples), change, p in zip(groups.items(), tested, harms, strict=True)
    ]
    paths = _evaluated(Path(training)) if training is not None else []
    checkpoints = [(path.name, read_side(path)) for path in paths]
    return Bill(
        base=str(base),
        candidate=str(candidate),
        margin=margin,
        alpha=alpha,
        items=[
            replace(
                item,
                paid=_paying(groups[item.name], *sides),
                since=_since(item.name, sides[0], checkpoints, alpha / len(groups)),
            )
            if item.verdict == "harmed"
            else item
            for item in items
        ],
        refused=refused,
        checkpoints=[name for name, _ in checkpoints],
    )


Changes = list[tuple[Rule, list[TaskSample]]]


def _comparable(base: Side, candidate: Side) -> tuple[Changes, dict[str, str]]:
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
        changes.append((rule, changes_of(rule, base, candidate)))
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


def _arrays(samples: Sequence[TaskSample]) -> tuple[Floats, Ints, Floats, Ints]:
    """The arguments of `paired`: changes, clusters, largest changes, tasks."""
    values, clusters = values_and_clusters(samples)
    tasks = cluster_codes([sample.task for sample in samples])
    return values, clusters, np.ones(int(tasks.max()) + 1), tasks


def _tested(samples: Sequence[TaskSample]) -> Paired:
    values, clusters, largest, tasks = _arrays(samples)
    return paired(values, clusters, largest, tasks)


def _item(
    name: str,
    samples: Sequence[TaskSample],
    change: Paired,
    p_harm: float,
    margin: float,
    alpha: float,
    items: int,
) -> BillItem:
    values, clusters, largest, tasks = _arrays(samples)
    lowest = lowest_change(values, clusters, largest, alpha, tasks)
    verdict: BillVerdict = "not known"
    if p_harm <= alpha and change.difference < 0:
        verdict = "harmed"
    elif lowest is not None and lowest > -margin:
        verdict = "proven unharmed"
    return BillItem(
        name=name,
        n=change.n,
        clusters=change.clusters,
        tasks=list(dict.fromkeys(sample.task for sample in samples)),
        difference=change.difference,
        interval=change_interval(values, clusters, largest, alpha / items, tasks),
        p_harm=None if change.p_worse is None else p_harm,
        lowest=lowest,
        verdict=verdict,
        needed=_needed(change, lowest, margin, alpha / items) if verdict == "not known" else None,
    )


def _needed(change: Paired, lowest: float | None, margin: float, alpha: float) -> int | None:
    """Number of samples that would prove the margin or, if that is less, show the harm."""
    if lowest is None or change.stderr is None:
        return None
    multiples = [samples_that_settle(change.difference - lowest, change.difference + margin)]
    if change.difference < 0:
        half = NormalDist().inv_cdf(1 - alpha) * change.stderr
        multiples.append(samples_that_settle(half, -change.difference))
    possible = [multiple for multiple in multiples if multiple is not None]
    return math.ceil(change.n * min(possible)) if possible else None


def _paying(samples: Sequence[TaskSample], base: Side, candidate: Side) -> list[PayingSample]:
    """The samples that lost most, with the answers of both runs."""
    lost = sorted((s for s in samples if s.change < 0), key=lambda s: (s.change, s.task, s.sample_id))
    return [
        PayingSample(
            sample.task,
            sample.sample_id,
            sample.change,
            _answer(base, sample),
            _answer(candidate, sample),
        )
        for sample in lost[:_PAYING]
    ]


def _answer(side: Side, sample: TaskSample) -> list[str]:
    """The parts of the first answer to a sample: texts, and paths of media below the run."""
    records = read_records(side.path, sample.task, {(sample.sample_id, 0)})
    return [
        part.text if isinstance(part, TextPart) else str(part.path)
        for record in records
        for part in record.parts
    ]


def _evaluated(training: Path) -> list[Path]:
    """Runs of the checkpoints of a training, in the order of its steps. UserError if there is none."""
    steps = []
    for note in (training / "runs").glob("*/training.json"):
        step = decode_strict(read_file(note, MAX_DOCUMENT), dict[str, Any]).get("step")
        if isinstance(step, int) and step > 0 and is_run(note.parent):
            steps.append((step, note.parent))
    if not steps:
        raise UserError(
            f"{training} has no evaluated checkpoints: it is no folder of a training, or its settings "
            "have no `evaluate:`"
        )
    return [path for _, path in sorted(steps)]


def _since(name: str, base: Side, checkpoints: Sequence[tuple[str, Side]], alpha: float) -> str | None:
    """The first checkpoint at which an item is harmed; by bisection, since what was paid is seldom
    given back. None if the last one shows no harm."""

    def is_harmed(side: Side) -> bool:
        samples = _groups(_comparable(base, side)[0]).get(name, [])
        change = _tested(samples) if samples else None
        return change is not None and change.difference < 0 and (change.p_worse or 1.0) <= alpha

    if not checkpoints or not is_harmed(checkpoints[-1][1]):
        return None
    first, last = 0, len(checkpoints) - 1
    while first < last:
        middle = (first + last) // 2
        if is_harmed(checkpoints[middle][1]):
            last = middle
        else:
            first = middle + 1
    return checkpoints[last][0]
