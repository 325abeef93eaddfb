"""`eval-anything tasks export`: prompts to answer elsewhere, and tasks for lm-evaluation-harness."""

from __future__ import annotations

import shlex
from argparse import Namespace

from eval_anything.cli.fields import pairs
from eval_anything.cli.printing import show
from eval_anything.errors import Exit, UserError
from eval_anything.evaluation.options import EvaluationOptions, words_of


def export_tasks(options: Namespace) -> Exit:
    """Writes tasks in the form that is named."""
    if options.form == "prompts":
        return _prompts(options)
    for name in ("limit", "first", "where"):
        if getattr(options, name):
            raise UserError(f"--{name}: lm_eval draws samples itself (its --limit); leave it out here")
    return _lm_eval(options)


def _prompts(options: Namespace) -> Exit:
    """Writes what a model is to be asked, and a file for the answers."""
    from eval_anything.evaluation.selection import ChosenSamples
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
    tasks = {name: load_task(registry.folders[name], metrics, options.data) for name in names}
    selection = EvaluationOptions(
        tasks=words,
        suite=options.suite,
        include=[str(path) for path in options.include],
        data=[str(path) for path in options.data],
        limit=options.limit,
        first=options.first,
        where=pairs("--where", options.where),
    )
    chosen = ChosenSamples(selection, None, tasks, (), None)
    chosen.extend(suites)
    samples = {name: len(chosen.samples[name]) for name in names if name in chosen.samples}
    export_prompts([(tasks[name], chosen.samples[name]) for name in samples], options.out)
    answers = options.out / ANSWERS
    # The same samples, by the same options.
    score = ["eval-anything", "score", "--outputs", str(answers), *words_of(selection)]
    return show(
        options,
        {"prompts": str(options.out / PROMPTS), "answers": str(answers)} | {"tasks": samples},
        *(f"{name}: {count} prompts" for name, count in samples.items()),
        *chosen.lines(),
        f"\n{options.out / PROMPTS} has what a model is to be asked, {answers} a line for each answer.",
        f"With the answers in it:\n  {shlex.join(score)}",
    )


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
