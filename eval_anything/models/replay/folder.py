"""Reading of saved outputs from a folder, where files have the ids of their samples as names.

    <id>.<ext>                    one file of a modality: parts in the order text, image, audio, video
    <id>.<n>.<ext>                several parts, numbered from 0 or 1 in their order
    <suite>/<task>/<id>.<ext>     with several tasks (or <task>/ alone)

In names `%XX` stands for a byte that a file name cannot have (RFC 3986, 2.1), such as `/`. Names that
begin with a dot are ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from eval_anything.content import MODALITIES, Modality
from eval_anything.files.mistakes import Problem
from eval_anything.files.places import path_inside
from eval_anything.files.reading import MAX_DOCUMENT, read_text
from eval_anything.jsonl import PartJson, ReplayRow
from eval_anything.media import MAX_BYTES
from eval_anything.media.kinds import true_modality
from eval_anything.media.sniff import EXTENSIONS

_TEXTS = ("txt", "json")


_SUFFIXES = {
    **dict.fromkeys(_TEXTS, Modality.TEXT),
    **{suffix: Modality(mime.partition("/")[0]) for suffix, mime in EXTENSIONS.items()},
}


_NAME = re.compile(r"(?P<id>.+?)(?:\.(?P<number>[0-9]{1,6}))?\.(?P<suffix>[^.]+)", re.DOTALL)


_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


# suite/task: files in deeper folders are no answers.
_DEEPEST = 2


class FolderRow(NamedTuple):
    """The answer in the files of one id.

    Attributes:
        path: the first of its files.
        row: the answer as a line of a JSONL file, with paths relative to the folder.
        order_known: whether its files are numbered, or only one; else parts are in order of modality.
        files: all of its files.
    """

    path: Path
    row: ReplayRow
    order_known: bool
    files: list[Path]


class _File(NamedTuple):
    path: Path
    number: int | None
    modality: Modality


Note = Callable[[Problem], None]


def read_folder(root: Path, note: Note) -> Iterator[FolderRow]:
    """One row for each id, in the order of tasks and ids; no medium is decoded.

    Args:
        root: the folder.
        note: is called with the mistakes of files and ids, which have no row.
    """
    files_by_id: dict[tuple[str, str], list[_File]] = {}
    for path in _walk(root, note):
        try:
            sample_id, file = _parsed(path, root)
        except ValueError as error:
            note(Problem(path, 0, str(error)))
            continue
        task = path.parent.relative_to(root).as_posix()
        files_by_id.setdefault(("" if task == "." else task, sample_id), []).append(file)
    for (task, sample_id), files in files_by_id.items():
        numbered = all(file.number is not None for file in files)
        files.sort(key=_place)
        try:
            _check_slots(files, numbered)
            parts = [_part(file, root) for file in files]
        except OSError as error:
            note(Problem(files[0].path, 0, f"cannot be read: {error.strerror}"))
            continue
        except ValueError as error:
            note(Problem(files[0].path, 0, str(error)))
            continue
        row = ReplayRow(sample_id, parts, task or None)
        yield FolderRow(files[0].path, row, numbered or len(files) == 1, [file.path for file in files])


def _walk(root: Path, note: Note, depth: int = 0) -> Iterator[Path]:
    """The files in the order of their names; links to folders are reported and not followed."""
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        path = root / entry.name
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            yield path
        elif depth == _DEEPEST:
            note(Problem(path, 0, "lies too deep: folders are <suite>/<task>/"))
        elif entry.is_symlink():
            note(Problem(path, 0, "is a link to a folder: put the folder itself there"))
        else:
            yield from _walk(path, note, depth + 1)


def _parsed(path: Path, root: Path) -> tuple[str, _File]:
    """The sample id in a file's name, and the file. ValueError if the name has another form."""
    name = _NAME.fullmatch(path.name)
    modality = _SUFFIXES.get(name["suffix"].lower()) if name is not None else None
    if name is None or modality is None:
        extensions = ", ".join(f".{suffix}" for suffix in _SUFFIXES)
        raise ValueError(f"is no part of an answer: names are <sample id> and one of {extensions}")
    if _BAD_ESCAPE.search(name["id"]):
        raise ValueError("has a % that stands for no byte: write %25 for the % of an id")
    try:
        sample_id = unquote_to_bytes(os.fsencode(name["id"])).decode()
    except UnicodeDecodeError:
        raise ValueError("is no UTF-8 once its %XX are bytes") from None
    path_inside(root, path.relative_to(root).as_posix())
    if not path.is_file():
        raise ValueError("is no regular file")
    if modality in (Modality.AUDIO, Modality.VIDEO):
        modality = true_modality(path, modality)
    return sample_id, _File(path, int(name["number"]) if name["number"] else None, modality)


def _place(file: _File) -> tuple[int, int, str]:
    number = -1 if file.number is None else file.number
    return number, MODALITIES.index(file.modality), file.path.name


def _check_slots(files: list[_File], numbered: bool) -> None:
    """Raises ValueError if two files have the same position, or the numbers do not count up."""
    if not numbered and any(file.number is not None for file in files):
        raise ValueError("has no number, but other parts of its answer have: number all of them")
    for before, after in pairwise(files):
        if before.number == after.number and (numbered or before.modality is after.modality):
            position = f"number {before.number}" if numbered else f"the {before.modality}"
            fix = "keep one" if numbered else "keep one, or number the parts: <id>.1.png, <id>.2.png"
            names = f"{before.path.name} and {after.path.name}"
            raise ValueError(f"{names} are both {position} of one answer: {fix}")
    if numbered:
        first = files[0].number
        if first not in (0, 1) or [f.number for f in files] != list(range(first, first + len(files))):
            numbers = ", ".join(str(file.number) for file in files)
            raise ValueError(f"begins parts numbered {numbers}: they must count up from 0 or 1")


def _part(file: _File, root: Path) -> PartJson:
    if file.modality is not Modality.TEXT:
        return PartJson(file.modality, path=file.path.relative_to(root).as_posix())
    if file.path.stat().st_size > MAX_BYTES:
        raise ValueError(f"has more than the {MAX_BYTES} bytes allowed")
    try:
        return PartJson(Modality.TEXT, text=read_text(file.path, MAX_DOCUMENT))
    except UnicodeDecodeError as error:
        raise ValueError(f"is no UTF-8 text (byte {error.start})") from None
