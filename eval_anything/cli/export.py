"""`eval-anything tasks export`: prompts to answer elsewhere, and tasks for lm-evaluation-harness."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path

from eval_anything.cli.printing import show
from eval_anything.errors import Exit


def export_tasks(options: Namespace) -> Exit:
    """Writes tasks in the form that is named."""
    return _prompts(options) if options.form == "prompts" else _lm_eval(options)


def _prompts(options: Namespace) -> Exit:
    """Writes what a model is to be asked, and a file for the answers."""
    from eval_anything.judges.folder import find_judges
    from eval_anything.judges.registry import JudgeMetrics
    from eval_anything.tasks.load import load_task
    from eval_anything.tasks.prompts import ANSWERS, PROMPTS, export_prompts
    from eval_anything.tasks.registry import Registry

    registry = Registry(options.include)
    words = [name for names in options.names for name in names.split(",") if name]
    suites = registry.select(words, options.suite or "open")
    names = list(dict.fromkeys(task for suite in suites for task in suite.tasks))
    metrics = JudgeMetrics(find_judges(options.include))
    tasks = [load_task(registry.folders[name], metrics, options.data) for name in names]
    export_prompts(tasks, options.out)
    answers = options.out / ANSWERS
    return show(
        options,
        {"prompts": str(options.out / PROMPTS), "answers": str(answers)}
        | {"tasks": {task.name: len(task.samples) for task in tasks}},
        *(f"{task.name}: {len(task.samples)} prompts" for task in tasks),
        f"\n{options.out / PROMPTS} has what a model is to be asked, {answers} a line for each answer.",
        f"With the answers in it:\n  {_command(answers, names, options)}",
    )


def _command(answers: Path, names: list[str], options: Namespace) -> str:
    """The command that scores the answers, for a shell."""
    words = ["eval-anything", "score", "--outputs", str(answers), "--tasks", ",".join(names)]
    for option, paths in (("--include", options.include), ("--data", options.data)):
        words += [word for path in paths for word in (option, str(path))]
    return shlex.join(words)


def _lm_eval(options: Namespace) -> Exit:
    """Writes tasks as a folder for lm_eval's --include_path."""
    from eval_anything.lm_eval.export import export

    exported = export(options.names, options.out, options.include, options.max_tokens)
    tasks = ",".join(task for task, _ in exported.values())
    return show(
        options,
        {name: {"task": task, "documents": count} for name, (task, count) in exported.items()},
        *(f"{name}: {count} samples as {task}" for name, (task, count) in exported.items()),
        f"lm_eval run ... --include_path {options.out} --tasks {tasks}",
    )
