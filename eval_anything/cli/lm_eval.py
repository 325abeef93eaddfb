"""`eval-anything tasks` for lm-evaluation-harness: its names, and our tasks for it."""

from __future__ import annotations

from argparse import Namespace

from eval_anything.cli.printing import print_json
from eval_anything.errors import Exit
from eval_anything.lm_eval import names


def list_names(options: Namespace) -> Exit:
    """The name of every task, group and tag, a line each: there are thousands."""
    entries = sorted(names.index(options.include).items())
    if options.json:
        print_json([{"name": f"{names.PREFIX}/{name}", "kind": e.kind} for name, e in entries])
    else:
        for name, entry in entries:
            kind = "" if entry.kind == "task" else f"  ({entry.kind})"
            print(f"{names.PREFIX}/{name}{kind}")
    return Exit.DONE


def show_name(options: Namespace) -> Exit:
    """What a name stands for, and the files that say it."""
    name = options.name.removeprefix(f"{names.PREFIX}/")
    entry = names.find(name, names.index(options.include))
    shown = {"name": options.name, "kind": entry.kind, "files": [str(path) for path in entry.paths]}
    if options.json:
        print_json(shown)
    else:
        print(f"{options.name}: a {entry.kind} of lm-evaluation-harness", *shown["files"], sep="\n")
    return Exit.DONE


def export_tasks(options: Namespace) -> Exit:
    """Writes tasks of ours as a folder for lm_eval's --include_path."""
    from eval_anything.lm_eval.export import export

    made = export(options.names, options.out, options.include, options.max_tokens)
    if options.json:
        print_json(
            {name: {"task": theirs, "documents": count} for name, (theirs, count) in made.items()}
        )
    else:
        for name, (theirs, count) in made.items():
            print(f"{name}: {count} samples as {theirs}")
        tasks = ",".join(theirs for theirs, _ in made.values())
        print(f"lm_eval run ... --include_path {options.out} --tasks {tasks}")
    return Exit.DONE
