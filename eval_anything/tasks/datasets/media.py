"""Media of a data set by the paths that its rows give, which need not say in which folder they are."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

from eval_anything.errors import near
from eval_anything.media.sniff import EXTENSIONS, kind_of_file


class MediaFinder:
    """The files below a folder, by name. `folders` are those that archives were unpacked into."""

    def __init__(self, root: Path, folders: Collection[str]) -> None:
        self._root = root
        self._folders = folders
        self._by_name: dict[str, list[PurePosixPath]] | None = None

    def part(self, path: Any, folder: str = "") -> dict[str, str]:
        """The part, for JSON, of the one file that a row means by `path`: the one that it leads to from
        the root, from `folder` or from a folder below it. ValueError if there is none, or several."""
        if not isinstance(path, str) or not path.strip():
            raise ValueError(f"the path of a medium must be text, not {path!r:.60}")
        if folder and folder not in self._folders:
            raise ValueError(
                f"medium({folder!r}): no archive is unpacked there.{near(folder, self._folders)}"
            )
        wanted = PurePosixPath(path.replace("\\", "/"))
        if wanted.is_absolute() or ".." in wanted.parts:
            raise ValueError(f"the path {path!r} of a medium leads outside the data set")
        inside = (folder,) if folder else ()
        names = [wanted.name, *(f"{wanted.name}.{extension}" for extension in EXTENSIONS)]
        found = [
            known
            for name in names
            for known in self._files().get(name, ())
            if known.parts[: len(inside)] == inside and _leads_to(wanted, known, inside)
        ]
        if not found:
            hint = near(wanted.name, self._files())
            raise ValueError(f"the medium {path!r} is not in {folder or 'the data set'}.{hint}")
        if len(found) > 1:
            raise ValueError(f"the medium {path!r} may be {' or '.join(map(str, found[:3]))}")
        return {"modality": kind_of_file(self._root / found[0]).modality, "path": str(found[0])}

    def _files(self) -> dict[str, list[PurePosixPath]]:
        if self._by_name is None:
            self._by_name = {}
            for directory, folders, names in os.walk(self._root):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for name in names:
                    path = PurePosixPath(os.path.relpath(Path(directory, name), self._root))
                    self._by_name.setdefault(name, []).append(path)
        return self._by_name


def _leads_to(wanted: PurePosixPath, known: PurePosixPath, inside: tuple[str, ...]) -> bool:
    """Whether the folders of the one path end in those of the other, so far as both have any."""
    ours = known.parent.parts[len(inside) :]
    theirs = wanted.parent.parts
    length = min(len(ours), len(theirs))
    return length == 0 or ours[-length:] == theirs[-length:]
