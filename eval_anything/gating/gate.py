"""`gate`: compares a candidate run with its baselines by a policy; a verdict with its reasons.

result = gate(candidate="runs/new", policy="policy.yaml")
assert result.verdict == "PASS"
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import UNSET, Struct

from eval_anything.comparison.compare import Comparison, MetricChange, compare_sides
from eval_anything.comparison.sides import Side, read_side, samples_of
from eval_anything.errors import GateExit, UserError, near
from eval_anything.gating.checks import Check, Rule, floor_check, run_check
from eval_anything.gating.decide import (
    Decision,
    Differences,
    Proof,
    SuiteDecision,
    TaskDecision,
    Verdict,
    decide,
    decide_tasks,
    losses,
    worst,
)
from eval_anything.gating.policy import GatePolicy, TaskRule, find_policy, read_policy
from eval_anything.gating.requirements import (
    NothingPairedError,
    TaskSample,
    changes_of,
    is_corrected,
    requirements_of,
    values_and_clusters,
)
from eval_anything.gating.sequence import (
    Changes,
    SequenceNote,
    decide_stored,
    extend,
    note_of,
    read_sequence,
    write_sequence,
)
from eval_anything.runs.results_file import JudgeQuality


class Against(Struct, frozen=True):
    """The candidate against one baseline; `advisory` holds metrics that may only warn, `proofs` what the
    policy wants proven, `corrected` whether labels correct what they can."""

    baseline: str
    verdict: Verdict
    suite: SuiteDecision
    tasks: list[TaskDecision]
    advisory: list[TaskDecision]
    comparison: Comparison
    proofs: list[Proof] = []
    corrected: bool = False


class GateResult(Struct, frozen=True, kw_only=True):
    """The verdict with its reasons and their details. `exit_code` is that of the command line."""

    verdict: Verdict
    exit_code: int
    reasons: list[str]
    candidate: str
    policy: str
    against: list[Against] = []
    checks: list[Check] = []
    sequence: SequenceNote | None = None


def gate(
    candidate: str | Path,
    policy: str | Path,
    baseline: str | Path | None = None,
    sequence: str | Path | None = None,
) -> GateResult:
    """Compares a run with its baselines and decides whether it is worse.

    A wrong policy, or runs that cannot be compared, give the verdict INVALID, never an exception.

    Args:
        candidate: the run directory of the candidate.
        policy: a policy file, or the name of a suite with a bundled policy (`micro`).
        baseline: a run directory, in place of the baselines that the policy names.
        sequence: the file of a sequence, which this gate begins or goes on with: it decides as soon as
            it can, and its error rate holds however often it is run again with more samples.

    Raises:
        OSError: a file cannot be read.

    Example:
        >>> gate("runs/missing", policy="micro").verdict
        'INVALID'
    """
    try:
        return _gate(
            Path(candidate),
            find_policy(policy),
            Path(baseline) if baseline is not None else None,
            Path(sequence) if sequence is not None else None,
        )
    except NothingPairedError as error:
        if sequence is None:
            return _invalid_result(candidate, policy, error)
        return GateResult(
            verdict="INCONCLUSIVE",
            exit_code=GateExit.INCONCLUSIVE,
            reasons=[str(error)],
            candidate=str(candidate),
            policy=str(policy),
            sequence=SequenceNote(str(sequence), 0, 0, 0, decided=False),
        )
    except UserError as error:
        return _invalid_result(candidate, policy, error)


def _invalid_result(candidate: str | Path, policy: str | Path, error: UserError) -> GateResult:
    return GateResult(
        verdict="INVALID",
        exit_code=GateExit.INVALID,
        reasons=[str(error)],
        candidate=str(candidate),
        policy=str(policy),
    )


def _gate(
    candidate: Path, policy_path: Path, baseline: Path | None, sequence: Path | None
) -> GateResult:
    policy = read_policy(policy_path)
    side = read_side(candidate)
    rules = rules_of(policy, side)
    invalid = _invalid(policy, rules, side)
    paths = _baselines(policy, policy_path, baseline)
    bases = [read_side(path) for path in paths]
    if sequence is None:
        against = [_against(policy, rules, base, side, policy.alpha / len(bases)) for base in bases]
        note = None
    else:
        bases = [_answered_by(side, base) for base in bases]
        against, note = _in_sequence(policy, rules, bases, side, sequence)
    invalid += [
        reason
        for compared, base in zip(against, bases, strict=True)
        for reason in _unpaired(policy, rules, compared.comparison, base)
    ]
    checks = [floor_check(rule, side) for rule in rules if rule.rule.floor is not None]
    checks += [run_check(name, rule, side, bases[0]) for name, rule in policy.metrics.items()]
    verdicts: list[Verdict] = [compared.verdict for compared in against]
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
        sequence=note,
    )


def rules_of(policy: GatePolicy, side: Side) -> list[Rule]:
    """Rules for the primary metric of every task of the run, and for the metrics that the policy names.
    UserError if the run does not have one of these."""
    tasks = side.results.tasks
    rules = {}
    for task in side.file.tasks:
        defaults = policy.defaults
        primary = tasks[task].primary
        rule = Rule(task, primary, defaults.tier, defaults.margin, TaskRule(), is_primary=True)
        rules[rule.name] = rule
    for name, task_rule in policy.tasks.items():
        task, _, metric = name.partition(":")
        if task not in tasks:
            hint = near(task, tasks)
            raise UserError(f"the policy names {task!r}, which {side.path} does not have.{hint}")
        metric = metric or tasks[task].primary
        metrics = tasks[task].metrics
        if metric not in metrics:
            raise UserError(f"the policy names {name!r}: no such metric.{near(metric, metrics)}")
        tier = task_rule.tier or policy.defaults.tier
        margin = policy.defaults.margin if task_rule.margin is None else task_rule.margin
        is_primary = metric == tasks[task].primary
        rules[f"{task}:{metric}"] = Rule(task, metric, tier, margin, task_rule, is_primary)
    if all(rule.tier == "advisory" for rule in rules.values()):
        raise UserError("the policy calls every metric advisory: nothing is left to gate")
    return list(rules.values())


def _baselines(policy: GatePolicy, policy_path: Path, override: Path | None) -> list[Path]:
    if override is not None:
        return [override]
    names = [name for name in (policy.baseline.pin, policy.baseline.also) if name is not None]
    if not names:
        raise UserError(f"{policy_path} names no baseline: add `baseline:`, or give --baseline RUN")
    return [policy_path.parent / name for name in names]


def _invalid(policy: GatePolicy, rules: list[Rule], side: Side) -> list[str]:
    """Reasons why metrics of the candidate cannot be gated: INVALID values, judges not calibrated."""
    reasons = []
    for rule in rules:
        if rule.tier == "advisory":
            continue
        metric = side.results.tasks[rule.task].metrics[rule.metric]
        if metric.invalid is not UNSET:
            reasons.append(f"{rule.name} is INVALID in {side.path}: {metric.invalid}")
            continue
        if policy.corrected and metric.corrected is not UNSET:
            continue  # labels make up for the judge's errors, whatever they are
        if metric.judge is not UNSET:  # a judge with a model: scores by code have no error
            reasons += _judge_reasons(policy, rule, metric.judge, metric.calibration or None)
    return reasons


def _judge_reasons(policy: GatePolicy, rule: Rule, name: str, quality: JudgeQuality | None) -> list[str]:
    if quality is None:
        if policy.allow_uncalibrated:
            return []
        return [
            f"{rule.name}: its judge {name} is not calibrated. Run `eval-anything judges calibrate "
            f"{name}`, or set allow_uncalibrated in the policy"
        ]
    reasons = []
    for statistic, minimum in rule.rule.min_judge.items():
        measured = quality.figures.get(statistic)
        if measured is None:
            hint = near(statistic, quality.figures)
            reasons.append(f"{rule.name}: judge {name} was not measured by {statistic!r}.{hint}")
        elif measured < minimum:
            under = f"{statistic} {measured:.3f}, under {minimum:g}"
            reasons.append(f"{rule.name}: judge {name} has {under}")
    return reasons


def _changes(policy: GatePolicy, rules: list[Rule], base: Side, side: Side) -> Changes:
    """Changes by each rule. UserError if the baseline lacks its task."""
    for rule in rules:
        if rule.task not in base.file.tasks:
            raise UserError(f"{base.path} has no {rule.task}, which the policy gates: run it there too")
    return [(rule, changes_of(rule, base, side, policy.corrected)) for rule in rules]


def _against(policy: GatePolicy, rules: list[Rule], base: Side, side: Side, alpha: float) -> Against:
    changes = _changes(policy, rules, base, side)
    gated = [_differences(*change) for change in changes if change[0].tier != "advisory"]
    requirements = requirements_of(policy, changes)
    decision = decide(gated, policy.suite.margin, alpha, requirements)
    return _decided(policy, decision, changes, base, side, alpha)


def _answered_by(side: Side, base: Side) -> Side:
    """A baseline with the samples alone that the candidate has answered so far."""
    outlines = {}
    for task, of_task in base.outlines.items():
        answered = samples_of(side.outlines.get(task, ()))
        outlines[task] = [o for o in of_task if (o.sample_id, o.item) in answered]
    return base._replace(outlines=outlines)


def _in_sequence(
    policy: GatePolicy, rules: list[Rule], bases: list[Side], side: Side, path: Path
) -> tuple[list[Against], SequenceNote]:
    """The candidate against its baselines by a stored sequence, which is written with its new steps.

    UserError for a policy that decides by corrected numbers: those of few labels have no bounds.
    """
    if policy.corrected:
        raise UserError(
            "--sequential decides by scores as they are: leave `corrected: true` out of the policy, or "
            "gate without --sequential"
        )
    alpha = policy.alpha / len(bases)
    changes = [_changes(policy, rules, base, side) for base in bases]
    sequence = extend(read_sequence(path, policy), bases, side, changes, path)
    decisions = [decide_stored(sequence, policy, of_base, alpha) for of_base in changes]
    against = [
        _decided(policy, sequential.decision, of_base, base, side, alpha)
        for sequential, of_base, base in zip(decisions, changes, bases, strict=True)
    ]
    write_sequence(sequence, path)
    return against, note_of(sequence, decisions, bases, side, path)


def _decided(
    policy: GatePolicy, decision: Decision, changes: Changes, base: Side, side: Side, alpha: float
) -> Against:
    """A decision with the metrics that may only warn, and the comparison of the runs."""
    advisory = [_differences(*change) for change in changes if change[0].tier == "advisory"]
    warned = [
        msgspec.structs.replace(task, verdict="WARN") if task.verdict == "BLOCK" else task
        for task in decide_tasks(advisory, alpha)
    ]
    verdict = worst([decision.verdict, *losses(warned)])
    return Against(
        baseline=str(base.path),
        verdict=verdict,
        suite=decision.suite,
        tasks=decision.tasks,
        advisory=warned,
        comparison=compare_sides(base, side, policy.corrected),
        proofs=decision.proofs,
        corrected=policy.corrected,
    )


def _differences(rule: Rule, samples: Sequence[TaskSample]) -> Differences:
    values, clusters = values_and_clusters(samples)
    symmetric = not is_corrected(samples)
    return Differences(rule.name, values, clusters, rule.margin, rule.rule.weight, symmetric)


def _unpaired(policy: GatePolicy, rules: list[Rule], comparison: Comparison, base: Side) -> list[str]:
    """Reasons for INVALID from the comparison: metrics that are INVALID in a run, or have too many
    samples with a value in only one run."""
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


def _at_worst(lowest: float | None) -> str:
    return "with no known spread" if lowest is None else f"at worst {lowest:+.2%}"


def _unproven(margin: float, multiple: float | None) -> str:
    remedy = f"; {multiple:g} times the samples would settle it" if multiple else ""
    return f"the margin of {margin:.1%} is not proven{remedy}"


def _reasons(against: list[Against], checks: list[Check]) -> list[str]:
    """Reasons for a verdict other than PASS, for people."""
    reasons = []
    for compared in against:
        for task in (*compared.tasks, *compared.advisory):
            if task.verdict in ("BLOCK", "WARN"):
                beyond = "beyond" if task.verdict == "BLOCK" else "within"
                reasons.append(
                    f"{task.name} is worse than {compared.baseline} by {-task.change.difference:.1%} of "
                    f"its range (p {task.p_holm:.2g}), {beyond} its margin of {task.margin:.1%}"
                )
        suite = compared.suite
        lost = f"the suite changed by {suite.change.difference:+.2%} against {compared.baseline}"
        if suite.verdict == "BLOCK":
            reasons.append(f"{lost} (p {suite.change.p_worse:.2g})")
        elif suite.verdict == "INCONCLUSIVE":
            reasons.append(f"{lost}, {_at_worst(suite.lowest)}: {_unproven(suite.margin, suite.more)}")
        reasons += [
            f"{proof.name} changed by {proof.difference:+.2%} against {compared.baseline}, "
            f"{proof.unknown or _at_worst(proof.lowest)} (n {proof.n}): "
            f"{_unproven(proof.margin, proof.more)}"
            for proof in compared.proofs
            if proof.verdict != "PASS"
        ]
    return reasons + [check.reason for check in checks if check.reason]
