"""The file of annotations: one answer a line, append-only; the last answer of an annotator counts.

A line holds the prompt and the responses, so that exports need neither the task nor the runs. Media
are in `media/` beside the file, and paths are relative to its folder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from eval_anything.content import Contract
from eval_anything.errors import UserError
from eval_anything.files.json_text import decode_strict
from eval_anything.files.reading import MAX_DOCUMENT, MAX_LINES, file_lines, open_file
from eval_anything.files.writing import append_whole, cannot_write, take_lock
from eval_anything.jsonl import MessageJson, PartJson

Kind = Literal["vote", "preference", "grade"]


class AnnotatedResponse(Struct, frozen=True, forbid_unknown_fields=True):
    """A response that the annotator saw; `name` is that of its run or file."""

    name: str
    parts: list[PartJson]


class Chosen(Struct, frozen=True, forbid_unknown_fields=True):
    """The stratum from which `--next` drew a sample for a label of this metric: its number, and the
    number of samples in it. All of them were equally likely."""

    metric: str
    stratum: int
    of: int


class Annotation(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One answer of one annotator.

    `key` is the sha256 of the question: its kind, the item and the responses. `responses` are in the
    order of the command (`a`, then `b`), whichever side they were shown on. `withdrawn` takes the
    earlier answer back.
    """

    kind: Kind
    key: str
    annotator: str
    time: str
    task: str
    sample_id: str
    source_id: str
    item: str
    messages: list[MessageJson]
    contract: Contract
    targets: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    responses: list[AnnotatedResponse] = []
    shown_first: Literal["a", "b"] | None = None
    vote: str | None = None
    preferred: Literal["a", "b", "tie"] | None = None
    grade: int | None = None
    scale: int | None = None
    critique: str = ""
    withdrawn: bool = False
    chosen: Chosen | None = None

    def __post_init__(self) -> None:
        answers = {"vote": self.vote, "preference": self.preferred, "grade": self.grade}
        answered = [kind for kind, answer in answers.items() if answer is not None]
        if answered != ([] if self.withdrawn else [self.kind]):
            raise ValueError(f"a line of the kind {self.kind} must have that answer alone, or withdrawn")
        if len(self.responses) != {"vote": 0, "grade": 1, "preference": 2}[self.kind]:
            raise ValueError(f"{len(self.responses)} responses do not belong to a {self.kind}")


_START = b'{"kind":"'
"""Start of every line."""


def read_annotations(path: Path) -> list[Annotation]:
    """Annotations of all complete lines, in their order. UserError names a damaged line."""
    annotations = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.endswith(b"\n"):
            break
        try:
            annotations.append(decode_strict(line[:-1], Annotation))
        except ValueError as error:
            raise UserError(
                f"{path}:{number}: this line is no annotation ({error}). The file must be one that "
                "`eval-anything annotate` wrote; delete the line if it is damaged."
            ) from None
    return annotations


def _lines(path: Path) -> Iterator[bytes]:
    try:
        yield from file_lines(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def latest_answers(annotations: list[Annotation]) -> list[Annotation]:
    """The last answer of each annotator to each question, in their order, without withdrawn ones."""
    last: dict[tuple[str, str], Annotation] = {}
    for annotation in annotations:
        key = (annotation.annotator, annotation.key)
        last.pop(key, None)
        last[key] = annotation
    return [annotation for annotation in last.values() if not annotation.withdrawn]


class Log:
    """A file of annotations that this process has locked; `before` are the annotations in it at the
    start."""

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self.before = read_annotations(path)
        self._file = file

    def append(self, annotation: Annotation) -> None:
        """Appends one line, completely or not at all. InfrastructureError if the disk fails."""
        try:
            append_whole(self._file, msgspec.json.encode(annotation) + b"\n")
        except OSError as error:
            raise cannot_write(self.path, error) from None


@contextlib.contextmanager
def open_log(path: Path) -> Iterator[Log]:
    """Opens and locks a file of annotations, new or old, and removes an incomplete last line.

    UserError if it cannot be opened, is locked by another process, or holds something else.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"--out {path}: {error.strerror}") from None
    try:
        take_lock(
            file, f"--out {path} is in use by another process: stop that one, or choose another file"
        )
        _fix_end(path, file)
        yield Log(path, file)
    finally:
        os.close(file)


def _fix_end(path: Path, file: int) -> None:
    """Removes an incomplete last line, left by a kill. UserError if it is not that of an annotation."""
    with open_file(path, MAX_LINES) as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(0, size - MAX_DOCUMENT))
        torn = log.read().rpartition(b"\n")[2]
    try:
        decode_strict(torn, Annotation)
        append_whole(file, b"\n")  # an editor took the last newline away
    except ValueError:
        if torn[: len(_START)] != _START[: len(torn)]:
            raise UserError(f"--out {path} is no file of annotations: choose another file") from None
        os.ftruncate(file, size - len(torn))
