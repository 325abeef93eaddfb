"""Power before spending: what loss a policy's tasks can show, and how many samples margins need."""

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
    """One gated metric: its n, the standard deviation that a sample's change adds to the mean (per
    root n, as a share of the range, clusters included), the loss that is seen, and the n that sees a
    loss of the margin."""

    name: str
    n: int
    spread: float
    mde: float
    margin: float
    needed: int | None


class GatePlan(Struct, frozen=True):
    """All gated metrics, their weighted mean, and where the spread comes from."""

    tasks: list[TaskPlan]
    suite: TaskPlan
    basis: str


def plan_gate(policy: Path, baseline: Path, pilot: Path | None, correlation: float) -> GatePlan:
    """What gating against `baseline` can show.

    The spread of a paired change comes from a pilot (another run on the same samples) if there is
    one, else from the baseline's repeats, else from the spread of its scores and an assumed
    `correlation` of the two runs' scores: Var = 2 (1 - correlation) Var(score).
    """
    if not 0 <= correlation < 1:
        raise UserError(f"--correlation {correlation:g}: must lie from 0 to below 1")
    found = read_policy(find_policy(policy))
    base = read_side(baseline)
    other = read_side(pilot) if pilot is not None else None
    if other is not None:
        compare_sides(base, other)  # says so if they cannot be compared
    rules = [rule for rule in rules_of(found, base) if rule.tier != "advisory"]
    normal = NormalDist()
    # Each task is tested at alpha / 2 over all tasks (Holm's first step), the suite at alpha / 2.
    factor = normal.inv_cdf(1 - found.alpha / 2 / len(rules)) + normal.inv_cdf(_POWER)
    suite_factor = normal.inv_cdf(1 - found.alpha / 2) + normal.inv_cdf(_POWER)
    tasks, variance = [], 0.0
    whole = sum(rule.rule.weight for rule in rules)
    for rule in rules:
        n, stderr = _stderr(rule, base, other, correlation)
        variance += (rule.rule.weight / whole * stderr) ** 2
        tasks.append(_plan(rule.name, n, stderr, factor, rule.margin))
    count = sum(task.n for task in tasks)
    suite = _plan("all gated metrics", count, math.sqrt(variance), suite_factor, found.suite.margin)
    return GatePlan(tasks, suite, _basis(base, other, correlation))


def _plan(name: str, n: int, stderr: float, factor: float, margin: float) -> TaskPlan:
    mde = factor * stderr
    needed = math.ceil(n * (mde / margin) ** 2) if margin > 0 else None
    return TaskPlan(name, n, stderr * math.sqrt(n), mde, margin, needed)


def _stderr(rule: Rule, base: Side, other: Side | None, correlation: float) -> tuple[int, float]:
    """n and the standard error of a mean change, as a share of the metric's range."""
    if other is not None:
        found = differences(rule, base, other)
        return _error(found.values, found.clusters, rule)
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
    found = spread(values - values.mean(), np.asarray(codes))
    if found is None:
        raise UserError(f"{rule.name}: one cluster says nothing about the spread")
    return len(values), math.sqrt(found.wide)


def _basis(base: Side, other: Side | None, correlation: float) -> str:
    if other is not None:
        return f"The spread is that between {base.path} and {other.path}."
    if base.file.repeats > 1:
        return f"The spread is that between the {base.file.repeats} repeats of {base.path}."
    return (
        f"The spread is that of the scores in {base.path}, with a correlation of {correlation:g} "
        "assumed between two runs. A second run (--pilot) or --repeats would measure it."
    )
