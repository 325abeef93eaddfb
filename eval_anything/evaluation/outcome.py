"""Results of a run from its records, and the exit code with its reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
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
from eval_anything.evaluation.results import aggregates, invalid_metrics, score_task
from eval_anything.judges.assemble import TaskScorers
from eval_anything.judges.calibration.effects import with_effects
from eval_anything.judges.calibration.store import quality_of
from eval_anything.runs.corrected import with_corrections
from eval_anything.runs.directory import Log, Outline, each_outline, read_outlines
from eval_anything.runs.ordered import OrderedRecords
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
    paid = _Paid(plan)
    records = {
        name: OrderedRecords(run, name, task.samples.numbers, on_line=paid.add)
        for name, task in plan.tasks.items()
    }
    scored = {}
    for name, task in plan.own_tasks.items():
        for line in each_outline(run, name, "canaries"):
            paid.add(line)
        canaries = read_outlines(run, name, "canaries")
        scored[name] = score_task(task, plan.scorers[name], records[name], canaries)
    combined: dict[str, AggregateResult] = {}
    for suite in plan.suites:
        combined |= {f"{suite.name}/{k}": v for k, v in aggregates(suite, scored).items()}
    left_out = {name: count - plan.answered[name] for name, count in plan.counts.items()}
    results = {
        name: msgspec.structs.replace(
            with_corrections(
                run, name, with_effects(task.result, plan.scorers[name].scorers, task.grades)
            ),
            left_out=left_out[name] or UNSET,
        )
        for name, task in scored.items()
    }
    for external in plan.external:
        results |= external.results(run)
        combined |= _unchanged_aggregates(external.source, run, results) | external.aggregates(run)
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
        paid = _Paid(plan)
        for outline in (o for n in plan.tasks for kind in kinds for o in each_outline(run, n, kind)):
            paid.add(outline)
        for paid_as, tokens in paid.by_payer().values():
            if paid_as is not None and (tokens.input or tokens.output):
                file.append(paid_as, tokens, calls=paid.records)
    for payment in file.read():
        plan.spending.add_earlier(payment.model, payment.calls, payment.tokens)
    plan.spending.on_payment = file.append


class _Paid:
    """Tokens on record of the model and of each judge on a server."""

    def __init__(self, plan: RunPlan) -> None:
        self._model = plan.model.name, plan.model.paid_as
        self._judges = {s.name: s.paid_as for s in plan.all_scorers if s.paid_as is not None}
        self._by_judge = dict.fromkeys(self._judges, NO_TOKENS)
        self._by_model = NO_TOKENS
        self.records = 0

    def add(self, record: Outline) -> None:
        """Adds what a record took; of one that a later judge has scored, what that judge took."""
        self.records += 1
        if not record.judged:
            self._by_model += record.usage
        for score in record.scores.values() if self._judges else ():
            if score.judge in self._judges and (not record.judged or score.judge in record.judged):
                usage = msgspec.convert(score.details.get("usage", {}), Usage)
                self._by_judge[score.judge] += usage

    def by_payer(self) -> dict[str, tuple[str | None, Usage]]:
        """The tokens of the model and of each judge, with the name that prices them."""
        name, paid_as = self._model
        judges = {f"judge {name}": (self._judges[name], used) for name, used in self._by_judge.items()}
        return {name: (paid_as, self._by_model), **judges}


def _cost(plan: RunPlan, paid: _Paid) -> RunCost:
    """Tokens and money of the model and of each judge, from the usage on record.

    A local model costs no money; the money of a server's model without a known price is None.
    """
    prices = read_prices()
    by = {
        payer: CostShare(tokens=tokens, money=0.0 if paid_as is None else prices.money(paid_as, tokens))
        for payer, (paid_as, tokens) in paid.by_payer().items()
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
