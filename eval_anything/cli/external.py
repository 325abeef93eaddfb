"""`eval-anything tasks list` and `tasks show` for tasks of other evaluation tools."""

from __future__ import annotations

from argparse import Namespace

from eval_anything.cli.printing import show
from eval_anything.errors import Exit
from eval_anything.evaluation.external import find_source


def list_names(options: Namespace) -> Exit:
    """Prints the names of the external source `--suite`, one a line: there may be thousands."""
    source = options.suite
    entries = find_source(source).entries(options.include)
    rows = [{"name": f"{source}/{entry.name}", "kind": entry.kind} for entry in entries]
    lines = (r["name"] + ("" if r["kind"] == "task" else f"  ({r['kind']})") for r in rows)
    return show(options, rows, *lines)


def show_name(options: Namespace) -> Exit:
    """Prints the kind of an external name, and the files that define it."""
    prefix, _, name = options.name.partition("/")
    source = find_source(prefix)
    entry = source.find(name, options.include)
    files = [str(path) for path in entry.files]
    document = {"name": options.name, "kind": entry.kind, "files": files}
    return show(options, document, f"{options.name}: a {entry.kind} of {source.title}", *files)
