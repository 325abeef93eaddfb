"""The pool of decoding processes, as seen by their parent.

A medium cannot harm the parent, which reads only lines of JSON and an array whose size it has checked.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eval_anything.errors import InfrastructureError
from eval_anything.isolation import GoneError, Worker, WorkerPool
from eval_anything.media.limits import MAX_DECODE_SECONDS, MAX_MEMORY, MAX_RESULT
from eval_anything.media.sniff import MediaError

if TYPE_CHECKING:
    import numpy as np


# Size that the shared file may keep between media; a larger one is returned to the system at once.
_KEPT_BYTES = 16 * 2**20


class DecodedReply(NamedTuple):
    """The reply of a decoding process, and the array of pixels or samples; None without a `dtype`."""

    answer: Mapping[str, Any]
    array: Any


class Pool:
    """At most `size` processes, started when they are needed. Safe to use from several threads."""

    def __init__(self, size: int, seconds: float = MAX_DECODE_SECONDS, memory: int = MAX_MEMORY) -> None:
        self.seconds = seconds
        self.memory = memory
        self._workers = WorkerPool(size, lambda: _Decoder(self.seconds, self.memory))
        self.processes = self._workers.processes
        self.close = self._workers.close

    def decode(
        self, operation: str, path: Path, dtype: str | None = None, **request: Any
    ) -> DecodedReply:
        """Has a process do an operation (see `worker`) on a medium, and waits for the reply.

        MediaError if the medium is at fault, InfrastructureError if no process can decode it.
        """

        def work(decoder: _Decoder) -> DecodedReply:
            answer = decoder.ask(
                {"operation": operation, "path": os.fspath(path), **request}, self.seconds
            )
            if "memory" in answer:
                raise GoneError(f"needs more than {self.memory // 2**20} MiB to decode")
            array = None
            if dtype is not None and "shape" in answer:
                array = decoder.take(answer["shape"], dtype)
            return DecodedReply(answer, array)

        try:
            reply = self._workers.use(work)
        except GoneError as gone:
            raise MediaError(f"{path} {gone}") from None
        if "error" in reply.answer:
            raise MediaError(reply.answer["error"])
        if "missing" in reply.answer:
            raise InfrastructureError(f"cannot decode {path}: {reply.answer['missing']}")
        return reply


class _Decoder(Worker):
    """A decoding process, which shares a file for pixels and samples."""

    def __init__(self, seconds: float, memory: int) -> None:
        self._file = _shared_file()
        self._open = True
        environment = {
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
            super().__init__(
                *("eval_anything.media.worker", arguments, "decode", "decoder"),
                *([self._file], environment),
            )
        except BaseException:
            self._close_file()
            raise

    def take(self, shape: list[int], dtype: str) -> np.ndarray:
        """The array of the last reply, copied, so that the process cannot change it later."""
        import numpy as np

        size = math.prod(shape) * np.dtype(dtype).itemsize
        if not 0 <= size <= min(MAX_RESULT, os.fstat(self._file).st_size):
            raise GoneError("made its decoder answer nonsense")
        array = np.empty(shape, dtype)
        unread = array.reshape(-1).view(np.uint8).data
        while unread:
            unread = unread[os.preadv(self._file, [unread], size - len(unread)) :]
        if size > _KEPT_BYTES:
            os.ftruncate(self._file, 0)
        return array

    def _close(self) -> None:
        super()._close()
        self._close_file()

    def _close_file(self) -> None:
        if self._open:
            self._open = False
            os.close(self._file)


def _shared_file() -> int:
    """Descriptor of a file in memory where the system has such files, else of one without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("eval-anything-media")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


_pool = Pool(min(4, os.cpu_count() or 1))


def pool() -> Pool:
    """The pool that all readers share."""
    return _pool
