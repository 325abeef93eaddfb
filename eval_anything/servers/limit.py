"""How many requests a server bears at a time, found out while asking."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Limit:
    """How many requests may be under way: halved at "slow down", one more after each full round."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = float(most)
        self._under_way = 0
        self._changed = asyncio.Condition()
        self._quiet_until = 0.0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Waits for a place, and holds it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._under_way < int(self._allowed))
            self._under_way += 1
        try:
            yield
        finally:
            async with self._changed:
                self._under_way -= 1
                self._changed.notify()

    def went_well(self) -> None:
        """A request was answered."""
        self._allowed = min(self._most, self._allowed + 1 / self._allowed)

    def slow_down(self) -> None:
        """Requests that were under way together are refused together: that counts once."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._allowed = max(1.0, self._allowed / 2)
            self._quiet_until = now + 1.0
