"""`eval-anything tasks export lm_eval`: tasks for lm-evaluation-harness."""

from __future__ import annotations

from argparse import Namespace

from eval_anything.cli.printing import show
from eval_anything.errors import Exit


def export_tasks(options: Namespace) -> Exit:
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
