"""Folders of judges: a search for all of them, and look-up by name or path.

A judge is `judges/<name>/judge.yaml` with the code or template that its kind needs; `--include DIR` adds
a folder of judges, or a single judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from eval_anything.errors import UserError, near
from eval_anything.files.places import content_folder, folder_holding, folders_with


class JudgeFolder(Struct, frozen=True):
    """Name and folder of a judge. Code of `trusted` folders, the bundled ones, may be executed."""

    name: str
    path: Path
    trusted: bool


def find_judges(include: Sequence[Path] = ()) -> dict[str, JudgeFolder]:
    """All bundled and included judge folders, by name. Reads directories, no files.

    UserError if two folders have the same name.
    """
    folders: dict[str, JudgeFolder] = {}
    roots = [(content_folder("judges"), True), *((Path(d).resolve(), False) for d in include)]
    for root, trusted in roots:
        for path in folders_with(root, "judge.yaml"):
            folder = folders.setdefault(path.name, JudgeFolder(path.name, path, trusted))
            if folder.path != path:
                raise UserError(
                    f"two folders are the judge {path.name}: {folder.path} and {path}. "
                    "Rename one of them."
                )
    return folders


def judge_named(name: str, judges: dict[str, JudgeFolder]) -> JudgeFolder:
    """The judge folder of a name. UserError, with similar names, for an unknown one."""
    if name not in judges:
        raise UserError(
            f"unknown judge {name!r}.{near(name, judges)} `eval-anything judges list` shows all."
        )
    return judges[name]


def judge_at(path: Path) -> JudgeFolder:
    """The judge folder at a path. UserError if it has no judge.yaml."""
    path = folder_holding(path, "judge.yaml", "`eval-anything judges new NAME --kind K` makes a folder")
    return JudgeFolder(path.name, path, trusted=False)
