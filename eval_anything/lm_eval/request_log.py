"""Answers of a model to the requests of a task, stored at once: a stopped run resumes from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from eval_anything.content import Failure, Usage
from eval_anything.errors import UserError
from eval_anything.files.json_text import decode_strict
from eval_anything.files.reading import file_lines
from eval_anything.files.writing import AppendedFile, cut_torn_line


class LoggedAnswer(Struct, frozen=True, omit_defaults=True):
    """One answer: a text, the log-likelihood of a text, or that of a continuation with True if it is the
    greedy one. None with a `failure`."""

    key: str
    answer: str | float | tuple[float, bool] | None
    failure: Failure | None = None
    usage: Usage = Usage()


def key_of(kind: str, arguments: Sequence[Any], occurrence: int) -> str:
    """Sha256 that identifies a request: by its kind, its arguments, and the number of equal requests
    before it."""
    identity = msgspec.json.encode([kind, arguments, occurrence], order="deterministic", enc_hook=str)
    return hashlib.sha256(identity).hexdigest()


class Answers:
    """Answers by key. With a path they are lines of a file, each written at once: a kill leaves at most
    one incomplete line, which is removed when the file is opened."""

    def __init__(self, path: Path | None = None) -> None:
        self._by_key: dict[str, LoggedAnswer] = {}
        self._file = AppendedFile(path) if path is not None else None
        if path is not None and path.is_file():
            cut_torn_line(path)
            for number, line in enumerate(file_lines(path), start=1):
                try:
                    answer = decode_strict(line, LoggedAnswer)
                except ValueError as error:
                    raise UserError(
                        f"{path}:{number}: damaged ({error}). Delete that line and run again."
                    ) from None
                self._by_key[answer.key] = answer

    def get(self, key: str) -> LoggedAnswer | None:
        """The answer to a request; None if there is none."""
        return self._by_key.get(key)

    def has_any(self) -> bool:
        """Whether there is an answer that is no failure."""
        return any(answer.failure is None for answer in self._by_key.values())

    def add(self, answers: Sequence[LoggedAnswer]) -> None:
        """Stores answers. InfrastructureError if they cannot be written."""
        self._by_key |= {answer.key: answer for answer in answers}
        if self._file is not None and answers:
            self._file.append(b"".join(msgspec.json.encode(answer) + b"\n" for answer in answers))

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
