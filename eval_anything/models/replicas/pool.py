"""The replicas of one model: a batch goes to whichever is free, and to another one if that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from eval_anything.errors import EvalError
from eval_anything.media import MediaStore
from eval_anything.models.replicas.base import NoPlaceError, Replica, ReplicaDiedError

_TRIES = 2
"""Replicas that may end over one batch. Then its requests are tried one by one, as those of any batch
that fails: the one that ends replicas alone has failed."""


class ReplicaPool:
    """Replicas of one model, each with a thread that waits for it.

    Args:
        make: makes the replicas.
        count: number of them.
    """

    def __init__(self, make: Callable[[], Sequence[Replica]], count: int) -> None:
        self._make = make
        self._count = count
        self._replicas: Sequence[Replica] = ()
        self._threads: ThreadPoolExecutor | None = None
        self._free: asyncio.Queue[Replica | EvalError] | None = None
        self._starting = asyncio.Lock()
        self._restarts: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Starts all replicas; they load at the same time. Errors as those of `Replica.start`."""
        self._replicas = self._make()
        self._threads = ThreadPoolExecutor(self._count, "replica")
        try:
            list(self._threads.map(lambda replica: replica.start(), self._replicas))
        except BaseException:
            self.end()
            raise

    async def answer(self, batch: Any, store: MediaStore) -> Any:
        """The answers of a replica to a batch; replicas that are not started are started.

        Raises:
            ReplicaDiedError: several replicas have ended over it.
            EvalError: no replica is left, or one does not load its model.
            Exception: what the model raised.
        """
        free = await self._started()
        ends: list[str] = []
        while len(ends) < _TRIES:
            replica = await free.get()
            if isinstance(replica, EvalError):
                free.put_nowait(replica)  # for those who wait, too
                raise replica
            try:
                reply = await self._in_thread(replica.answer, batch, store)
            except ReplicaDiedError as error:
                ends.append(str(error))
                restart = asyncio.create_task(self._restart(replica, free))
                self._restarts.add(restart)
                restart.add_done_callback(self._restarts.discard)
            except asyncio.CancelledError:
                replica.end()  # or its thread would wait for the answer
                raise
            except BaseException:
                free.put_nowait(replica)
                raise
            else:
                free.put_nowait(replica)
                return reply
        raise ReplicaDiedError(f"{_TRIES} replicas ended over it ({'; '.join(dict.fromkeys(ends))})")

    def end(self) -> None:
        """Ends all replicas."""
        for restart in self._restarts:
            restart.cancel()
        for replica in self._replicas:
            replica.end()
        if self._threads is not None:
            self._threads.shutdown(wait=False)
        self._threads = self._free = None

    async def _started(self) -> asyncio.Queue[Replica | EvalError]:
        """The replicas that are free."""
        async with self._starting:
            if self._threads is None:
                await asyncio.to_thread(self.start)
            if self._free is None:
                self._free = asyncio.Queue()
                for replica in self._replicas:
                    self._free.put_nowait(replica)
            return self._free

    async def _restart(self, replica: Replica, free: asyncio.Queue[Replica | EvalError]) -> None:
        """Starts a replica that has ended. It waits for a place as long as others answer."""
        while True:
            try:
                await self._in_thread(replica.start)
            except NoPlaceError as error:
                if len(self._restarts) < self._count:
                    continue
                free.put_nowait(error)
            except EvalError as error:
                free.put_nowait(error)
            else:
                free.put_nowait(replica)
            return

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
