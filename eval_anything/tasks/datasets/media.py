"""Media of a data set, found by the paths in its rows, which may leave out leading folders."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

from eval_anything.errors import near
from eval_anything.media.kinds import kind_of
from eval_anything.media.sniff import EXTENSIONS


class MediaFinder:
    """Index of the files below a folder by name. `folders` are those of the unpacked archives."""

    def __init__(self, root: Path, folders: Collection[str]) -> None:
        self._root = root
        self._folders = folders
        self._by_name: dict[str, list[PurePosixPath]] | None = None

    def part(self, path: Any, folder: str = "") -> dict[str, str]:
        """Modality and path (for JSON) of the one file that a row means by `path`.

        That is the file to which `path` leads from the root or any folder below it; with `folder`, only
        within that folder. ValueError if there is none, or several.
        """
        if not isinstance(path, str) or not path.strip():
            raise ValueError(f"the path of a medium must be text, not {path!r:.60}")
        if folder and folder not in self._folders:
            raise ValueError(
                f"medium({folder!r}): no archive is unpacked there.{near(folder, self._folders)}"
            )
        target = PurePosixPath(path.replace("\\", "/"))
        if target.is_absolute() or ".." in target.parts:
            raise ValueError(f"the path {path!r} of a medium leads outside the data set")
        inside = (folder,) if folder else ()
        names = [target.name, *(f"{target.name}.{extension}" for extension in EXTENSIONS)]
        matches = [
            candidate
            for name in names
            for candidate in self._files().get(name, ())
            if candidate.parts[: len(inside)] == inside and _leads_to(target, candidate, inside)
        ]
        if not matches:
            hint = near(target.name, self._files())
            raise ValueError(f"the medium {path!r} is not in {folder or 'the data set'}.{hint}")
        if len(matches) > 1:
            raise ValueError(f"the medium {path!r} may be {' or '.join(map(str, matches[:3]))}")
        return {"modality": kind_of(self._root / matches[0]).modality, "path": str(matches[0])}

    def _files(self) -> dict[str, list[PurePosixPath]]:
        if self._by_name is None:
            self._by_name = {}
            for directory, folders, names in os.walk(self._root):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for name in names:
                    path = PurePosixPath(os.path.relpath(Path(directory, name), self._root))
                    self._by_name.setdefault(name, []).append(path)
        return self._by_name


def _leads_to(target: PurePosixPath, candidate: PurePosixPath, inside: tuple[str, ...]) -> bool:
    """Whether the candidate's folders (without the leading `inside`) end like the target's, compared as
    far as the shorter of the two goes."""
    candidate_folders = candidate.parent.parts[len(inside) :]
    target_folders = target.parent.parts
    length = min(len(candidate_folders), len(target_folders))
    return length == 0 or candidate_folders[-length:] == target_folders[-length:]
