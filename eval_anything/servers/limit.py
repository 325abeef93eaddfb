"""A limit on concurrent requests that adapts to what the server accepts."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Limit:
    """A limit on the requests under way: halved at "slow down", one more after each full round.

    This is additive increase, multiplicative decrease (AIMD) with a slow start, as in TCP: where nothing
    was answered since the last refusal, one request at a time is left, and the limit doubles with each
    round that is answered, up to half of its former height. `most` is the upper bound.

    Attributes:
        refusals: refusals since the last answer; those of requests under way together count once.
        refused_since: time of the first of them (`time.monotonic`).
    """

    def __init__(self, most: int) -> None:
        self.refusals = 0
        self.refused_since = math.inf
        self._most = most
        self._allowed = float(most)
        self._goal = float(most)  # the height up to which the limit doubles
        self._answered = False  # since the last refusal
        self._last_refusal = -math.inf
        self._under_way = 0
        self._changed = asyncio.Condition()

    @property
    def allowed(self) -> int:
        """The most requests under way at present."""
        return int(self._allowed)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Waits until one more request is allowed, and counts it as under way inside the block."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._under_way < self.allowed)
            self._under_way += 1
        try:
            yield
        finally:
            async with self._changed:
                self._under_way -= 1
                # As many as the limit has risen; one that finds no place waits on.
                self._changed.notify(max(1, self.allowed - self._under_way))

    def speed_up(self) -> None:
        """Raises the limit a little, after a request that was answered."""
        step = 1.0 if self._allowed < self._goal else 1 / self._allowed
        self._allowed = min(self._most, self._allowed + step)
        self._answered = True
        self.refusals, self.refused_since = 0, math.inf

    def slow_down(self, begun: float) -> None:
        """Lowers the limit after the refusal of a request that began then (`time.monotonic`), unless it
        was under way with one whose refusal is counted."""
        if begun < self._last_refusal:
            return
        self._last_refusal = time.monotonic()
        self.refusals += 1
        self.refused_since = min(self.refused_since, self._last_refusal)
        self._goal = max(1.0, self._allowed / 2)
        self._allowed = self._goal if self._answered else 1.0
        self._answered = False
