"""Pieces of bytes in a temporary file, so that many of them take little memory."""

from __future__ import annotations

import os
import tempfile
from array import array
from typing import IO

from eval_anything.errors import InfrastructureError
from eval_anything.files.writing import append_whole

_IN_MEMORY = 2**20  # bytes that are kept before they are written


class Spool:
    """Pieces that are added one after another, and read by their numbers, from 0. A few small ones are
    never written to the disk. The file has no name and is gone with the process.

    Example:
        >>> spool = Spool()
        >>> spool.append(b"first"), spool.append(b"second")
        (0, 1)
        >>> spool[1]
        b'second'
    """

    def __init__(self) -> None:
        self._ends = array("q", [0])
        self._tail = bytearray()
        self._written = 0
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> bytes:
        start, end = self._ends[number], self._ends[number + 1]
        if start >= self._written:
            return bytes(self._tail[start - self._written : end - self._written])
        assert self._file is not None
        return os.pread(self._file.fileno(), end - start, start)

    def append(self, piece: bytes) -> int:
        """Adds a piece and returns its number. InfrastructureError if the disk fails."""
        self._tail += piece
        self._ends.append(self._ends[-1] + len(piece))
        if len(self._tail) > _IN_MEMORY:
            self._write()
        return len(self) - 1

    def _write(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="eval-anything-")  # noqa: SIM115
            append_whole(self._file.fileno(), bytes(self._tail))
        except OSError as error:
            raise InfrastructureError(
                f"cannot write a temporary file in {tempfile.gettempdir()}: {error.strerror}. TMPDIR "
                "names another folder for it"
            ) from None
        self._written += len(self._tail)
        self._tail.clear()
