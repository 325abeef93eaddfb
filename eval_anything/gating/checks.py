"""Floors, ceilings and relative limits, for single metrics and for numbers of the whole run."""

from __future__ import annotations

import math
from typing import NamedTuple

from msgspec import Struct

from eval_anything.comparison.sides import Side
from eval_anything.gating.decide import Verdict
from eval_anything.gating.policy import RunRule, TaskRule, Tier
from eval_anything.statistics.intervals import mean_interval
from eval_anything.statistics.paired import samples_that_settle


class Rule(NamedTuple):
    """Requirements of the policy for one metric of one task, which may be its primary one."""

    task: str
    metric: str
    tier: Tier
    margin: float
    rule: TaskRule
    is_primary: bool

    @property
    def name(self) -> str:
        """`task:metric`."""
        return f"{self.task}:{self.metric}"


class Check(Struct, frozen=True):
    """Result for a floor, ceiling or relative limit; `ci95` is the interval of `value`, or None."""

    name: str
    tier: Tier
    value: float | None
    ci95: tuple[float, float] | None
    limit: str
    verdict: Verdict
    reason: str


def floor_check(rule: Rule, side: Side) -> Check:
    """Compares the metric's interval with its floor (a ceiling where lower is better)."""
    metric = side.results.tasks[rule.task].metrics[rule.metric]
    limit = rule.rule.floor
    assert limit is not None
    if metric.value is None:
        return Check(rule.name, rule.tier, None, None, "", "INVALID", f"{rule.name} has no value")
    is_floor = metric.better == "higher"
    return _limit(rule.name, rule.tier, metric.value, metric.ci95, limit, is_floor)


def _limit(
    name: str,
    tier: Tier,
    measured: float,
    ci95: tuple[float, float] | None,
    limit: float,
    is_floor: bool,
) -> Check:
    """Passes if the whole interval meets the limit, fails if no part does, else is inconclusive."""
    low, high = ci95 if ci95 is not None else (measured, measured)
    word = "floor" if is_floor else "ceiling"
    met, missed = (low >= limit, high < limit) if is_floor else (high <= limit, low > limit)
    verdict: Verdict = "PASS"
    reason = ""
    if not met:
        miss: Verdict = "BLOCK" if missed else "INCONCLUSIVE"
        verdict = miss if tier == "critical" else "WARN"
        doubt = "" if missed else _doubt(measured, low, high, limit)
        ends = f" ({low:.4g} .. {high:.4g})" if ci95 is not None else ""
        reason = f"{name} is {measured:.4g}{ends} against a {word} of {limit:g}{doubt}"
    return Check(name, tier, measured, ci95, f"{word} {limit:g}", verdict, reason)


def _doubt(measured: float, low: float, high: float, limit: float) -> str:
    """Text for a limit inside the interval: how many samples would settle it, in the direction that the
    measured value has."""
    half = measured - low if measured > limit else high - measured
    multiple = samples_that_settle(half, abs(measured - limit))
    remedy = f"; {multiple:g} times the samples would settle it" if multiple is not None else ""
    return f", and its interval does not settle it{remedy}"


def run_check(name: str, rule: RunRule, side: Side, base: Side) -> Check:
    """Compares a number of the whole run with its limits; returns the first that is not met."""
    measured, ci95 = run_metric(name, side)
    if measured is None:
        return Check(name, rule.tier, None, None, "", "WARN", f"{name} is not known for {side.path}")
    checks = []
    if rule.floor is not None:
        checks.append(_limit(name, rule.tier, measured, ci95, rule.floor, is_floor=True))
    if rule.ceiling is not None:
        checks.append(_limit(name, rule.tier, measured, ci95, rule.ceiling, is_floor=False))
    if rule.max_relative is not None:
        base_measured, _ = run_metric(name, base)
        if base_measured is None:
            reason = f"{name} is not known for {base.path}"
            return Check(name, rule.tier, measured, ci95, "", "WARN", reason)
        allowed = base_measured * (1 + rule.max_relative)
        checks.append(_limit(name, rule.tier, measured, None, allowed, is_floor=False))
    return next((check for check in checks if check.verdict != "PASS"), checks[-1])


def run_metric(name: str, side: Side) -> tuple[float | None, tuple[float, float] | None]:
    """A number of the whole run, and its interval if it has one; None if the run does not have it.

    Args:
        name: a `RunMetric`; latencies are in seconds, and money is in the currency of the run.
        side: the run.
    """
    outlines = [o for task_outlines in side.outlines.values() for o in task_outlines]
    if name == "valid_output":
        answered = [o for o in outlines if not o.skipped]
        if not answered:
            return None, None
        valid = [float(not o.failed) for o in answered]
        share = mean_interval(valid, [o.source_id for o in answered], (0.0, 1.0))
        return share.value, (share.low, share.high)
    if name == "cost.money":
        cost = side.results.cost
        return cost.money if cost is not None else None, None
    seconds = sorted(o.latency.total for o in outlines if o.latency.total is not None)
    if not seconds:
        return None, None
    if name == "latency.mean":
        return math.fsum(seconds) / len(seconds), None
    quantile = {"latency.p50": 0.5, "latency.p95": 0.95}[name]
    return seconds[min(len(seconds) - 1, int(quantile * len(seconds)))], None
