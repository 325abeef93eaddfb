"""The statistical decision of a gate, from paired differences alone.

Of `alpha`, half goes to the tasks (Holm over them) and half to the suite's mean. A loss blocks if it
is both significant and larger than its margin (the suite's: a quarter of its margin); a pass needs
proof that the suite's loss is inside its margin, and of all that the policy requires of tasks and
modalities. Since all must be proven, each is tested at `alpha` (intersection-union; Berger 1982).
`make validity` measures the error rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from msgspec import Struct

from eval_anything.statistics.intervals import Floats, Ints
from eval_anything.statistics.paired import (
    Paired,
    holm,
    lowest_change,
    mean_of_means,
    paired,
    samples_that_settle,
)

Verdict = Literal["PASS", "WARN", "BLOCK", "INCONCLUSIVE", "INVALID"]


TaskVerdict = Literal["no loss shown", "WARN", "BLOCK"]
"""Verdict on one metric. That no loss is shown proves nothing, so only the suite passes."""


ORDER: tuple[Verdict, ...] = ("PASS", "WARN", "INCONCLUSIVE", "BLOCK", "INVALID")
"""Verdicts from the best to the worst."""


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of these verdicts, in the sequence of `ORDER`; PASS if there are none.

    Example:
        >>> worst(["PASS", "BLOCK", "WARN"])
        'BLOCK'
    """
    return max(verdicts, key=ORDER.index, default="PASS")


class Differences(NamedTuple):
    """One gated metric: differences (n,) as shares of its range (up is good), the codes (n,) of their
    clusters, its margin (a share of the range), its weight in the suite, and whether its test may assume
    that "no change" makes either sign as likely: not of differences that labels correct."""

    name: str
    values: Floats
    clusters: Ints
    margin: float
    weight: float = 1.0
    symmetric: bool = True


class TaskDecision(Struct, frozen=True):
    """Decision about one metric, in shares of its range; `p_holm` is the adjusted p of "worse"."""

    name: str
    change: Paired
    margin: float
    p_holm: float | None
    verdict: TaskVerdict


def losses(tasks: Sequence[TaskDecision]) -> list[Verdict]:
    """The verdicts on metrics with a loss that is shown."""
    return [task.verdict for task in tasks if task.verdict != "no loss shown"]


class SuiteDecision(Struct, frozen=True):
    """Decision about the weighted mean over all gated metrics. `lowest` is the lower end of its
    one-sided interval; `more` times the samples would settle an inconclusive verdict, None if no number
    would."""

    change: Paired
    margin: float
    lowest: float | None
    verdict: Verdict
    more: float | None


class Requirement(NamedTuple):
    """The mean of these differences (n,) must be no loss beyond a margin: of one task, or of all samples
    of a modality, with the codes of their tasks in `strata`. Not proven, one that is `critical` makes a
    gate INCONCLUSIVE, another one warns. `unknown` is the reason why they prove nothing, if there is
    one."""

    name: str
    values: Floats
    clusters: Ints
    margin: float
    critical: bool = True
    strata: Ints | None = None
    unknown: str = ""


class Proof(Struct, frozen=True):
    """Test of a requirement. `lowest` is the lower end of the one-sided interval (None for one cluster);
    `more` times the samples would prove it, None if no number would. `unknown` is that of the
    requirement."""

    name: str
    n: int
    difference: float
    lowest: float | None
    margin: float
    verdict: Verdict
    more: float | None
    unknown: str = ""


class Decision(NamedTuple):
    """Decisions about all tasks, the suite and the requirements."""

    tasks: list[TaskDecision]
    suite: SuiteDecision
    proofs: list[Proof]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the suite, its tasks and the requirements."""
        proofs = (proof.verdict for proof in self.proofs)
        return worst([self.suite.verdict, *losses(self.tasks), *proofs])


def decide(
    measured: Sequence[Differences],
    suite_margin: float,
    alpha: float,
    requirements: Sequence[Requirement] = (),
) -> Decision:
    """Decides about all metrics, their weighted mean, and what must be proven besides.

    Args:
        measured: at least one metric, each with at least one difference.
        suite_margin: the allowed loss of the weighted mean, as a share of the range.
        alpha: the error rate, half of it for the metrics and half for the mean.
        requirements: what must be proven, each at `alpha`.
    """
    tasks, suite = decide_tasks(measured, alpha), _suite(measured, suite_margin, alpha)
    return Decision(tasks, suite, [prove(requirement, alpha) for requirement in requirements])


def prove(requirement: Requirement, alpha: float) -> Proof:
    """Tests a requirement."""
    reach = 1.0 if requirement.strata is None else np.ones(int(requirement.strata.max()) + 1)
    lowest = None
    if not requirement.unknown:
        lowest = lowest_change(
            requirement.values, requirement.clusters, reach, alpha, requirement.strata
        )
    return proof_of(
        requirement.name,
        len(requirement.values),
        float(requirement.values.mean()),
        lowest,
        requirement.margin,
        requirement.critical,
        requirement.unknown,
    )


def proof_of(
    name: str,
    n: int,
    difference: float,
    lowest: float | None,
    margin: float,
    critical: bool,
    unknown: str = "",
) -> Proof:
    """The outcome of a test: its verdict is PASS if the whole one-sided interval is inside the margin.
    Its arguments are those of `Requirement` and `Proof`."""
    is_proven = lowest is not None and lowest > -margin
    multiple = None
    if lowest is not None and not is_proven:
        multiple = samples_that_settle(difference - lowest, difference + margin)
    missing: Verdict = "INCONCLUSIVE" if critical else "WARN"
    return Proof(
        name=name,
        n=n,
        difference=difference,
        lowest=lowest,
        margin=margin,
        verdict="PASS" if is_proven else missing,
        more=multiple,
        unknown=unknown,
    )


def decide_tasks(measured: Sequence[Differences], alpha: float) -> list[TaskDecision]:
    """Decides about each metric on its own, with Holm's correction over all of them at alpha / 2."""
    changes = [paired(m.values, m.clusters, 1.0, symmetric=m.symmetric) for m in measured]
    tested = [i for i, change in enumerate(changes) if change.p_worse is not None]
    adjusted = dict(zip(tested, holm([changes[i].p_worse or 0.0 for i in tested]), strict=True))
    tasks = []
    for i, (metric, change) in enumerate(zip(measured, changes, strict=True)):
        verdict: TaskVerdict = "no loss shown"
        if i in adjusted and adjusted[i] <= alpha / 2:
            verdict = "BLOCK" if change.difference < -metric.margin else "WARN"
        tasks.append(TaskDecision(metric.name, change, metric.margin, adjusted.get(i), verdict))
    return tasks


def _suite(measured: Sequence[Differences], margin: float, alpha: float) -> SuiteDecision:
    """The mean of the metrics' means by weight."""
    pooled = mean_of_means([(m.values, m.clusters) for m in measured], [m.weight for m in measured])
    change = paired(*pooled, symmetric=all(metric.symmetric for metric in measured))
    lowest = lowest_change(*pooled[:3], alpha, pooled.strata)
    if change.p_worse is None or lowest is None:
        return SuiteDecision(change, margin, None, "INCONCLUSIVE", None)
    if change.p_worse <= alpha / 2 and change.difference < -margin / 4:
        return SuiteDecision(change, margin, lowest, "BLOCK", None)
    if lowest > -margin:
        significant = change.p_worse <= alpha / 2
        return SuiteDecision(change, margin, lowest, "WARN" if significant else "PASS", None)
    multiple = samples_that_settle(change.difference - lowest, change.difference + margin)
    return SuiteDecision(change, margin, lowest, "INCONCLUSIVE", multiple)
