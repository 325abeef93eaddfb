"""`eval-anything run` and `eval-anything score`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval_anything.cli.printing import cost_lines, money_text, print_json
from eval_anything.errors import Exit, UserError
from eval_anything.evaluation.estimate import estimate
from eval_anything.evaluation.evaluate import evaluate
from eval_anything.evaluation.outcome import Outcome
from eval_anything.evaluation.plan import Options, Plan, make_plan
from eval_anything.evaluation.report import results_table, write_report
from eval_anything.judges.calibration.effects import effect_text, quality_text
from eval_anything.output.progress import Progress
from eval_anything.output.tables import table


def run(options: Namespace) -> Exit:
    """Evaluates a model, prints the table, writes the page."""
    return _evaluate(
        options,
        Options(
            model=options.model,
            temperature=options.temperature,
            concurrency=options.concurrency,
            model_args=_model_args(options.model_arg, options.allow_missing),
            **_common(options),
        ),
    )


def score(options: Namespace) -> Exit:
    """The same for outputs that were saved: `run --model replay/...`."""
    if not options.outputs.exists():
        raise UserError(f"--outputs {options.outputs}: there is no such file, folder or run")
    arguments = _model_args([], options.allow_missing)
    spec = f"replay/{options.outputs}"
    return _evaluate(options, Options(model=spec, model_args=arguments, **_common(options)))


def _common(options: Namespace) -> dict[str, Any]:
    return {
        "tasks": [name for name in options.tasks.split(",") if name],
        "suite": options.suite,
        "include": options.include,
        "data": options.data,
        "allow_code": options.allow_code,
        "judges": _pairs("--judge", options.judge),
        "limit": options.limit,
        "repeats": options.repeats,
        "seed": options.seed,
        "out": options.out,
        "max_failed": options.max_failed,
        "budget": options.budget,
        "against": options.against,
        "lm_eval": _pairs("--lm-eval", options.lm_eval),
        "command": options.command_line,
    }


def _model_args(pairs: list[str], allow_missing: bool) -> Mapping[str, str]:
    return ({"allow_missing": "1"} if allow_missing else {}) | _pairs("--model-arg", pairs)


def _pairs(option: str, pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"{option} {pair}: must be NAME=VALUE")
        found[key] = value
    return found


def _evaluate(options: Namespace, what: Options) -> Exit:
    progress = Progress("silent" if options.json else "auto")
    if options.dry_run:
        return _show_plan(make_plan(what), options.json)
    outcome = evaluate(what, progress, on_plan=lambda plan: _announce(plan, progress))
    page = write_report(outcome.results, outcome.run, outcome.tasks)
    if options.json:
        print_json(outcome.results)
    else:
        print(results_table(outcome.results))
        for line in (*_judges(outcome.results), *_hints(outcome)):
            print(line)
        print(f"\nresults: {_shown(outcome.run)}/results.json\npage:    {_shown(page)}")
    for reason in outcome.reasons:
        print(f"eval-anything: {reason}", file=sys.stderr)
    return outcome.exit_code


def _announce(plan: Plan, progress: Progress) -> None:
    total = sum(plan.counts.values()) * plan.repeats
    progress.say(
        f"{plan.model.name} on {', '.join(plan.tasks)}: {total} samples, run in {_shown(plan.out)}"
    )


def _judges(results: dict[str, Any]) -> list[str]:
    """A line for each judge with a model behind it: how good it is, and what it cost."""
    lines = []
    for name, judge in results["judges"].items():
        if judge["available"] and judge["kind"] not in ("program", "metric"):
            paid = results["cost"]["by"].get(f"judge {name}")
            currency = results["cost"]["currency"]
            cost = f"; {money_text(paid['money'], currency)}" if paid is not None else ""
            lines.append(f"\njudge {name}: {quality_text(judge['calibration'])}{cost}")
            lines += [
                f"  {task}:{result['primary']}: {effect_text(metric)}"
                for task, result in results["tasks"].items()
                for metric in [result["metrics"][result["primary"]]]
                if metric.get("judge") == name
            ]
    return lines


def _hints(outcome: Outcome) -> list[str]:
    """The one option that adds each judge whose model is missing."""
    lines = []
    for name, judge in outcome.results["judges"].items():
        if not judge["available"]:
            tasks = [task for task, found in outcome.tasks.items() if name in found.file.judges]
            local = judge["kind"] in ("metric", "reward_model")
            spec = "PATH" if local else "openai/NAME@http://host:port/v1"
            spec += " --against RUN" if judge["kind"] == "pairwise" else ""
            lines.append(
                f"\nunscored: {name} has no model. Add one to the responses of this run:\n"
                f"  eval-anything score --outputs {_shown(outcome.run)} --tasks {','.join(tasks)} "
                f"--judge {name}={spec} --out {_shown(outcome.run)}-judged"
            )
    return lines


def _show_plan(plan: Plan, as_json: bool) -> Exit:
    rows: list[dict[str, Any]] = [
        {
            "task": name,
            "samples": plan.counts[name],
            "repeats": plan.repeats,
            "judges": [s.name for s in plan.scorers[name].scorers],
        }
        for name in plan.tasks
    ]
    cost = estimate(plan)
    if as_json:
        print_json({"model": plan.model.name, "out": str(plan.out), "tasks": rows, "cost": cost})
        return Exit.DONE
    print(f"{plan.model.name} would run, into {_shown(plan.out)}:\n")
    cells = [
        [str(r["task"]), str(r["samples"]), str(r["repeats"]), ", ".join(r["judges"])] for r in rows
    ]
    print(table(["task", "samples", "repeats", "judges"], cells, right=(1, 2)))
    if cost["by"]:
        print("", *cost_lines(cost), sep="\n")
    return Exit.DONE


def _shown(path: Path) -> str:
    """A path as short as it can be from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
