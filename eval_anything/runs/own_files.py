"""Paths inside of the directory of a run that others may have made: nothing leads out of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from eval_anything.errors import UserError


def check_task_names(names: Iterable[str], source: Path) -> None:
    """UserError for a name that leads out of the directory of a run that others may have made, and for
    one that is there twice.

    Example:
        >>> check_task_names(["open/selection"], Path("run.json"))
    """
    checked = set()
    for name in names:
        if name in checked:
            raise UserError(f"{source} names the task {name!r} twice: do not use this run")
        checked.add(name)
        parts = name.split("/")
        if "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts):
            raise UserError(
                f"{source} names the task {name!r}, a path outside of the run: do not use this run"
            )


def own_file(run: Path, path: Path) -> Path:
    """The path of a file of a run, which may not exist. UserError for one that leads out of the run by a
    link, and for what is no plain file, such as a pipe, from which reading would not end."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no plain file")
    if not path.resolve().is_relative_to(run.resolve()):
        raise UserError(f"{path} is a link that leads out of the run: do not use this run")
    return path
