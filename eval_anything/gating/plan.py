"""Power analysis before a run: losses that a policy can detect, and numbers of samples it needs."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import NormalDist

import numpy as np
from msgspec import Struct

from eval_anything.comparison import Side, by_sample, compare_sides, read_side
from eval_anything.errors import UserError
from eval_anything.gating.checks import Rule
from eval_anything.gating.gate import differences, rules_of
from eval_anything.gating.policy import find_policy, read_policy
from eval_anything.statistics.intervals import Floats, cluster_codes, spread

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


class GatePlan(Struct, frozen=True):
    """Plans of all gated metrics and of their weighted mean; `basis` names the source of the spread."""

    tasks: list[TaskPlan]
    suite: TaskPlan
    basis: str


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
    tasks, variance = [], 0.0
    total_weight = sum(rule.rule.weight for rule in rules)
    for rule in rules:
        n, stderr = _stderr(rule, base, other, correlation)
        variance += (rule.rule.weight / total_weight * stderr) ** 2
        tasks.append(_plan(rule.name, n, stderr, factor, rule.margin))
    count = sum(task.n for task in tasks)
    stderr = math.sqrt(variance)
    suite = _plan("all gated metrics", count, stderr, suite_factor, gate_policy.suite.margin)
    return GatePlan(tasks, suite, _basis(base, other, correlation))


def _plan(name: str, n: int, stderr: float, factor: float, margin: float) -> TaskPlan:
    mde = factor * stderr
    needed = math.ceil(n * (mde / margin) ** 2) if margin > 0 else None
    return TaskPlan(name, n, stderr * math.sqrt(n), mde, margin, needed)


def _stderr(rule: Rule, base: Side, other: Side | None, correlation: float) -> tuple[int, float]:
    """Number of samples, and standard error of their mean change as a share of the metric's range."""
    if other is not None:
        paired = differences(rule, base, other)
        return _error(paired.values, paired.clusters, rule)
    scored = by_sample(base.outlines[rule.task], rule.metric).values()
    if not scored:
        raise UserError(f"{rule.name}: no sample has a value in {base.path}")
    repeats = [values for values, _ in scored]
    codes = cluster_codes([outline.source_id for _, outline in scored])
    low, high = base.results.tasks[rule.task].metrics[rule.metric].range
    span = high - low
    if base.file.repeats > 1:  # half the repeats against the other half, as wide as whole means are
        halves = np.array([(np.mean(v[::2]), np.mean(v[1::2])) for v in repeats if len(v) > 1])
        changes = (halves[:, 0] - halves[:, 1]) / math.sqrt(2) / span
        return _error(changes, codes[: len(changes)], rule)
    values = np.array([v[0] for v in repeats]) / span
    n, stderr = _error(values, codes, rule)
    return n, stderr * math.sqrt(2 * (1 - correlation))


def _error(values: Floats, codes: object, rule: Rule) -> tuple[int, float]:
    spread_of_mean = spread(values - values.mean(), np.asarray(codes))
    if spread_of_mean is None:
        raise UserError(f"{rule.name}: one cluster says nothing about the spread")
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
