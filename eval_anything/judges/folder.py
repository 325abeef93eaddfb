"""Folders of judges: found, and named by users.

A judge is `judges/<name>/judge.yaml` with the code or template that its kind needs; `--include DIR` adds
a folder of judges, or one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from eval_anything.errors import UserError, near
from eval_anything.files.places import content_folder, folder_holding, folders_with


class JudgeFolder(Struct, frozen=True):
    """Where a judge lies. `trusted` folders, the bundled ones, may run their own code."""

    name: str
    path: Path
    trusted: bool


def find_judges(include: Sequence[Path] = ()) -> dict[str, JudgeFolder]:
    """All judge folders in reach, by name. Reads directories, no files."""
    found: dict[str, JudgeFolder] = {}
    roots = [(content_folder("judges"), True), *((Path(d).resolve(), False) for d in include)]
    for root, trusted in roots:
        for path in folders_with(root, "judge.yaml"):
            folder = found.setdefault(path.name, JudgeFolder(path.name, path, trusted))
            if folder.path != path:
                raise UserError(
                    f"two folders are the judge {path.name}: {folder.path} and {path}. "
                    "Rename one of them."
                )
    return found


def judge_named(name: str, judges: dict[str, JudgeFolder]) -> JudgeFolder:
    """The judge folder of that name, or a message with the near ones."""
    if name not in judges:
        raise UserError(
            f"unknown judge {name!r}.{near(name, judges)} `eval-anything judges list` shows all."
        )
    return judges[name]


def judge_at(path: Path) -> JudgeFolder:
    """A judge folder given by its path."""
    path = folder_holding(path, "judge.yaml", "copy a folder of judges/ to start from")
    return JudgeFolder(path.name, path, trusted=False)
