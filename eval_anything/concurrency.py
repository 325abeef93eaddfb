"""Waiting for several coroutines at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

A = TypeVar("A")


async def all_of(awaitables: Iterable[Awaitable[A]]) -> list[A]:
    """The results of all awaitables, in order; raises the first error, but only once all have ended.

    So replies that cost money are still recorded, and no request is under way when its client closes.
    """
    results: list[A] = []
    for outcome in await asyncio.gather(*awaitables, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
        results.append(outcome)
    return results
