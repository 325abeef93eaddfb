"""spending.jsonl: a line for each request that a run paid for, whether or not its answer was used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from eval_anything.content import Count, Usage
from eval_anything.errors import UserError
from eval_anything.files.json_text import decode_strict
from eval_anything.files.reading import file_lines
from eval_anything.files.writing import AppendedFile, cut_torn_line

FILE_NAME = "spending.jsonl"


class Payment(Struct, frozen=True, omit_defaults=True):
    """One request, or several: the model that was paid, and the tokens."""

    model: str
    tokens: Usage
    calls: Count = 1


def payments(path: Path) -> Iterator[Payment]:
    """All payments in a file, which may be missing; a line that a kill has cut is left out. UserError
    names a damaged line."""
    lines = file_lines(path) if path.is_file() else iter(())
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            break
        try:
            yield decode_strict(line, Payment)
        except ValueError as error:
            raise UserError(f"{path}:{number}: damaged ({error}): delete that line") from None


class SpendingFile:
    """The payments of a run that this process has locked."""

    def __init__(self, run: Path) -> None:
        self._path = run / FILE_NAME
        self._file = AppendedFile(self._path)
        cut_torn_line(self._path)

    @property
    def exists(self) -> bool:
        """Whether the run has such a file; runs of older versions have none."""
        return self._path.is_file()

    def read(self) -> Iterator[Payment]:
        """All payments. UserError names a damaged line."""
        return payments(self._path)

    def append(self, model: str, tokens: Usage, calls: int = 1) -> None:
        """Adds a payment. InfrastructureError if the disk fails."""
        self._file.append(msgspec.json.encode(Payment(model, tokens, calls)) + b"\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
