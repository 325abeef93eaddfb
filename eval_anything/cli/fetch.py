"""`eval-anything tasks fetch`: the data sets that a suite's tasks read and that are not bundled."""

from __future__ import annotations

import sys
from argparse import Namespace

from eval_anything.cli.printing import show
from eval_anything.errors import Exit, UserError
from eval_anything.tasks.datasets.declaration import DataSet
from eval_anything.tasks.registry import Registry, read_task_file


def fetch(options: Namespace) -> Exit:
    """Downloads what is not there yet, and checks what is."""
    from eval_anything.tasks.datasets.fetch import fetch as download

    registry = Registry(options.include)
    sets: dict[str, list[DataSet]] = {}
    licences: dict[str, str] = {}
    for name in _tasks(registry, options.name):
        file = read_task_file(registry.folders[name])
        if file.data is not None:
            sets.setdefault(file.data.name, []).append(file.data)
            licences[file.data.name] = file.licence
    if not sets:
        raise UserError(f"{options.name} is bundled: there is nothing to fetch")
    fetched = [
        download(found, licences[name], lambda line: print(line, file=sys.stderr))
        for name, found in sets.items()
    ]
    document = [
        {
            "path": str(one.path),
            "commit": one.commit,
            "files": [file.name for file in one.files],
            "bytes": sum(file.size for file in one.files),
        }
        for one in fetched
    ]
    lines = (
        f"{one.path}: {len(one.files)} files, all as the hub has them at {one.commit[:12]}"
        for one in fetched
    )
    run_it = f"run it:  eval-anything run --model SPEC --tasks {options.name}"
    return show(options, document, *lines, run_it)


def _tasks(registry: Registry, name: str) -> list[str]:
    """A task, or all of a suite's folder: also those that the suite itself leaves out."""
    if name in registry.folders:
        return [name]
    own = [full for full, folder in registry.folders.items() if folder.suite == name]
    return list(dict.fromkeys([*registry.suite(name).tasks, *sorted(own)]))
