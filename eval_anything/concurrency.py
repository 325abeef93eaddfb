"""Awaiting several things at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

A = TypeVar("A")


async def all_of(asked: Iterable[Awaitable[A]]) -> list[A]:
    """All results, or the first error once all have ended: what is paid for is kept, and nothing is
    under way any more when the judge closes."""
    results = await asyncio.gather(*asked, return_exceptions=True)
    found: list[A] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        found.append(result)
    return found
