"""Files that others may have made, opened so that reading them ends and takes bounded memory.

Only regular files are opened: a pipe would wait for ever, and a device such as /dev/zero has no end.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, AnyStr

from eval_anything.errors import UserError

MAX_YAML = 2**20
"""Bytes of a YAML file: task, judge, suite, policy, agent, training."""


MAX_TEMPLATE = 2**20
"""Bytes of a template."""


MAX_DOCUMENT = 16 * 2**20
"""Bytes of one JSON document (results.json, run.json, a config), and of one line of JSON."""


MAX_LINES = 2 * 2**30
"""Bytes of a file of lines: samples, records, saved outputs, labels, training rows."""


class RefusedFileError(OSError, UserError):
    """A file that is not read, because it is no regular one or too large."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def open_file(path: Path, most: int | None = None) -> BufferedReader:
    """The file, open for reading; its end is where it was when it was opened, or later.

    Args:
        path: the file.
        most: its largest size in bytes; None: any.

    Raises:
        RefusedFileError: it is no regular file, or larger; its `strerror` says so.
        OSError: it cannot be opened.
    """
    _check(path, os.stat(path), most)  # noqa: PTH116  (opening some devices does something)
    # What has become a pipe since then is opened without waiting, and refused.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _check(path, os.fstat(descriptor), most)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a file, at most `most`. Errors: `open_file`.

    Example:
        >>> _ = Path("note.txt").write_text("short")
        >>> read_file(Path("note.txt"), most=10)
        b'short'
    """
    with open_file(path, most) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise _too_large(path, len(content), most)
    return content


def read_text(path: Path, most: int = MAX_TEMPLATE) -> str:
    """The text of a file in UTF-8, without a byte order mark. UnicodeDecodeError, or as `read_file`."""
    return read_file(path, most).decode("utf-8-sig")


def file_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file with their newlines, one in memory at a time. Errors: `open_file`, and
    RefusedFileError for a file or a line that is too large."""
    with open_file(path, MAX_LINES) as file:
        yield from bounded_lines(path, file)


def bounded_lines(path: Path, file: IO[AnyStr]) -> Iterator[AnyStr]:
    """The lines of an open file. RefusedFileError for one that is longer than `MAX_DOCUMENT`."""
    number = 0
    while line := file.readline(MAX_DOCUMENT + 1):
        number += 1
        if len(line) > MAX_DOCUMENT:
            message = f"line {number} has more than the {MAX_DOCUMENT:,} bytes that are read"
            raise RefusedFileError(errno.EFBIG, message, str(path))
        yield line


def _check(path: Path, status: os.stat_result, most: int | None) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise RefusedFileError(errno.EISDIR, "it is a folder, not a file", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise RefusedFileError(errno.EINVAL, "it is no plain file, but a pipe or a device", str(path))
    if most is not None and status.st_size > most:
        raise _too_large(path, status.st_size, most)


def _too_large(path: Path, size: int, most: int) -> RefusedFileError:
    message = f"it has {size:,} bytes, more than the {most:,} that are read"
    return RefusedFileError(errno.EFBIG, message, str(path))
