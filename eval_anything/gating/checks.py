"""Floors, ceilings and relative limits: of one metric, and of figures of the whole run."""

from __future__ import annotations

import math
from typing import NamedTuple

from msgspec import Struct

from eval_anything.comparison import Side
from eval_anything.gating.decide import Verdict
from eval_anything.gating.policy import RunRule, TaskRule, Tier
from eval_anything.statistics.intervals import mean_interval


class Rule(NamedTuple):
    """What the policy asks of one metric of one task."""

    task: str
    metric: str
    tier: Tier
    margin: float
    rule: TaskRule

    @property
    def name(self) -> str:
        return f"{self.task}:{self.metric}"


class Check(Struct, frozen=True):
    """A floor, ceiling or relative limit: what was measured, and what that means.

    `ci95` is the interval of `value`, where it has one.
    """

    name: str
    tier: Tier
    value: float | None
    ci95: tuple[float, float] | None
    limit: str
    verdict: Verdict
    reason: str


def floor_check(rule: Rule, side: Side) -> Check:
    """The floor (a ceiling where lower is better) against the metric's interval."""
    result = side.results.tasks[rule.task].metrics[rule.metric]
    limit = rule.rule.floor
    assert limit is not None
    if result.value is None:
        return Check(rule.name, rule.tier, None, None, "", "INVALID", f"{rule.name} has no value")
    is_floor = result.better == "higher"
    return _limit(rule.name, rule.tier, result.value, result.ci95, limit, is_floor)


def _limit(
    name: str,
    tier: Tier,
    value: float,
    ci95: tuple[float, float] | None,
    limit: float,
    is_floor: bool,
) -> Check:
    """Kept if the whole interval keeps it, missed if none of it does, else it cannot be told."""
    low, high = ci95 if ci95 is not None else (value, value)
    word = "floor" if is_floor else "ceiling"
    kept, missed = (low >= limit, high < limit) if is_floor else (high <= limit, low > limit)
    verdict: Verdict = "PASS"
    reason = ""
    if not kept:
        miss: Verdict = "BLOCK" if missed else "INCONCLUSIVE"
        verdict = miss if tier == "critical" else "WARN"
        doubt = "" if missed else ", and its interval does not settle it"
        ends = f" ({low:.4g} .. {high:.4g})" if ci95 is not None else ""
        reason = f"{name} is {value:.4g}{ends} against a {word} of {limit:g}{doubt}"
    return Check(name, tier, value, ci95, f"{word} {limit:g}", verdict, reason)


def run_check(name: str, rule: RunRule, side: Side, base: Side) -> Check:
    """A figure of the whole run against its limits; the first that is missed is named."""
    value, ci95 = run_figure(name, side)
    if value is None:
        return Check(name, rule.tier, None, None, "", "WARN", f"{name} is not known for {side.path}")
    checks = []
    if rule.floor is not None:
        checks.append(_limit(name, rule.tier, value, ci95, rule.floor, is_floor=True))
    if rule.ceiling is not None:
        checks.append(_limit(name, rule.tier, value, ci95, rule.ceiling, is_floor=False))
    if rule.max_relative is not None:
        before, _ = run_figure(name, base)
        if before is None:
            reason = f"{name} is not known for {base.path}"
            return Check(name, rule.tier, value, ci95, "", "WARN", reason)
        allowed = before * (1 + rule.max_relative)
        checks.append(_limit(name, rule.tier, value, None, allowed, is_floor=False))
    return next((check for check in checks if check.verdict != "PASS"), checks[-1])


def run_figure(name: str, side: Side) -> tuple[float | None, tuple[float, float] | None]:
    """A figure of a run, and its interval if it has one; None where the run does not say."""
    outlines = [o for found in side.outlines.values() for o in found]
    if name == "valid_output":
        valid = [float(o.error is None) for o in outlines]
        found = mean_interval(valid, [o.source_id for o in outlines], (0.0, 1.0))
        return found.value, (found.low, found.high)
    if name == "cost.money":
        cost = side.results.cost
        return cost.money if cost is not None else None, None
    seconds = sorted(o.latency.total for o in outlines if o.latency.total is not None)
    if not seconds:
        return None, None
    if name == "latency.mean":
        return math.fsum(seconds) / len(seconds), None
    share = {"latency.p50": 0.5, "latency.p95": 0.95}[name]
    return seconds[min(len(seconds) - 1, int(share * len(seconds)))], None
