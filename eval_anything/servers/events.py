"""Server-sent events: a stream of bytes as JSON objects, folded one by one.

The form is that of the HTML standard (section 9.2, "Server-sent events"): lines `data: ...`, an empty
line after each event. OpenAI's servers end a good stream with `data: [DONE]`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import msgspec

from eval_anything.servers.replies import PassingError, raise_error


class Fold(Protocol):
    """What becomes of the events of one stream."""

    finished: bool
    """Whether the events said that the answer is complete."""

    def add(self, event: Mapping[str, Any], seconds: float) -> None:
        """Takes an event that came so many seconds after the request."""


async def fold_events(chunks: AsyncIterator[bytes], fold: Fold, begun: float) -> None:
    """Folds all events. `begun` is when the stream was asked for, on the clock of `perf_counter`.

    PassingError if the stream cannot be read or ends before the answer does; for an error that it
    holds, what that error means.
    """
    async for data in _data_of(chunks):
        if data.startswith(b"[DONE]"):
            return
        try:
            event = msgspec.json.decode(data)
        except (ValueError, RecursionError) as error:
            raise PassingError(f"an event cannot be read ({type(error).__name__})") from None
        if not isinstance(event, dict):
            raise PassingError("an event is no object")
        if event.get("error") or event.get("type") == "error":
            raise_error(event.get("error") or event)
        fold.add(event, time.perf_counter() - begun)
    if not fold.finished:
        raise PassingError("the stream was cut")


async def _data_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each event; one that has no empty line after it was cut and is left out."""
    lines: list[bytes] = []
    async for line in _lines(chunks):
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif not line and lines:
            yield b"\n".join(lines)
            lines = []


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Complete lines without their ends."""
    pieces: list[bytes] = []  # of a line whose end has not come yet
    async for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        pieces.append(first)
        for piece in rest:
            yield b"".join(pieces).removesuffix(b"\r")
            pieces = [piece]
