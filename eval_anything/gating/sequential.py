"""A gate that may be looked at while samples come in, and decides as soon as it can.

The decision is that of `decide`, with tests that hold at all looks at once (`statistics/sequential`) in
place of those for a number of samples that is fixed before: half of `alpha` for the losses of tasks
(Holm over them), half for that of the suite, and each proof at `alpha`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from eval_anything.files.hashing import seed_of
from eval_anything.gating.decide import (
    Decision,
    Proof,
    SuiteDecision,
    TaskDecision,
    TaskVerdict,
    Verdict,
    proof_of,
)
from eval_anything.statistics.paired import Paired, holm, samples_that_settle
from eval_anything.statistics.sequential import Units, bound, evidence

Step = Mapping[str, Collection[str]]
"""Clusters of each task that are counted at once."""


class Counted(NamedTuple):
    """Sum of the changes of a cluster's samples, as shares of the range, and their number."""

    total: float
    samples: int


_NOTHING = Counted(0.0, 0)


class Share(NamedTuple):
    """A metric's share in a test: its task, its clusters by name, and its weight in the mean. None: as
    many as it has samples."""

    task: str
    clusters: Mapping[str, Counted]
    weight: float | None = None


def arrange(clusters: Mapping[str, Sequence[str]]) -> list[dict[str, list[str]]]:
    """The clusters of all tasks in steps: in a random order, which is always the same, and each step
    with an equal part of every task. No steps if a task has none.

    Example:
        >>> [len(step["a"]) for step in arrange({"a": ["1", "2", "3", "4"], "b": ["1", "2"]})]
        [2, 2]
    """
    count = min(map(len, clusters.values()), default=0)
    steps: list[dict[str, list[str]]] = [{} for _ in range(count)]
    for task, names in clusters.items():
        for number, name in enumerate(in_order(task, names) if count else ()):
            steps[number * count // len(names)].setdefault(task, []).append(name)
    return steps


def in_order(task: str, clusters: Iterable[str]) -> list[str]:
    """The clusters of a task in a random order, which depends on their names alone."""
    return sorted(clusters, key=lambda name: seed_of("sequence", task, name))


def units_of(shares: Sequence[Share], steps: Sequence[Step]) -> Units | None:
    """Units of a test of the mean over some metrics. Steps are counted together until each metric has a
    sample; None if that is never so."""
    rows: list[tuple[float, float, float, int]] = []
    waiting: list[list[Counted]] = [[] for _ in shares]
    for number, step in enumerate(steps):
        for units, share in zip(waiting, shares, strict=True):
            units += [share.clusters.get(name, _NOTHING) for name in step.get(share.task, ())]
        scales = _scales(shares, [sum(c.samples for c in units) for units in waiting], waiting)
        if not scales:
            continue
        scaled = [(scale, c) for scale, units in zip(scales, waiting, strict=True) for c in units]
        reach = max(scale * c.samples for scale, c in scaled)
        rows += [(scale * c.total, scale * c.samples, reach, number) for scale, c in scaled]
        waiting = [[] for _ in shares]
    if not rows:
        return None
    values, sizes, reaches, numbers = np.array(rows).T
    return Units(values, sizes, reaches, numbers.astype(np.int64), len(steps))


def _scales(
    shares: Sequence[Share], sizes: Sequence[int], counted: Sequence[Sequence[Counted]]
) -> list[float]:
    """Factors of the metrics in a step, with which the expected sum over its units is their number
    times the mean over metrics by weight; none where that cannot be."""
    units = sum(map(len, counted))
    if shares[0].weight is None:
        return [units / sum(sizes)] * len(shares) if sum(sizes) else []
    if not all(sizes):
        return []
    total_weight = sum(share.weight or 0.0 for share in shares)
    return [
        (share.weight or 0.0) / total_weight * units / size
        for share, size in zip(shares, sizes, strict=True)
    ]


class SequentialTask(NamedTuple):
    """A gated metric: its units, and the margin of its loss."""

    name: str
    units: Units
    margin: float


class SequentialProof(NamedTuple):
    """A loss that must be shown not to be there (`decide.Requirement`)."""

    name: str
    units: Units
    margin: float
    critical: bool = True


class Sequential(NamedTuple):
    """The decision after a number of steps; `decided` is false if all steps were not enough."""

    decision: Decision
    steps: int
    decided: bool


class Stop(NamedTuple):
    """The first step at which a gate can decide, or the last one: the number of steps up to its end, the
    verdicts there, and the p-values of losses of tasks after Holm."""

    steps: int
    decided: bool
    suite: Verdict
    tasks: list[TaskVerdict]
    p_holm: list[float]


def decide_sequence(
    tasks: Sequence[SequentialTask],
    suite: Units,
    suite_margin: float,
    alpha: float,
    proofs: Sequence[SequentialProof] = (),
) -> Sequential:
    """Decides at the first step at which it can.

    Args:
        tasks: the gated metrics.
        suite: units of their weighted mean.
        suite_margin: the allowed loss of this mean, as a share of the range.
        alpha: the error rate over all looks.
        proofs: what must be proven besides.
    """
    stop = first_stop(tasks, suite, suite_margin, alpha, proofs)
    decisions = [
        TaskDecision(task.name, _change(task.units.until(stop.steps)), task.margin, p, verdict)
        for task, p, verdict in zip(tasks, stop.p_holm, stop.tasks, strict=True)
    ]
    counted = suite.until(stop.steps)
    change, lowest = _change(counted), bound(counted, alpha, 1)
    multiple = None
    if stop.suite == "INCONCLUSIVE":
        multiple = samples_that_settle(change.difference - lowest, change.difference + suite_margin)
    suite_decision = SuiteDecision(change, suite_margin, lowest, stop.suite, multiple)
    tested = [_proof(proof, alpha, stop.steps) for proof in proofs]
    return Sequential(Decision(decisions, suite_decision, tested), stop.steps, stop.decided)


def first_stop(
    tasks: Sequence[SequentialTask],
    suite: Units,
    suite_margin: float,
    alpha: float,
    proofs: Sequence[SequentialProof] = (),
) -> Stop:
    """The step at which `decide_sequence` decides, without intervals; its arguments are the same."""
    losses = np.exp([-evidence(task.units, 0.0, -1) for task in tasks])
    means = np.array([task.units.means for task in tasks])
    is_lost = evidence(suite, 0.0, -1) >= math.log(2 / alpha)
    is_proven = evidence(suite, -suite_margin, 1) >= math.log(1 / alpha)
    suite_means = suite.means
    critical = [proof for proof in proofs if proof.critical]
    wealth = [evidence(proof.units, -proof.margin, 1) for proof in critical]
    all_proven = np.all([w >= math.log(1 / alpha) for w in wealth], axis=0) | np.zeros(
        suite.step_count, bool
    )
    is_open = ~(is_lost | is_proven) & (losses.min(axis=0) * len(tasks) > alpha / 2)
    is_open[-1] = False
    for step in np.flatnonzero(~is_open):  # at the others, nothing is significant
        p_values = holm(losses[:, step].tolist())
        verdicts = [
            _task_verdict(p, mean, task.margin, alpha)
            for p, mean, task in zip(p_values, means[:, step], tasks, strict=True)
        ]
        verdict: Verdict = "INCONCLUSIVE"
        if is_lost[step] and suite_means[step] < -suite_margin / 4:
            verdict = "BLOCK"
        elif is_proven[step]:
            verdict = "WARN" if is_lost[step] else "PASS"
        decided = "BLOCK" in (verdict, *verdicts)
        decided |= verdict != "INCONCLUSIVE" and bool(all_proven[step])
        if decided:
            break
    return Stop(int(step) + 1, decided, verdict, verdicts, p_values)


def _task_verdict(p_holm: float, mean: float, margin: float, alpha: float) -> TaskVerdict:
    if p_holm > alpha / 2:
        return "no loss shown"
    return "BLOCK" if mean < -margin else "WARN"


def _change(units: Units) -> Paired:
    """The mean change with its 95 % confidence sequence and anytime-valid p-values."""
    worse, better = (min(1.0, math.exp(-evidence(units, 0.0, side)[-1])) for side in (-1, 1))
    return Paired(
        difference=float(units.means[-1]),
        stderr=None,
        ci95=(bound(units, 0.025, 1), bound(units, 0.025, -1)),
        p=min(1.0, 2 * min(worse, better)),
        p_worse=worse,
        p_better=better,
        mde=None,
        n=len(units.values),
        clusters=len(units.values),
    )


def _proof(proof: SequentialProof, alpha: float, count: int) -> Proof:
    units = proof.units.until(count)
    difference, lowest = float(units.means[-1]), bound(units, alpha, 1)
    return proof_of(proof.name, len(units.values), difference, lowest, proof.margin, proof.critical)
