"""Results of a run from its records, and the exit code with its reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from eval_anything.content import NO_TOKENS, Usage
from eval_anything.errors import Exit, UserError
from eval_anything.evaluation.modalities import by_modality
from eval_anything.evaluation.pipeline import Pending
from eval_anything.evaluation.plan import RunPlan
from eval_anything.evaluation.reasons import reasons_of
from eval_anything.evaluation.results import aggregates, in_task_order, invalid_metrics, score_task
from eval_anything.judges.assemble import TaskScorers
from eval_anything.judges.calibration.effects import with_effects
from eval_anything.judges.calibration.store import quality_of
from eval_anything.runs.directory import Log, Outline, read_kept_and_replaced
from eval_anything.runs.results_file import (
    AggregateResult,
    CostShare,
    JudgeResult,
    RequestCost,
    Results,
    RunCost,
    TaskResult,
    read_results,
)
from eval_anything.runs.spending_file import SpendingFile
from eval_anything.servers.prices import read_prices
from eval_anything.tasks.task import Task


class Outcome(NamedTuple):
    """Outcome of an evaluation: results, directory of the run, tasks, exit code and its reasons.

    `kept_verdicts` counts the verdicts that each judge had given before this call, which used them.
    """

    results: Results
    run: Path
    tasks: dict[str, Task]
    exit_code: Exit
    reasons: list[str]
    kept_verdicts: Mapping[str, int] = {}


def make_outcome(max_failed: float, plan: RunPlan, run: Path, pending: Pending) -> Outcome:
    """Results of all tasks of a run from its records, and the exit code.

    Args:
        max_failed: share (0..1) of failed samples above which a task makes the run fail.
        plan: the tasks with their scorers.
        run: directory of the run.
        pending: samples that are not on record because a server failed.
    """
    logs = {name: read_kept_and_replaced(run, name) for name in plan.tasks}
    records = {name: log[0] for name, log in logs.items()}
    records |= {name: in_task_order(task, records[name]) for name, task in plan.own_tasks.items()}
    canary_logs = {name: read_kept_and_replaced(run, name, "canaries") for name in plan.tasks}
    canaries = {name: log[0] for name, log in canary_logs.items()}
    scored = {
        name: score_task(task, plan.scorers[name], records[name], canaries[name])
        for name, task in plan.own_tasks.items()
    }
    combined: dict[str, AggregateResult] = {}
    for suite in plan.suites:
        combined |= {f"{suite.name}/{k}": v for k, v in aggregates(suite, scored).items()}
    left_out = {name: count - plan.answered[name] for name, count in plan.counts.items()}
    results = {
        name: msgspec.structs.replace(
            with_effects(task.result, plan.scorers[name].scorers), left_out=left_out[name] or UNSET
        )
        for name, task in scored.items()
    }
    for external in plan.external:
        results |= external.results(run)
        combined |= _unchanged_aggregates(external.source, run, results) | external.aggregates(run)
    paid = [o for log in (*logs.values(), *canary_logs.values()) for part in log for o in part]
    run_results = Results(
        model=plan.model.name,
        tasks=results,
        aggregates=combined,
        modalities=by_modality(plan.own_tasks, scored),
        judges=_judges(plan.scorers),
        cost=_cost(plan, paid),
        pending=pending.count,
        reasons=reasons_of(records, plan.scorers, pending),
        run=str(run),
        max_failed=max_failed,
    )
    sentences = _reasons(max_failed, results)
    code = Exit.FAILED if sentences else Exit.DONE
    waiting = _waiting(pending)
    if waiting:
        code = Exit.INFRASTRUCTURE
    kept_verdicts = Counter[str]()
    for scorer in plan.all_scorers:
        kept_verdicts[scorer.name] += scorer.kept_verdicts
    return Outcome(run_results, run, plan.tasks, code, [*sentences, *waiting], +kept_verdicts)


def _unchanged_aggregates(
    source: str, run: Path, results: Mapping[str, TaskResult]
) -> dict[str, AggregateResult]:
    """Aggregates of a source's tasks in the results so far, which a call that names the tasks alone
    cannot make again; none if one of the tasks has changed."""
    try:
        before = read_results(run)
    except UserError:
        return {}
    prefix = f"{source}/"
    if any(results.get(name) != task for name, task in before.tasks.items() if name.startswith(prefix)):
        return {}
    return {name: entry for name, entry in before.aggregates.items() if name.startswith(prefix)}


def _waiting(pending: Pending) -> list[str]:
    """Sentences about pending samples and canaries."""
    sentences = []
    if pending.samples:
        sentences.append(
            f"{pending.count} samples are pending: {pending.reason}. The same command goes on with them."
        )
        if pending.failed and pending.alive is not None:
            sentences[-1] += " --skip-failing skipped nothing: the server answers no other sample now."
        elif pending.failed:
            sentences[-1] += " If a server always fails them, --skip-failing ends the run without them."
    if pending.canaries:
        sentences.append(
            f"{len(pending.canaries)} canaries are pending: {pending.canaries[0]}. "
            "The same command goes on with them."
        )
    return sentences


def _reasons(max_failed: float, results: Mapping[str, TaskResult]) -> list[str]:
    reasons = [f"{name} is INVALID: {reason}" for name, reason in invalid_metrics(results)]
    for name, task in results.items():
        if task.failed > max_failed * task.samples:
            reasons.append(
                f"{name}: the model failed {task.failed} of {task.samples} samples, "
                f"more than --max-failed {max_failed:g} allows"
            )
        if task.skipped > max_failed * task.samples:
            reasons.append(
                f"{name}: {task.skipped} of {task.samples} samples were skipped, more than "
                f"--max-failed {max_failed:g} allows; --retry-failed skipped asks them again"
            )
    return reasons


def _judges(scorers: Mapping[str, TaskScorers]) -> dict[str, JudgeResult]:
    return {
        s.name: JudgeResult(
            kind=s.kind,
            fingerprint=s.fingerprint,
            available=s.available,
            calibration="exact" if s.exact else quality_of(s.calibrated_as),
        )
        for task in scorers.values()
        for s in task.scorers
    }


def resume_spending(plan: RunPlan, run: Path, file: SpendingFile) -> None:
    """Adds what a run has spent before to the spending: by its file, or by its records if an older
    version made it. From now on the file gets every payment."""
    paid_as_names = [plan.model.paid_as, *(scorer.paid_as for scorer in plan.all_scorers)]
    if not file.exists and any(paid_as_names):
        kinds: tuple[Log, Log] = ("records", "canaries")
        logs = [part for n in plan.tasks for k in kinds for part in read_kept_and_replaced(run, n, k)]
        outlines = [outline for part in logs for outline in part]
        for paid_as, tokens in _usage_of(plan, outlines).values():
            if paid_as is not None and (tokens.input or tokens.output):
                file.append(paid_as, tokens, calls=len(outlines))
    for payment in file.read():
        plan.spending.add_earlier(payment.model, payment.calls, payment.tokens)
    plan.spending.on_payment = file.append


def _usage_of(plan: RunPlan, records: Sequence[Outline]) -> dict[str, tuple[str | None, Usage]]:
    """Tokens on record of the model and of each judge on a server, with the name that prices them."""
    model = sum((record.usage for record in records if not record.judged), NO_TOKENS)
    by: dict[str, tuple[str | None, Usage]] = {plan.model.name: (plan.model.paid_as, model)}
    for scorer in {s.name: s for s in plan.all_scorers}.values():
        if scorer.paid_as is not None:
            paid = [r for r in records if not r.judged or scorer.name in r.judged]
            scores = [s for r in paid for s in r.scores.values() if s.judge == scorer.name]
            usages = [msgspec.convert(s.details.get("usage", {}), Usage) for s in scores]
            by[f"judge {scorer.name}"] = scorer.paid_as, sum(usages, NO_TOKENS)
    return by


def _cost(plan: RunPlan, records: Sequence[Outline]) -> RunCost:
    """Tokens and money of the model and of each judge, from the usage on record.

    A local model costs no money; the money of a server's model without a known price is None.
    """
    prices = read_prices()
    by = {
        payer: CostShare(tokens=tokens, money=0.0 if paid_as is None else prices.money(paid_as, tokens))
        for payer, (paid_as, tokens) in _usage_of(plan, records).items()
    }
    model = by[plan.model.name].tokens
    amounts = [part.money for part in by.values() if part.money is not None]
    spent = plan.spending.total()
    return RunCost(
        tokens=model,
        money=sum(amounts) if len(amounts) == len(by) else None,
        currency=prices.currency,
        prices=prices.date,
        by=by,
        spent=RequestCost(calls=spent.calls, tokens=spent.tokens, money=spent.money)
        if spent.calls
        else UNSET,
    )
