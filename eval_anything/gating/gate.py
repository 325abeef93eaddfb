"""`gate`: a candidate run, its baselines and a policy become a verdict with its reasons.

result = gate(candidate="runs/new", policy="policy.yaml")
assert result.verdict == "PASS"
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

import msgspec
import numpy as np
from msgspec import UNSET, Struct

from eval_anything.comparison import Comparison, MetricChange, Side, compare_sides, pair, read_side
from eval_anything.errors import UserError, near
from eval_anything.gating.checks import Check, Rule, floor_check, run_check
from eval_anything.gating.decide import (
    Differences,
    SuiteDecision,
    TaskDecision,
    Verdict,
    decide,
    decide_tasks,
    worst,
)
from eval_anything.gating.policy import GatePolicy, TaskRule, find_policy, read_policy
from eval_anything.runs.results_file import JudgeQuality
from eval_anything.statistics.intervals import cluster_codes


class GateExit(IntEnum):
    """The gate's own exit codes."""

    PASS = 0
    BLOCK = 1
    INCONCLUSIVE = 2
    INVALID = 3
    INFRASTRUCTURE = 4


class Against(Struct, frozen=True):
    """The candidate against one baseline; `advisory` holds metrics that may only warn."""

    baseline: str
    verdict: Verdict
    suite: SuiteDecision
    tasks: list[TaskDecision]
    advisory: list[TaskDecision]
    comparison: Comparison


class GateResult(Struct, frozen=True, kw_only=True):
    """The verdict, with all that led to it. `exit_code` is that of the command line."""

    verdict: Verdict
    exit_code: int
    reasons: list[str]
    candidate: str
    policy: str
    against: list[Against] = []
    checks: list[Check] = []


def gate(candidate: str | Path, policy: str | Path, baseline: str | Path | None = None) -> GateResult:
    """Gates a run directory. `policy` is a file, or a suite with a bundled one (`micro`); `baseline`
    takes the place of the policy's own.

    A wrong policy, or runs that cannot be compared, give the verdict INVALID, never an exception;
    OSError means that the machine failed.
    """
    try:
        return _gate(
            Path(candidate), find_policy(policy), Path(baseline) if baseline is not None else None
        )
    except UserError as error:
        return GateResult(
            verdict="INVALID",
            exit_code=GateExit.INVALID,
            reasons=[str(error)],
            candidate=str(candidate),
            policy=str(policy),
        )


def _gate(candidate: Path, policy_path: Path, baseline: Path | None) -> GateResult:
    policy = read_policy(policy_path)
    side = read_side(candidate)
    rules = rules_of(policy, side)
    invalid = _invalid(policy, rules, side)
    paths = _baselines(policy, policy_path, baseline)
    bases = [read_side(path) for path in paths]
    against = [_against(policy, rules, base, side, policy.alpha / len(bases)) for base in bases]
    invalid += [
        reason
        for found, base in zip(against, bases, strict=True)
        for reason in _unpaired(policy, rules, found.comparison, base)
    ]
    checks = [floor_check(rule, side) for rule in rules if rule.rule.floor is not None]
    checks += [run_check(name, rule, side, bases[0]) for name, rule in policy.metrics.items()]
    verdicts: list[Verdict] = [found.verdict for found in against]
    verdicts += [check.verdict for check in checks]
    verdict: Verdict = "INVALID" if invalid else worst(verdicts)
    return GateResult(
        verdict=verdict,
        exit_code=GateExit["PASS" if verdict == "WARN" else verdict],
        reasons=invalid or _reasons(against, checks),
        candidate=str(candidate),
        policy=str(policy_path),
        against=against,
        checks=checks,
    )


def rules_of(policy: GatePolicy, side: Side) -> list[Rule]:
    """One rule for the primary metric of every task of the run, and those that the policy adds.
    UserError if it names what the run does not have."""
    tasks = side.results.tasks
    rules = {}
    for task in side.file.tasks:
        defaults = policy.defaults
        rule = Rule(task, tasks[task].primary, defaults.tier, defaults.margin, TaskRule())
        rules[rule.name] = rule
    for name, given in policy.tasks.items():
        task, _, metric = name.partition(":")
        if task not in tasks:
            raise UserError(f"the policy names {task!r}, which {side.path} has not.{near(task, tasks)}")
        metric = metric or tasks[task].primary
        metrics = tasks[task].metrics
        if metric not in metrics:
            raise UserError(f"the policy names {name!r}: no such metric.{near(metric, metrics)}")
        tier = given.tier or policy.defaults.tier
        margin = policy.defaults.margin if given.margin is None else given.margin
        rules[f"{task}:{metric}"] = Rule(task, metric, tier, margin, given)
    if all(rule.tier == "advisory" for rule in rules.values()):
        raise UserError("the policy calls every metric advisory: nothing is left to gate")
    return list(rules.values())


def _baselines(policy: GatePolicy, policy_path: Path, given: Path | None) -> list[Path]:
    if given is not None:
        return [given]
    names = [name for name in (policy.baseline.pin, policy.baseline.also) if name is not None]
    if not names:
        raise UserError(f"{policy_path} names no baseline: add `baseline:`, or give --baseline RUN")
    return [policy_path.parent / name for name in names]


def _invalid(policy: GatePolicy, rules: list[Rule], side: Side) -> list[str]:
    """Why the candidate's numbers cannot gate: INVALID metrics, judges that nobody has measured."""
    reasons = []
    for rule in rules:
        if rule.tier == "advisory":
            continue
        result = side.results.tasks[rule.task].metrics[rule.metric]
        if result.invalid is not UNSET:
            reasons.append(f"{rule.name} is INVALID in {side.path}: {result.invalid}")
            continue
        if result.judge is not UNSET:  # one with a model behind it: code does not err
            reasons += _judge_reasons(policy, rule, result.judge, result.calibration or None)
    return reasons


def _judge_reasons(policy: GatePolicy, rule: Rule, name: str, quality: JudgeQuality | None) -> list[str]:
    if quality is None:
        if policy.allow_uncalibrated:
            return []
        return [
            f"{rule.name}: nobody has measured its judge {name}. Run `eval-anything judges calibrate "
            f"{name}`, or set allow_uncalibrated in the policy"
        ]
    reasons = []
    for figure, least in rule.rule.min_judge.items():
        value = quality.figures.get(figure)
        if value is None:
            hint = near(figure, quality.figures)
            reasons.append(f"{rule.name}: judge {name} was not measured by {figure!r}.{hint}")
        elif value < least:
            reasons.append(f"{rule.name}: judge {name} has {figure} {value:.3f}, under {least:g}")
    return reasons


def _against(policy: GatePolicy, rules: list[Rule], base: Side, side: Side, alpha: float) -> Against:
    comparison = compare_sides(base, side)
    gated: list[Differences] = []
    advisory: list[Differences] = []
    for rule in rules:
        if rule.task not in comparison.tasks:
            raise UserError(f"{base.path} has no {rule.task}, which the policy gates: run it there too")
        found = differences(rule, base, side)
        (advisory if rule.tier == "advisory" else gated).append(found)
    decision = decide(gated, policy.suite.margin, alpha)
    warned = [
        msgspec.structs.replace(task, verdict="WARN" if task.verdict != "PASS" else "PASS")
        for task in decide_tasks(advisory, alpha)
    ]
    verdict = worst([decision.verdict, *(task.verdict for task in warned)])
    return Against(str(base.path), verdict, decision.suite, decision.tasks, warned, comparison)


def differences(rule: Rule, base: Side, side: Side) -> Differences:
    """Paired differences of one metric. UserError if nothing is paired."""
    rows, _ = pair(base.outlines[rule.task], side.outlines[rule.task], rule.metric)
    if not rows:
        raise UserError(f"{rule.name}: no sample has a value in both {base.path} and {side.path}")
    score = next(o.scores[rule.metric] for o in side.outlines[rule.task] if rule.metric in o.scores)
    low, high = score.range
    up = (1.0 if score.better == "higher" else -1.0) / (high - low)
    values = up * np.array([row.candidate - row.base for row in rows])
    codes = cluster_codes([row.cluster for row in rows])
    return Differences(rule.name, values, codes, rule.margin, rule.rule.weight)


def _unpaired(policy: GatePolicy, rules: list[Rule], comparison: Comparison, base: Side) -> list[str]:
    """Metrics of which too many samples have a value in one run alone, or no value to believe."""
    changes: dict[str, MetricChange] = {m.name: m for m in comparison.metrics}
    reasons = []
    for rule in rules:
        change = changes.get(rule.name)
        if change is None or rule.tier == "advisory":
            continue
        if change.invalid:
            reasons.append(f"{rule.name}: {change.invalid}")
        share = change.unpaired / (change.unpaired + change.change.n)
        if share > policy.max_unpaired:
            reasons.append(
                f"{rule.name}: {change.unpaired} samples have a value in only one of {base.path} and "
                f"the candidate ({share:.1%}, {policy.max_unpaired:.1%} is allowed)"
            )
    return reasons


def _reasons(against: list[Against], checks: list[Check]) -> list[str]:
    """What a person should read first."""
    reasons = []
    for found in against:
        for task in (*found.tasks, *found.advisory):
            if task.verdict in ("BLOCK", "WARN"):
                beyond = "beyond" if task.verdict == "BLOCK" else "within"
                reasons.append(
                    f"{task.name} is worse than {found.baseline} by {-task.change.difference:.1%} of "
                    f"its range (p {task.p_holm:.2g}), {beyond} its margin of {task.margin:.1%}"
                )
        suite = found.suite
        lost = f"the suite changed by {suite.change.difference:+.2%} against {found.baseline}"
        if suite.verdict == "BLOCK":
            reasons.append(f"{lost} (p {suite.change.p_worse:.2g})")
        elif suite.verdict == "INCONCLUSIVE":
            lowest = "with no known spread" if suite.lowest is None else f"at worst {suite.lowest:+.2%}"
            more = f"; {suite.more:g} times the samples would settle it" if suite.more else ""
            reasons.append(f"{lost}, {lowest}: the margin of {suite.margin:.1%} is not proven{more}")
    return reasons + [check.reason for check in checks if check.reason]
