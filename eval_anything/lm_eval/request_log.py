"""What a model answered to the requests of a task, kept as it comes: a run that was stopped goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from eval_anything.content import Failure, Usage
from eval_anything.errors import UserError
from eval_anything.files.writing import AppendedFile, cut_torn_line


class LoggedAnswer(Struct, frozen=True, omit_defaults=True):
    """One answer: a text, the log-likelihood of a text, or that of a continuation with whether it is
    the greedy one. `failure` says why there is none."""

    key: str
    answer: str | float | tuple[float, bool] | None
    failure: Failure | None = None
    usage: Usage = Usage()


_decoder = msgspec.json.Decoder(LoggedAnswer)


def key_of(kind: str, arguments: Sequence[Any], occurrence: int) -> str:
    """What identifies a request: its kind, what it asks, and how often that was asked before."""
    data = msgspec.json.encode([kind, arguments, occurrence], order="deterministic", enc_hook=str)
    return hashlib.sha256(data).hexdigest()


class Answers:
    """Answers by key. With a path they are lines of a file, each written at once: a kill leaves at most
    one line without its end, which does not count."""

    def __init__(self, path: Path | None = None) -> None:
        self._kept: dict[str, LoggedAnswer] = {}
        self._file = AppendedFile(path) if path is not None else None
        if path is not None and path.is_file():
            cut_torn_line(path)
            for number, line in enumerate(path.read_bytes().splitlines(), start=1):
                try:
                    kept = _decoder.decode(line)
                except msgspec.DecodeError as error:
                    raise UserError(
                        f"{path}:{number}: damaged ({error}). Delete that line and run again."
                    ) from None
                self._kept[kept.key] = kept

    def get(self, key: str) -> LoggedAnswer | None:
        """The answer, if there is one."""
        return self._kept.get(key)

    def add(self, answers: Sequence[LoggedAnswer]) -> None:
        """Keeps answers. InfrastructureError if the disk does not take them."""
        self._kept |= {kept.key: kept for kept in answers}
        if self._file is not None and answers:
            self._file.append(b"".join(msgspec.json.encode(kept) + b"\n" for kept in answers))

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
