"""Power analysis before a run: losses that a policy can detect, and numbers of samples it needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np
from msgspec import Struct

from eval_anything.comparison.compare import compare_sides
from eval_anything.comparison.pairs import by_sample
from eval_anything.comparison.sides import Side, read_side
from eval_anything.errors import UserError
from eval_anything.gating.checks import Rule
from eval_anything.gating.gate import rules_of
from eval_anything.gating.policy import find_policy, read_policy
from eval_anything.gating.requirements import (
    TaskSample,
    by_modality,
    changes_of,
    task_margin,
    values_and_clusters,
)
from eval_anything.statistics.intervals import assumed_clump, cluster_codes, spread

_POWER = 0.8


class TaskPlan(Struct, frozen=True):
    """Plan of one gated metric: number of samples `n`, standard deviation that a sample's change adds to
    the mean (per root n, as a share of the range, clusters included), minimum detectable effect `mde`,
    and the number of samples needed to detect a loss of the margin."""

    name: str
    n: int
    spread: float
    mde: float
    margin: float
    needed: int | None


class ProofPlan(Struct, frozen=True):
    """Plan of a loss that must be shown not to be there: number of samples `n`, the smallest loss for
    which an unchanged candidate shows that in 80 % of cases, the policy's margin, the number of samples
    needed for this one (None: no number is enough), and how often `n` samples prove it."""

    name: str
    n: int
    provable: float
    margin: float
    needed: int | None
    power: float


class GatePlan(Struct, frozen=True):
    """Plans of all gated metrics, of their weighted mean and of what must be proven besides; `basis`
    names the source of the spread. `all_proven` is how often an unchanged candidate proves all of it, if
    the samples of modalities that overlap are taken as independent: rather too low."""

    tasks: list[TaskPlan]
    suite: TaskPlan
    basis: str
    proofs: list[ProofPlan] = []
    all_proven: float | None = None


def plan_gate(policy: Path, baseline: Path, pilot: Path | None, correlation: float) -> GatePlan:
    """Computes the losses that gating against `baseline` can detect.

    The spread of a paired change comes from the pilot if there is one, else from the baseline's repeats,
    else from the spread of its scores and an assumed correlation: Var = 2 (1 - correlation) Var(score).

    Args:
        policy: a policy file, or the name of a suite with a bundled policy.
        baseline: the run directory of the baseline.
        pilot: another run on the same samples.
        correlation: assumed correlation of the scores of two runs, from 0 to below 1.

    Raises:
        UserError: the correlation is out of range, the runs cannot be compared, or a metric has no
            spread to estimate from.
    """
    if not 0 <= correlation < 1:
        raise UserError(f"--correlation {correlation:g}: must lie from 0 to below 1")
    gate_policy = read_policy(find_policy(policy))
    base = read_side(baseline)
    other = read_side(pilot) if pilot is not None else None
    if other is not None:
        compare_sides(base, other)  # raises UserError if they cannot be compared
    rules = [rule for rule in rules_of(gate_policy, base) if rule.tier != "advisory"]
    normal = NormalDist()
    # Each task is tested at alpha / 2 over all tasks (Holm's first step), the suite at alpha / 2.
    factor = normal.inv_cdf(1 - gate_policy.alpha / 2 / len(rules)) + normal.inv_cdf(_POWER)
    suite_factor = normal.inv_cdf(1 - gate_policy.alpha / 2) + normal.inv_cdf(_POWER)
    tasks, proofs, variance = [], [], 0.0
    total_weight = sum(rule.rule.weight for rule in rules)
    changes = [(rule, _changes(rule, base, other, correlation)) for rule in rules]
    for rule, samples in changes:
        n, stderr = _error(rule.name, samples)
        variance += (rule.rule.weight / total_weight * stderr) ** 2
        tasks.append(_plan(rule.name, n, stderr, factor, rule.margin))
        margin = task_margin(gate_policy, rule)
        if margin is not None:
            proofs.append(_proof(rule.name, samples, margin, gate_policy.alpha))
    if gate_policy.prove is not None and "modalities" in gate_policy.prove.of:
        margin = gate_policy.prove.margin_of("modalities")
        for name, samples in by_modality(changes).items():
            proofs.append(_proof(name, samples, margin, gate_policy.alpha))
    count = sum(task.n for task in tasks)
    stderr = math.sqrt(variance)
    suite = _plan("all gated metrics", count, stderr, suite_factor, gate_policy.suite.margin)
    all_proven = math.prod(proof.power for proof in proofs) if proofs else None
    return GatePlan(tasks, suite, _basis(base, other, correlation), proofs, all_proven)


def _plan(name: str, n: int, stderr: float, factor: float, margin: float) -> TaskPlan:
    mde = factor * stderr
    needed = math.ceil(n * (mde / margin) ** 2) if margin > 0 else None
    return TaskPlan(name, n, stderr * math.sqrt(n), mde, margin, needed)


def _proof(name: str, samples: Sequence[TaskSample], margin: float, alpha: float) -> ProofPlan:
    """Plan of one proof: by the normal approximation, but no loss is provable that would go unseen."""
    normal = NormalDist()
    n, stderr = _error(name, samples)
    clump = float(assumed_clump(n, len({(sample.task, sample.cluster) for sample in samples})))
    unseen = 1 - alpha ** (clump / n)
    factor = normal.inv_cdf(1 - alpha) + normal.inv_cdf(_POWER)
    needed, power = None, 0.0
    if margin > 0:
        fewest = clump * math.log(alpha) / math.log(1 - margin)
        needed = math.ceil(max(n * (factor * stderr / margin) ** 2, fewest))
    if margin > unseen:
        power = normal.cdf(margin / stderr - normal.inv_cdf(1 - alpha)) if stderr > 0 else 1.0
    return ProofPlan(name, n, max(factor * stderr, unseen), margin, needed, power)


def _changes(rule: Rule, base: Side, other: Side | None, correlation: float) -> list[TaskSample]:
    """Changes that spread as those between two runs do, as shares of the metric's range."""
    if other is not None:
        return changes_of(rule, base, other)
    scored = by_sample(base.outlines[rule.task], rule.metric).values()
    if not scored:
        raise UserError(f"{rule.name}: no sample has a value in {base.path}")
    low, high = base.results.tasks[rule.task].metrics[rule.metric].range
    changes = []
    for values, outline in scored:
        if base.file.repeats == 1:
            change = values[0] * math.sqrt(2 * (1 - correlation))
        elif len(values) > 1:  # half the repeats against the other half, as wide as whole means are
            change = float(np.mean(values[::2]) - np.mean(values[1::2])) / math.sqrt(2)
        else:
            continue
        sides = outline.inputs, outline.outputs
        changes.append(TaskSample(rule.task, outline.source_id, *sides, change / (high - low)))
    return changes


def _error(name: str, samples: Sequence[TaskSample]) -> tuple[int, float]:
    """Number of samples, and the standard error of their mean without the variance between tasks."""
    values, clusters = values_and_clusters(samples)
    tasks = cluster_codes([sample.task for sample in samples])
    means = np.bincount(tasks, values) / np.bincount(tasks)
    spread_of_mean = spread(values - means[tasks], clusters)
    if spread_of_mean is None:
        raise UserError(f"{name}: one cluster says nothing about the spread")
    return len(values), math.sqrt(spread_of_mean.wide)


def _basis(base: Side, other: Side | None, correlation: float) -> str:
    if other is not None:
        return f"The spread is that between {base.path} and {other.path}."
    if base.file.repeats > 1:
        return f"The spread is that between the {base.file.repeats} repeats of {base.path}."
    return (
        f"The spread is that of the scores in {base.path}, with a correlation of {correlation:g} "
        "assumed between two runs. A second run (--pilot) or --repeats would measure it."
    )
