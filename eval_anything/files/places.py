"""Folders of bundled content, inside an installed package or beside it in a checkout, and of users."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from eval_anything.errors import UserError


def path_inside(root: Path, relative: str) -> Path:
    """The absolute path of `relative` in `root`. ValueError if it leads outside, by links too."""
    try:
        path = (root / relative).resolve()
    except (OSError, RuntimeError) as error:  # a ring of links
        raise ValueError(f"path {relative!r} cannot be followed: {error}") from None
    # If the resolved path begins with root, root holds no links and needs no resolving.
    if not path.is_relative_to(root) and not path.is_relative_to(root.resolve()):
        raise ValueError(f"path {relative!r} leads outside its folder {root}")
    return path


def home() -> Path:
    """The user's folder for data sets and calibrations: `EVAL_ANYTHING_HOME`, else
    ~/.local/share/eval-anything. It may not exist yet."""
    return Path(os.environ.get("EVAL_ANYTHING_HOME") or "~/.local/share/eval-anything").expanduser()


_PACKAGE = Path(__file__).resolve().parent.parent


def content_folder(kind: Literal["benchmarks", "judges", "leaderboard", "presets"]) -> Path:
    """The folder of bundled benchmarks, judges, leaderboard templates or presets. UserError if it is
    missing."""
    for root in (_PACKAGE / "_content", _PACKAGE.parent):
        if (root / kind).is_dir():
            return root / kind
    raise UserError(f"the bundled folder {kind}/ is missing: install eval-anything again")


def is_bundled(path: Path) -> bool:
    """Whether a file belongs to the bundled benchmarks or judges, which are trusted."""
    path = path.resolve()
    return any(path.is_relative_to(content_folder(kind)) for kind in ("benchmarks", "judges"))


def folder_holding(path: Path, filename: str, hint: str) -> Path:
    """The absolute path of a folder that a user names. UserError if it is missing or lacks `filename`;
    `hint` ends the message and says how to get such a folder."""
    if not path.is_dir():
        raise UserError(f"{path}: there is no such folder")
    if not (path / filename).is_file():
        raise UserError(f"{path}: no {filename} in it; {hint}")
    return path.resolve()


def folders_with(root: Path, filename: str) -> list[Path]:
    """The folders at or below `root` (two levels) that hold a file of that name, sorted."""
    if (root / filename).is_file():
        return [root]
    folders = []
    for first in _folders(root):
        if Path(first, filename).is_file():
            folders.append(Path(first))
            continue
        folders += [Path(d) for d in _folders(first) if Path(d, filename).is_file()]
    return sorted(folders)


def _folders(root: Path | str) -> list[str]:
    with os.scandir(root) as entries:
        return [e.path for e in entries if e.is_dir() and not e.name.startswith((".", "_"))]
