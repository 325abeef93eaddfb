"""Writing files so that a kill or a full disk leaves the old content or the new, nothing between."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from eval_anything.errors import InfrastructureError, UserError


def write_atomically(path: Path, data: bytes, durable: bool = False) -> None:
    """Replaces a file by new content, or leaves it as it was. InfrastructureError if it cannot.

    `durable` waits for the disk, so that a power cut keeps it too.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from None


class AppendedFile:
    """A file that grows by whole pieces. It is made, and opened, with the first of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def append(self, data: bytes) -> None:
        """Adds data, all of it or nothing. InfrastructureError if it cannot."""
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            append_whole(self._file, data)
        except OSError as error:
            raise cannot_write(self._path, error) from None

    def close(self) -> None:
        """Closes the file; the next piece opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def cut_torn_line(path: Path) -> None:
    """Cuts off a last line without its end, which a kill has left. InfrastructureError if it cannot."""
    try:
        with path.open("r+b") as file:
            data = file.read()
            if data and not data.endswith(b"\n"):
                file.truncate(data.rfind(b"\n") + 1)
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_write(path, error) from None


def append_whole(file: int, data: bytes) -> None:
    """Adds data to a file that is open for appending, all of it or nothing. OSError if it cannot."""
    size = os.fstat(file).st_size
    try:
        written = 0
        while written < len(data):
            written += os.write(file, data[written:])
    except OSError:
        os.ftruncate(file, size)
        raise


def hold(file: int | IO[bytes], message: str, wait_and_say: Callable[[str], None] | None = None) -> None:
    """Takes the kernel's lock on an open file, which falls with the process.

    If another process has it: UserError(message), or with `wait_and_say` the message is passed to that
    and the lock is waited for.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if wait_and_say is None:
            raise UserError(message) from None
        wait_and_say(message)
        fcntl.flock(file, fcntl.LOCK_EX)


@contextlib.contextmanager
def held(lock: Path, message: str, wait_and_say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Holds the lock of a file, which is made with its folder if it is not there; as `hold`."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("ab")
    except OSError as error:
        raise cannot_write(lock.parent, error) from None
    with file:
        hold(file, message, wait_and_say)
        yield


def cannot_write(path: Path, error: OSError) -> InfrastructureError:
    """The message for a disk that is full or read-only."""
    return InfrastructureError(
        f"cannot write {path}: {error.strerror}. What is recorded so far is kept; mend that and "
        "run the same command again to go on."
    )


def pretty_json(value: Any) -> bytes:
    """JSON for files that people open: indented, with a last newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
