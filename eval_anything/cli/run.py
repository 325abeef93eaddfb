"""`eval-anything run` and `eval-anything score`."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import UNSET

from eval_anything.cli.browser import open_page
from eval_anything.cli.fields import fields_from
from eval_anything.cli.printing import cost_lines, money_text, show
from eval_anything.errors import Exit, UserError
from eval_anything.evaluation.estimate import estimate
from eval_anything.evaluation.evaluate import evaluate
from eval_anything.evaluation.foresight import foresee
from eval_anything.evaluation.modalities import modality_table
from eval_anything.evaluation.options import (
    JUDGE_VARIABLE,
    EvaluationOptions,
    make_options,
    read_options,
    words_of,
)
from eval_anything.evaluation.outcome import Outcome
from eval_anything.evaluation.plan import RunPlan, make_plan
from eval_anything.evaluation.reasons import reason_lines
from eval_anything.evaluation.report import repeats_table, results_table, write_report
from eval_anything.judges.calibration.effects import effect_text, quality_text
from eval_anything.judges.registry import judge_kind
from eval_anything.output.progress import Progress
from eval_anything.output.tables import table
from eval_anything.runs.directory import is_run, read_outlines, read_run_file
from eval_anything.runs.results_file import Results
from eval_anything.servers.prices import Spent, spent_text
from eval_anything.servers.secrets import without_key

_IDS_SHOWN = 5


def run(options: Namespace) -> Exit:
    """Evaluates a model, prints the table, writes the page."""
    values = read_options(options.config) if options.config is not None else {}
    for name, setting in fields_from(options).items():  # the command line wins
        is_mapping = isinstance(setting, dict)
        values[name] = {**values.get(name, {}), **setting} if is_mapping else setting
    if "model" not in values:
        raise UserError("--model SPEC is missing: a path, `micro`, hf/ID, openai/NAME or replay/FILE")
    _check_until(options)
    return _evaluate(options, values)


def _check_until(options: Namespace) -> None:
    """UserError for options that need `--until`, or that it needs."""
    names = {"--baseline": options.baseline, "--policy": options.policy}
    if options.until is None:
        for name, path in names.items():
            if path is not None:
                raise UserError(f"{name} belongs to --until decided; `gate run` compares finished runs")
        return
    missing = [name for name, path in names.items() if path is None]
    if missing:
        raise UserError(f"--until decided: {' and '.join(missing)} must say what the gate decides by")


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

    def announce(plan: RunPlan) -> None:
        _announce(plan, progress)

    if getattr(options, "until", None) is not None:
        from eval_anything.cli.until import evaluate_until_decided  # gating, which runs do without

        paths = options.baseline, options.policy
        outcome, verdict = evaluate_until_decided(evaluation, *paths, progress, announce)
        return show_outcome(options, outcome, evaluation, ["", verdict])
    outcome = evaluate(evaluation, progress, on_plan=announce)
    return show_outcome(options, outcome, evaluation)


def show_outcome(
    options: Namespace, outcome: Outcome, evaluation: EvaluationOptions, last_lines: Sequence[str] = ()
) -> Exit:
    """Writes the page of a run and prints its results, and the last lines; returns the exit code."""
    page = write_report(outcome.results, outcome.run, outcome.tasks)
    show(
        options,
        outcome.results,
        results_table(outcome.results),
        *repeats_table(outcome.results),
        *modality_table(outcome.results),
        *reason_lines(outcome.results),
        *_left_out(outcome),
        *_judges(outcome),
        *_hints(outcome, evaluation),
        *last_lines,
        f"\nresults: {_shown(outcome.run)}/results.json\npage:    {_shown(page)}",
        *_spent(outcome.results),
    )
    if options.open:
        open_page(page)
    for reason in outcome.reasons:
        print(f"eval-anything: {reason}", file=sys.stderr)
    return outcome.exit_code


def _announce(plan: RunPlan, progress: Progress) -> None:
    total = sum(plan.answered.values()) * plan.repeats
    progress.say(
        f"{plan.model.name} on {', '.join(plan.tasks)}: {total} samples, run in {_shown(plan.out)}"
    )
    for note in plan.notes:
        progress.say(note)
    if plan.shared_judge is not None and any(s.judged and s.available for s in plan.all_scorers):
        progress.say(f"judges ask {without_key(plan.shared_judge)} ({JUDGE_VARIABLE})")
    if not (is_run(plan.out) and read_run_file(plan.out).status == "done"):
        for line in foresee(plan).lines:
            progress.say(f"warning: {line}")


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


def _judges(outcome: Outcome) -> list[str]:
    """Lines about each judge with a model behind it: its quality, its cost, verdicts that cost nothing,
    and the effects it can detect."""
    lines = []
    results, cost = outcome.results, outcome.results.cost
    for name, judge in results.judges.items():
        if judge.available and judge_kind(judge.kind).scorer_type.judged:
            paid = cost.by.get(f"judge {name}") if cost is not None else None
            price = f"; {money_text(paid.money, cost.currency)}" if cost and paid else ""
            count = outcome.kept_verdicts.get(name, 0)
            free = f"; {count} verdicts kept from earlier (--fresh-verdicts asks anew)" if count else ""
            lines.append(f"\njudge {name}: {quality_text(judge.calibration)}{price}{free}")
            lines += [
                f"  {task}:{task_result.primary}: {effect_text(task_result.main)}"
                for task, task_result in results.tasks.items()
                if task_result.main.judge == name
            ]
    return lines


def _spent(results: Results) -> list[str]:
    """The last line: tokens and money of the run."""
    cost = results.cost
    if cost is None:
        return []
    if cost.spent is UNSET:
        tokens = cost.tokens
        counted = f"{tokens.input or 0} tokens in and {tokens.output or 0} out" if tokens.output else ""
        return [f"Spent: no money on servers{counted and f'; {counted}'}."]
    spent = cost.spent
    return [spent_text(Spent(spent.calls, spent.tokens, spent.money, cost.currency, cost.prices))]


def _hints(outcome: Outcome, evaluation: EvaluationOptions) -> list[str]:
    """The command that judges the answers of the run, if a judge has no model."""
    missing = [name for name, judge in outcome.results.judges.items() if not judge.available]
    if not missing or outcome.results.pending:
        return []
    options: dict[str, str] = {}
    for name in missing:
        kind = judge_kind(outcome.results.judges[name].kind)
        if kind.scorer_type.compares:
            options[name] = f"--judge {name}=SPEC --against RUN"
        elif kind.model_form == "PATH":
            options[name] = f"--judge {name}=PATH"
    chat = [name for name in missing if name not in options]
    verb = "has" if len(missing) == 1 else "have"
    lines = [f"\nunscored: {', '.join(missing)} {verb} no model. To judge the answers of this run, "]
    if chat:
        lines[0] += "name one and repeat its command, which asks no model again:"
        lines.append(f"  export {JUDGE_VARIABLE}=openai/NAME@http://host:port/v1")
    else:
        lines[0] += f"add {' '.join(options.values())} to its command:"
    lines.append(f"  {_judging_command(outcome, evaluation)}")
    if chat and options:
        lines.append(f"and for {', '.join(options)} add {' '.join(options.values())}")
    return lines


def _judging_command(outcome: Outcome, evaluation: EvaluationOptions) -> str:
    """The command that judges a run in place, for a shell."""
    needed = EvaluationOptions(
        include=evaluation.include,
        data=evaluation.data,
        allow_code=evaluation.allow_code,
        max_failed=evaluation.max_failed,
    )
    run = _shown(outcome.run)
    run = f"./{run}" if run.startswith("-") else run
    return shlex.join(["eval-anything", "score", "--outputs", run, *words_of(needed)])


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
    cost, foreseen = estimate(plan), foresee(plan)
    cells = [
        [str(r["task"]), str(r["samples"]), str(r["repeats"]), ", ".join(r["judges"])] for r in rows
    ]
    return show(
        options,
        {
            "model": plan.model.name,
            "out": str(plan.out),
            "tasks": rows,
            "cost": cost,
            "unscored": foreseen.unscored,
            "unreadable": foreseen.unreadable,
        },
        f"{plan.model.name} would run, into {_shown(plan.out)}:\n",
        table(["task", "samples", "repeats", "judges"], cells, right=(1, 2)),
        *(["", *plan.notes] if plan.notes else []),
        *(["", *cost_lines(cost)] if cost["by"] else []),
        *(f"\nwarning: {line}" for line in foreseen.lines),
    )


def _shown(path: Path) -> str:
    """A path relative to the working directory if it lies below it, else the path itself."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
