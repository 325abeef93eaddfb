"""`eval-anything run` and `eval-anything score`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import UNSET

from eval_anything.cli.fields import fields_from
from eval_anything.cli.printing import cost_lines, money_text, show
from eval_anything.errors import Exit, UserError
from eval_anything.evaluation.estimate import estimate
from eval_anything.evaluation.evaluate import evaluate
from eval_anything.evaluation.options import make_options, read_options
from eval_anything.evaluation.outcome import Outcome
from eval_anything.evaluation.plan import RunPlan, make_plan
from eval_anything.evaluation.reasons import reason_lines
from eval_anything.evaluation.report import results_table, write_report
from eval_anything.judges.calibration.effects import effect_text, quality_text
from eval_anything.judges.registry import judge_kind
from eval_anything.output.progress import Progress
from eval_anything.output.tables import table
from eval_anything.runs.directory import read_outlines
from eval_anything.runs.results_file import Results
from eval_anything.servers.prices import Spent, spent_text

_IDS_SHOWN = 5


def run(options: Namespace) -> Exit:
    """Evaluates a model, prints the table, writes the page."""
    values = read_options(options.config) if options.config is not None else {}
    for name, setting in fields_from(options).items():  # the command line wins
        is_mapping = isinstance(setting, dict)
        values[name] = {**values.get(name, {}), **setting} if is_mapping else setting
    if "model" not in values:
        raise UserError("--model SPEC is missing: a path, `micro`, hf/ID, openai/NAME or replay/FILE")
    return _evaluate(options, values)


def score(options: Namespace) -> Exit:
    """Evaluates saved outputs: short for `run --model replay/...`."""
    if not options.outputs.exists():
        raise UserError(f"--outputs {options.outputs}: there is no such file, folder or run")
    return _evaluate(options, {**fields_from(options), "model": f"replay/{options.outputs}"})


def _evaluate(options: Namespace, values: Mapping[str, Any]) -> Exit:
    missing = {"allow_missing": "1"} if options.allow_missing else {}
    missing |= {"only_answered": "1"} if options.only_answered else {}
    evaluation = make_options(
        {
            **values,
            "model_args": {**missing, **values.get("model_args", {})},
            "command": options.command_line,
        }
    )
    progress = Progress("silent" if options.json else "auto")
    if options.dry_run:
        return _show_plan(make_plan(evaluation), options)
    outcome = evaluate(evaluation, progress, on_plan=lambda plan: _announce(plan, progress))
    page = write_report(outcome.results, outcome.run, outcome.tasks)
    show(
        options,
        outcome.results,
        results_table(outcome.results),
        *reason_lines(outcome.results),
        *_left_out(outcome),
        *_judges(outcome.results),
        *_hints(outcome),
        f"\nresults: {_shown(outcome.run)}/results.json\npage:    {_shown(page)}",
        *_spent(outcome.results),
    )
    for reason in outcome.reasons:
        print(f"eval-anything: {reason}", file=sys.stderr)
    return outcome.exit_code


def _announce(plan: RunPlan, progress: Progress) -> None:
    total = sum(plan.answered.values()) * plan.repeats
    progress.say(
        f"{plan.model.name} on {', '.join(plan.tasks)}: {total} samples, run in {_shown(plan.out)}"
    )


def _left_out(outcome: Outcome) -> list[str]:
    """A line for each task of which saved outputs answer only some samples: how many, and which."""
    lines = []
    for name, result in outcome.results.tasks.items():
        if result.left_out:
            ids = [o.sample_id for o in read_outlines(outcome.run, name)]
            first_ids = list(dict.fromkeys(ids))[:_IDS_SHOWN]
            dots = ", ..." if result.samples > len(first_ids) else ""
            lines.append(
                f"\n{name}: {result.samples} of {result.samples + result.left_out} samples, those that "
                f"have an answer ({', '.join(first_ids)}{dots}). The others are left out, not scored"
            )
    return lines


def _judges(results: Results) -> list[str]:
    """Lines about each judge with a model behind it: its quality, its cost, and the effects it can
    detect."""
    lines = []
    cost = results.cost
    for name, judge in results.judges.items():
        if judge.available and judge_kind(judge.kind).scorer_type.judged:
            paid = cost.by.get(f"judge {name}") if cost is not None else None
            price = f"; {money_text(paid.money, cost.currency)}" if cost and paid else ""
            lines.append(f"\njudge {name}: {quality_text(judge.calibration)}{price}")
            lines += [
                f"  {task}:{task_result.primary}: {effect_text(task_result.main)}"
                for task, task_result in results.tasks.items()
                if task_result.main.judge == name
            ]
    return lines


def _spent(results: Results) -> list[str]:
    """A line on what the run has spent on servers; none if it asked no server."""
    cost = results.cost
    if cost is None or cost.spent is UNSET:
        return []
    spent = cost.spent
    return [spent_text(Spent(spent.calls, spent.tokens, spent.money, cost.currency, cost.prices))]


def _hints(outcome: Outcome) -> list[str]:
    """Commands that add each judge whose model is missing."""
    lines = []
    for name, judge in outcome.results.judges.items():
        if not judge.available:
            tasks = [task.name for task in outcome.tasks.values() if name in task.file.judges]
            kind = judge_kind(judge.kind)
            spec = "PATH" if kind.model_form == "PATH" else "openai/NAME@http://host:port/v1"
            spec += " --against RUN" if kind.scorer_type.compares else ""
            lines.append(
                f"\nunscored: {name} has no model. Add one to the responses of this run:\n"
                f"  eval-anything score --outputs {_shown(outcome.run)} --tasks {','.join(tasks)} "
                f"--judge {name}={spec} --out {_shown(outcome.run)}-judged"
            )
    return lines


def _show_plan(plan: RunPlan, options: Namespace) -> Exit:
    rows: list[dict[str, Any]] = [
        {
            "task": name,
            "samples": plan.answered[name],
            "repeats": plan.repeats,
            "judges": [s.name for s in plan.scorers[name].scorers],
        }
        for name in plan.tasks
    ]
    cost = estimate(plan)
    cells = [
        [str(r["task"]), str(r["samples"]), str(r["repeats"]), ", ".join(r["judges"])] for r in rows
    ]
    return show(
        options,
        {"model": plan.model.name, "out": str(plan.out), "tasks": rows, "cost": cost},
        f"{plan.model.name} would run, into {_shown(plan.out)}:\n",
        table(["task", "samples", "repeats", "judges"], cells, right=(1, 2)),
        *(["", *cost_lines(cost)] if cost["by"] else []),
    )


def _shown(path: Path) -> str:
    """A path relative to the working directory if it lies below it, else the path itself."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
