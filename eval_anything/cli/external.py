"""`eval-anything tasks list` and `tasks show` for tasks of other evaluation tools."""

from __future__ import annotations

from argparse import Namespace

from eval_anything.cli.printing import print_json
from eval_anything.errors import Exit
from eval_anything.evaluation.external import find_source


def list_names(options: Namespace) -> Exit:
    """The names of the source `--suite`, a line each: there may be thousands."""
    source = options.suite
    entries = find_source(source).entries(options.include)
    if options.json:
        print_json([{"name": f"{source}/{entry.name}", "kind": entry.kind} for entry in entries])
    else:
        for entry in entries:
            kind = "" if entry.kind == "task" else f"  ({entry.kind})"
            print(f"{source}/{entry.name}{kind}")
    return Exit.DONE


def show_name(options: Namespace) -> Exit:
    """The kind of a name, and the files that define it."""
    prefix, _, name = options.name.partition("/")
    source = find_source(prefix)
    entry = source.find(name, options.include)
    files = [str(path) for path in entry.files]
    if options.json:
        print_json({"name": options.name, "kind": entry.kind, "files": files})
    else:
        print(f"{options.name}: a {entry.kind} of {source.title}", *files, sep="\n")
    return Exit.DONE
