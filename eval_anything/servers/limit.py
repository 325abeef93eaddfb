"""A limit on concurrent requests that adapts to what the server accepts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Limit:
    """A limit on the requests under way: halved at "slow down", one more after each full round.

    This is additive increase, multiplicative decrease (AIMD), with `most` as the upper bound.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = float(most)
        self._under_way = 0
        self._changed = asyncio.Condition()
        self._quiet_until = 0.0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Waits until one more request is allowed, and counts it as under way inside the block."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._under_way < int(self._allowed))
            self._under_way += 1
        try:
            yield
        finally:
            async with self._changed:
                self._under_way -= 1
                self._changed.notify()

    def speed_up(self) -> None:
        """Raises the limit a little, after a request that was answered."""
        self._allowed = min(self._most, self._allowed + 1 / self._allowed)

    def slow_down(self) -> None:
        """Halves the limit after a refusal; refusals within one second count once."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._allowed = max(1.0, self._allowed / 2)
            self._quiet_until = now + 1.0
