"""Child processes for what must not harm this one: decoders of media, templates of others.

The parent reads only lines of JSON from a child. A child answers many requests, because starting one
takes long; after a crash, a hang or too much memory it is ended, and the next request gets a new one.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from eval_anything.errors import InfrastructureError

_START_SECONDS = 120.0


_LONGEST_REPLY = 64 * 2**20


Json = dict[str, Any]
"""A request or a reply."""


_TRIES = 3
"""Times that a request is sent, if something outside kills the process that it was sent to."""


_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
"""Signals that no request makes a process die of."""


class GoneError(Exception):
    """The process ended, or must be ended; the message says why, as what follows "it"."""


class KilledError(GoneError):
    """Something outside killed the process: a user, or a system that has too little memory."""


class Worker:
    """A process that answers requests, as seen by its parent.

    Args:
        module: the module that is run; its `main` calls `serve`.
        arguments: its arguments.
        verb, noun: the work and its worker, for messages: "decode", "decoder".
        descriptors: open files that it inherits.
        environment: variables beside those of this process.

    Raises:
        InfrastructureError: it does not start.
        KilledError: it was killed while it started.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        verb: str,
        noun: str,
        descriptors: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.finished = False
        self._verb, self._noun = verb, noun
        # The parent's path, made absolute; -P keeps the child's working directory out of it.
        path = os.pathsep.join(os.path.abspath(p) for p in sys.path)  # noqa: PTH100  ("" is the cwd)
        try:
            self.popen = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                pass_fds=descriptors,
                env={**os.environ, **(environment or {}), "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the parent
            )
        except OSError as error:
            raise InfrastructureError(f"cannot start a process to {verb}: {error}") from None
        try:
            self._line(time.monotonic() + _START_SECONDS)
        except KilledError:
            self.end()
            raise
        except GoneError as gone:
            self.end()
            raise InfrastructureError(f"the process to {verb} {gone}") from None

    def ask(self, request: Mapping[str, Any], seconds: float) -> Json:
        """Sends one request and returns the reply. GoneError on a crash or timeout."""
        assert self.popen.stdin is not None
        deadline = time.monotonic() + seconds
        try:
            self.popen.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise self._ended() from None
        try:
            reply = json.loads(self._line(deadline))
        except (ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict) or "last" not in reply:
            raise GoneError(f"made its {self._noun} answer nonsense")
        self.finished = bool(reply["last"])
        return reply

    def end(self) -> None:
        """Ends the process if it runs, and waits for it. A second call does nothing."""
        self.popen.kill()
        self.popen.wait()
        self._close()

    def forget(self) -> None:
        """Detaches from the process without ending it; for a fork, since it is its parent's."""
        self.popen.returncode = 0  # no child of this process: it must not be waited for
        self._close()

    def _close(self) -> None:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.close()
        self.popen.stdout.close()

    def _line(self, deadline: float) -> bytes:
        assert self.popen.stdout is not None
        fd = self.popen.stdout.fileno()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        line = bytearray()
        while not line.endswith(b"\n"):
            seconds_left = deadline - time.monotonic()
            if seconds_left <= 0 or not poll.poll(math.ceil(seconds_left * 1000)):
                raise GoneError(f"takes too long to {self._verb}")
            chunk = os.read(fd, 65536)
            if not chunk:
                raise self._ended()
            line += chunk
            if len(line) > _LONGEST_REPLY:
                raise GoneError(f"made its {self._noun} answer nonsense")
        return bytes(line)

    def _ended(self) -> GoneError:
        """The error for a process that has ended by itself."""
        code = self.popen.wait()
        if code >= 0:
            return GoneError(f"made its {self._noun} end with code {code}")
        name = signal.Signals(-code).name
        if -code in _FROM_OUTSIDE:
            return KilledError(f"the process to {self._verb} was killed ({name})")
        return GoneError(f"crashed its {self._noun} ({name})")


W = TypeVar("W", bound=Worker)


T = TypeVar("T")


class WorkerPool(Generic[W]):
    """At most `size` workers, made by `start` when they are needed. Safe to use from several threads."""

    def __init__(self, size: int, start: Callable[[], W]) -> None:
        self._size = size
        self._start = start
        self._reset()
        _pools.add(self)

    def _reset(self) -> None:
        self._free: queue.LifoQueue[W | None] = queue.LifoQueue()
        for _ in range(self._size):
            self._free.put(None)
        self._all: set[W] = set()
        self._lock = threading.Lock()

    def use(self, work: Callable[[W], T]) -> T:
        """The result of some work with a worker that no other thread has meanwhile. If something
        outside kills the worker, the work is done again with another one.

        Raises:
            GoneError: the work ended the worker.
            InfrastructureError: no worker starts, or all that did were killed.
        """
        for _ in range(_TRIES):
            try:
                with self._worker() as worker:
                    return work(worker)
            except KilledError as error:
                reason = str(error)
        raise InfrastructureError(
            f"{reason}, {_TRIES} times, as by a system with too little memory. What is recorded is "
            "kept: the same command goes on"
        )

    @contextlib.contextmanager
    def _worker(self) -> Iterator[W]:
        """A context with a worker. An exception in it ends the worker."""
        worker, usable = self._free.get(), False
        try:
            if worker is None or worker.popen.poll() is not None:
                self._end(worker)
                worker = self._start()
                with self._lock:
                    self._all.add(worker)
            yield worker
            usable = not worker.finished
        finally:
            if not usable:
                self._end(worker)
            self._free.put(worker if usable else None)

    def processes(self) -> list[int]:
        """Ids of the running processes."""
        with self._lock:
            return [worker.popen.pid for worker in self._all]

    def close(self) -> None:
        """Ends all processes; a later request starts new ones."""
        with self._lock:
            ending, self._all = self._all, set()
        for worker in ending:
            worker.end()

    def forget(self) -> None:
        """Detaches from all processes, without ending them; for a fork, since they are its parent's."""
        for worker in self._all:
            worker.forget()
        self._reset()

    def _end(self, worker: W | None) -> None:
        if worker is not None:
            with self._lock:
                self._all.discard(worker)
            worker.end()


_pools: weakref.WeakSet[WorkerPool[Any]] = weakref.WeakSet()


def close_all() -> None:
    """Ends all processes of all pools."""
    for pool in list(_pools):
        pool.close()


def _forget_all() -> None:
    for pool in list(_pools):
        pool.forget()


atexit.register(close_all)


os.register_at_fork(after_in_child=_forget_all)


def serve(answer: Callable[[Json], Json], seconds: int, most: int) -> None:
    """Answers requests in a child until stdin ends, or `most` of them.

    Args:
        answer: the reply to a request; "memory" in it ends the process.
        seconds: the time for one request, after which the process ends itself. The parent ends it
            sooner: this is for one whose parent has died.
        most: number of requests after which it ends, and with it whatever its libraries have leaked.
    """
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        replies.write("ready\n")
        replies.flush()
    except BrokenPipeError:  # the parent has died: nobody is left to be told
        os._exit(0)
    # Text that libraries print must not mix with the replies.
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    for number, line in enumerate(sys.stdin.buffer, 1):
        signal.alarm(seconds)
        reply = answer(json.loads(line))
        signal.alarm(0)
        reply["last"] = number == most or "memory" in reply
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
        if reply["last"]:
            break
    os._exit(0)  # nothing to save, and finalisers of libraries are slow


def limit_itself(memory: int, file_bytes: int) -> None:
    """Bounds this process: its address space (on Linux), and the size of a file that it writes."""
    import resource

    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_FSIZE, file_bytes)
    if sys.platform == "linux":  # elsewhere it is not enforced, or refused
        _set_limit(resource.RLIMIT_AS, memory)


def _set_limit(kind: int, amount: int) -> None:
    """Sets a limit of this process, or leaves a smaller one that it has already (`ulimit`)."""
    import resource

    hard = resource.getrlimit(kind)[1]
    amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    resource.setrlimit(kind, (amount, amount))
