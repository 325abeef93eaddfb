"""`eval-anything tasks export lm_eval`: our tasks for lm-evaluation-harness."""

from __future__ import annotations

from argparse import Namespace

from eval_anything.cli.printing import show
from eval_anything.errors import Exit


def export_tasks(options: Namespace) -> Exit:
    """Writes tasks of ours as a folder for lm_eval's --include_path."""
    from eval_anything.lm_eval.export import export

    made = export(options.names, options.out, options.include, options.max_tokens)
    tasks = ",".join(theirs for theirs, _ in made.values())
    return show(
        options,
        {name: {"task": theirs, "documents": count} for name, (theirs, count) in made.items()},
        *(f"{name}: {count} samples as {theirs}" for name, (theirs, count) in made.items()),
        f"lm_eval run ... --include_path {options.out} --tasks {tasks}",
    )
