"""Files written so that a kill or a full disk leaves the old content or the new one whole; and locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from eval_anything.errors import InfrastructureError, UserError

_TEMPORARY = re.compile(r"\..+\.\d+\.\d+")
"""Names of files that are being written: of the file, the process and the thread."""


def write_atomically(
    path: Path, content: bytes, durable: bool = False, beside: Path | None = None
) -> None:
    """Replaces a file by new content, or leaves it as it was. InfrastructureError if it cannot.

    Args:
        path: the file.
        content: all of its bytes.
        durable: whether to wait until the disk has it, so that it survives a power cut too.
        beside: the path on the same disk that the content is first written beside; that of the file if
            left out. A kill may leave it there: see `clear_temporaries`.
    """
    temporary = (beside or path).with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from None


def clear_temporaries(folder: Path) -> None:
    """Removes what kills left of files that were written in a folder, in which nobody writes now.
    InfrastructureError if it cannot."""
    try:
        for entry in folder.iterdir() if folder.is_dir() else ():
            if _TEMPORARY.fullmatch(entry.name) and not entry.is_dir():
                entry.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from None


class AppendedFile:
    """A file that grows by whole pieces. The first piece creates and opens it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def append(self, piece: bytes) -> None:
        """Adds a piece, all of it or nothing. InfrastructureError if it cannot."""
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            append_whole(self._file, piece)
        except OSError as error:
            raise cannot_write(self._path, error) from None

    def close(self) -> None:
        """Closes the file; the next piece opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def cut_torn_line(path: Path) -> None:
    """Removes a last line without a newline, left by a kill. InfrastructureError if it cannot."""
    try:
        with path.open("r+b") as file:
            content = file.read()
            if content and not content.endswith(b"\n"):
                file.truncate(content.rfind(b"\n") + 1)
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_write(path, error) from None


def append_whole(file: int, piece: bytes) -> None:
    """Adds a piece to a file that is open for appending, all of it or nothing. OSError if it cannot."""
    written = 0
    try:
        while written < len(piece):
            written += os.write(file, piece[written:])
    except OSError:
        os.ftruncate(file, os.fstat(file).st_size - written)
        raise


def take_lock(
    file: int | IO[bytes], message: str, wait_and_say: Callable[[str], None] | None = None
) -> None:
    """Takes the kernel's lock on an open file, which ends with the process.

    If another process has it: UserError(message); with `wait_and_say`, calls that with the message and
    waits for the lock instead.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if wait_and_say is None:
            raise UserError(message) from None
        wait_and_say(message)
        fcntl.flock(file, fcntl.LOCK_EX)


@contextlib.contextmanager
def locked(
    lock: Path, message: str, wait_and_say: Callable[[str], None] | None = None
) -> Iterator[None]:
    """A context that has the lock of a file, which is created with its folder; see `take_lock`."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("ab")
    except OSError as error:
        raise cannot_write(lock.parent, error) from None
    with file:
        take_lock(file, message, wait_and_say)
        yield


def allow_open_files(count: int) -> None:
    """Raises the number of files that this process may have open at once, if it is smaller and the
    system lets it; a shell allows 1,024 or fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def cannot_write(path: Path, error: OSError) -> InfrastructureError:
    """The message for a disk that is full or read-only."""
    return InfrastructureError(
        f"cannot write {path}: {error.strerror}. What is recorded so far is kept; fix that and "
        "run the same command again to go on."
    )


def pretty_json(document: Any) -> bytes:
    """Indented JSON that ends with a newline, for files that people open."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
