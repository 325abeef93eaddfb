"""What a run came to: the object of results.json, and the exit code with its reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eval_anything.errors import Exit
from eval_anything.evaluation.pipeline import Pending
from eval_anything.evaluation.plan import Plan
from eval_anything.evaluation.results import TaskResult, aggregates, invalid_metrics, task_result
from eval_anything.judges.assemble import TaskScorers
from eval_anything.judges.calibration.effects import add_effects
from eval_anything.judges.calibration.store import calibration_summary
from eval_anything.runs.directory import Outline, read_outlines
from eval_anything.servers.prices import read_prices
from eval_anything.tasks.task import Task


class Outcome(NamedTuple):
    """What ran: results.json's object, the run's directory, its tasks, the exit code and why."""

    results: dict[str, Any]
    run: Path
    tasks: dict[str, Task]
    exit_code: Exit
    reasons: list[str]


def make_outcome(max_failed: float, what: Plan, run: Path, pending: Pending) -> Outcome:
    """All numbers of the run's tasks, from the records."""
    records = {name: read_outlines(run, name) for name in what.tasks}
    canaries = {name: read_outlines(run, name, "canaries") for name in what.tasks}
    results = {
        name: task_result(task, what.scorers[name], records[name], canaries[name])
        for name, task in what.own_tasks.items()
    }
    for name, result in results.items():
        add_effects(result.json["metrics"], what.scorers[name].scorers)
    combined: dict[str, Any] = {}
    for suite in what.suites:
        combined |= {f"{suite.name}/{k}": v for k, v in aggregates(suite, results).items()}
    for external in what.external:
        results |= external.results(run)
        combined |= external.aggregates(run)
    json = {
        "model": what.model.name,
        "tasks": {name: result.json for name, result in results.items()},
        "aggregates": combined,
        "judges": _judges(what.scorers),
        "cost": _cost(what, [r for found in (records, canaries) for rs in found.values() for r in rs]),
        "run": str(run),
    }
    reasons = _reasons(max_failed, results)
    code = Exit.FAILED if reasons else Exit.DONE
    if pending.count:
        code = Exit.INFRASTRUCTURE
        reasons.append(
            f"{pending.count} samples are pending: {pending.reason}. The same command goes on with them."
        )
    return Outcome(json, run, what.tasks, code, reasons)


def _reasons(max_failed: float, results: Mapping[str, TaskResult]) -> list[str]:
    reasons = [f"{name} is INVALID: {why}" for name, why in invalid_metrics(results)]
    for name, result in results.items():
        samples, failed = result.json["samples"], result.json["failed"]
        if failed > max_failed * samples:
            reasons.append(
                f"{name}: the model failed {failed} of {samples} samples, "
                f"more than --max-failed {max_failed:g} allows"
            )
    return reasons


def _judges(scorers: Mapping[str, TaskScorers]) -> dict[str, Any]:
    return {
        s.name: {
            "kind": s.kind,
            "fingerprint": s.fingerprint,
            "available": s.available,
            "calibration": "exact" if s.exact else calibration_summary(s.calibrated_as),
        }
        for task in scorers.values()
        for s in task.scorers
    }


def _cost(what: Plan, records: Sequence[Outline]) -> dict[str, Any]:
    """What the run took from its records: tokens and money of the model and of each judge.

    What runs here costs no money; the money of a server's model without a known price is null.
    """
    prices = read_prices()
    model = _sum([record.usage for record in records])
    takers = {what.model.name: (what.model.paid_as, model)}
    for scorer in {s.name: s for s in what.all_scorers}.values():
        if scorer.paid_as is not None:
            scores = [s for r in records for s in r.scores.values() if s.judge == scorer.name]
            used = _sum([s.details.get("usage", {}) for s in scores])
            takers[f"judge {scorer.name}"] = (scorer.paid_as, used)
    parts = {
        name: 0.0 if paid_as is None else prices.money(paid_as, tokens)
        for name, (paid_as, tokens) in takers.items()
    }
    known = [money for money in parts.values() if money is not None]
    return {
        "tokens": model,
        "money": sum(known) if len(known) == len(parts) else None,
        "currency": prices.currency,
        "prices": prices.date,
        "by": {name: {"tokens": takers[name][1], "money": money} for name, money in parts.items()},
    }


def _sum(usages: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {key: sum(usage.get(key, 0) for usage in usages) for key in ("input", "output")}
