"""`eval-anything tasks fetch`: downloads the data sets that a suite is not bundled with."""

from __future__ import annotations

import sys
from argparse import Namespace

from eval_anything.cli.printing import show
from eval_anything.errors import Exit, UserError
from eval_anything.tasks.datasets.declaration import DataSet
from eval_anything.tasks.registry import Registry, read_task_file


def fetch(options: Namespace) -> Exit:
    """Downloads the files that are missing, and checks those that are there."""
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
        download(declarations, licences[name], lambda line: print(line, file=sys.stderr))
        for name, declarations in sets.items()
    ]
    document = [
        {
            "path": str(dataset.path),
            "commit": dataset.commit,
            "files": [file.name for file in dataset.files],
            "bytes": sum(file.size for file in dataset.files),
        }
        for dataset in fetched
    ]
    lines = (
        f"{dataset.path}: {len(dataset.files)} files, all as the hub has them at {dataset.commit[:12]}"
        for dataset in fetched
    )
    run_it = f"run it:  eval-anything run --model SPEC --tasks {options.name}"
    return show(options, document, *lines, run_it)


def _tasks(registry: Registry, name: str) -> list[str]:
    """Full names of a single task, or of all tasks in a suite and in its folder, which may have tasks
    that suite.yaml leaves out."""
    if name in registry.folders:
        return [name]
    in_folder = [full for full, folder in registry.folders.items() if folder.suite == name]
    return list(dict.fromkeys([*registry.suite(name).tasks, *sorted(in_folder)]))
