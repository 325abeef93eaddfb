"""The pool of decoding processes, as seen by their parent.

A medium cannot harm the parent, which reads only lines of JSON and an array whose size it has checked.
A process decodes many media, because starting one takes about a hundred times as long as a small
picture; after a crash, a hang or too much memory it is ended, and the next medium gets a new one.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eval_anything.errors import InfrastructureError
from eval_anything.media.limits import MAX_DECODE_SECONDS, MAX_MEMORY, MAX_RESULT
from eval_anything.media.sniff import MediaError

if TYPE_CHECKING:
    import numpy as np


_START_SECONDS = 120.0


# Size that the shared file may keep between media; a larger one is returned to the system at once.
_KEPT_BYTES = 16 * 2**20


class DecodedReply(NamedTuple):
    """The reply of a decoding process, and the array of pixels or samples; None without a `dtype`."""

    answer: Mapping[str, Any]
    array: Any


class _GoneError(Exception):
    """The process ended, or must be ended; the message says why."""


class Pool:
    """At most `size` processes, started when they are needed. Safe to use from several threads."""

    def __init__(self, size: int, seconds: float = MAX_DECODE_SECONDS, memory: int = MAX_MEMORY) -> None:
        self.seconds = seconds
        self.memory = memory
        self._free: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(size):
            self._free.put(None)
        self._all: set[_Process] = set()
        self._lock = threading.Lock()

    def decode(
        self, operation: str, path: Path, dtype: str | None = None, **request: Any
    ) -> DecodedReply:
        """Has a process do an operation (see `worker`) on a medium, and waits for the reply.

        MediaError if the medium is at fault, InfrastructureError if no process can decode it.
        """
        process, usable = self._free.get(), False
        try:
            if process is None or process.popen.poll() is not None:
                self._end(process)
                process = self._start()
            answer = process.ask(
                {"operation": operation, "path": os.fspath(path), **request}, self.seconds
            )
            if "memory" in answer:
                raise _GoneError(f"needs more than {self.memory // 2**20} MiB to decode")
            array = None
            if dtype is not None and "shape" in answer:
                array = process.take(answer["shape"], dtype)
            usable = not answer["last"]
        except _GoneError as gone:
            raise MediaError(f"{path} {gone}") from None
        finally:
            if not usable:
                self._end(process)
            self._free.put(process if usable else None)
        if "error" in answer:
            raise MediaError(answer["error"])
        if "missing" in answer:
            raise InfrastructureError(f"cannot decode {path}: {answer['missing']}")
        return DecodedReply(answer, array)

    def processes(self) -> list[int]:
        """Ids of the running processes."""
        with self._lock:
            return [process.popen.pid for process in self._all]

    def close(self) -> None:
        """Ends all processes; a later medium starts new ones."""
        with self._lock:
            ending, self._all = self._all, set()
        for process in ending:
            process.end()

    def forget(self) -> None:
        """Detaches from all processes, without ending them; for a fork, since they are its parent's."""
        for process in self._all:
            process.forget()

    def _start(self) -> _Process:
        process = _Process(self.seconds, self.memory)
        with self._lock:
            self._all.add(process)
        return process

    def _end(self, process: _Process | None) -> None:
        if process is not None:
            with self._lock:
                self._all.discard(process)
            process.end()


class _Process:
    """A decoding process: it reads requests from stdin, and shares a file for pixels and samples."""

    def __init__(self, seconds: float, memory: int) -> None:
        self._file = _shared_file()
        # The parent's path, made absolute; -P keeps the child's working directory out of it.
        path = os.pathsep.join(os.path.abspath(p) for p in sys.path)  # noqa: PTH100  ("" is the cwd)
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            # Address space is limited, and the stacks of unused threads would take most of it.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
            # Number of times that decord retries to read a frame that a damaged file does not have.
            "DECORD_EOF_RETRY_MAX": "128",
        }
        grace = 5  # the parent ends a hang; the child does so itself only when orphaned
        arguments = [str(self._file), str(math.ceil(seconds) + grace), str(memory)]
        try:
            self.popen = subprocess.Popen(
                [sys.executable, "-P", "-m", "eval_anything.media.worker", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                pass_fds=[self._file],
                env=environment,
                start_new_session=True,  # Ctrl-C is for the parent
            )
        except OSError as error:
            os.close(self._file)
            raise InfrastructureError(f"cannot start a process to decode media: {error}") from None
        try:
            self._line(time.monotonic() + _START_SECONDS)
        except _GoneError as gone:
            self.end()
            raise InfrastructureError(f"the process to decode media {gone}") from None

    def ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Sends one request and returns the reply. _GoneError on a crash or timeout."""
        assert self.popen.stdin is not None
        deadline = time.monotonic() + seconds
        try:
            self.popen.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise _GoneError(self._how_it_ended()) from None
        try:
            answer = json.loads(self._line(deadline))
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or "last" not in answer:
            raise _GoneError("made its decoder answer nonsense")
        return answer

    def take(self, shape: list[int], dtype: str) -> np.ndarray:
        """The array of the last reply, copied, so that the process cannot change it later."""
        import numpy as np

        size = math.prod(shape) * np.dtype(dtype).itemsize
        if not 0 <= size <= min(MAX_RESULT, os.fstat(self._file).st_size):
            raise _GoneError("made its decoder answer nonsense")
        array = np.empty(shape, dtype)
        unread = array.reshape(-1).view(np.uint8).data
        while unread:
            unread = unread[os.preadv(self._file, [unread], size - len(unread)) :]
        if size > _KEPT_BYTES:
            os.ftruncate(self._file, 0)
        return array

    def end(self) -> None:
        """Ends the process if it runs, and waits for it. A second call does nothing."""
        self.popen.kill()
        self.popen.wait()
        self._close()

    def forget(self) -> None:
        """Detaches from the process without ending it."""
        self.popen.returncode = 0  # no child of this process: it must not be waited for
        self._close()

    def _close(self) -> None:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        if not self.popen.stdin.closed:
            self.popen.stdin.close()
            self.popen.stdout.close()
            os.close(self._file)

    def _line(self, deadline: float) -> bytes:
        assert self.popen.stdout is not None
        fd = self.popen.stdout.fileno()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        line = bytearray()
        while not line.endswith(b"\n"):
            seconds_left = deadline - time.monotonic()
            if seconds_left <= 0 or not poll.poll(math.ceil(seconds_left * 1000)):
                raise _GoneError("takes too long to decode")
            chunk = os.read(fd, 65536)
            if not chunk:
                raise _GoneError(self._how_it_ended())
            line += chunk
        return bytes(line)

    def _how_it_ended(self) -> str:
        code = self.popen.wait()
        if code < 0:
            return f"crashed its decoder ({signal.Signals(-code).name})"
        return f"made its decoder end with code {code}"


def _shared_file() -> int:
    """Descriptor of a file in memory where the system has such files, else of one without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("eval-anything-media")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _new_pool() -> Pool:
    return Pool(min(4, os.cpu_count() or 1))


_pool = _new_pool()


def pool() -> Pool:
    """The pool that all readers share."""
    return _pool


def _after_fork() -> None:
    global _pool
    _pool.forget()
    _pool = _new_pool()


def _at_exit() -> None:
    _pool.close()


atexit.register(_at_exit)


os.register_at_fork(after_in_child=_after_fork)
