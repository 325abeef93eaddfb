"""Server-sent events: a stream of bytes, decoded into JSON objects and folded one by one.

The form is that of the HTML standard (section 9.2, "Server-sent events"): lines `data: ...`, an empty
line after each event. OpenAI's servers end a good stream with `data: [DONE]`.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from eval_anything.files.json_text import clean, decode_json
from eval_anything.servers.error_bodies import error_inside
from eval_anything.servers.refusals import NO_REQUEST, SentRequest
from eval_anything.servers.replies import PassingError, raise_error


class Fold(Protocol):
    """An accumulator for the events of one stream."""

    finished: bool
    """Whether an event has said that the answer is complete."""

    def add(self, event: Mapping[str, Any], seconds: float) -> None:
        """Adds an event that came so many seconds after the request."""


async def fold_events(
    chunks: AsyncIterator[bytes], fold: Fold, begun: float, sent: SentRequest = NO_REQUEST
) -> None:
    """Adds all events of a stream to a fold.

    Args:
        chunks: the bytes of the stream.
        fold: takes the events.
        begun: time of the request, on the clock of `perf_counter`.
        sent: what a refusal may name.

    Raises:
        PassingError: the stream cannot be read, or ends before the answer is complete.
        ReplyError: the stream holds an error that another attempt would have too.
    """
    begun_to_answer = False
    async for payload in _payloads(chunks):
        if payload.startswith(b"[DONE]"):
            return
        try:
            event = decode_json(payload, cut=True, joined=True)
        except ValueError as error:
            raise PassingError(f"an event cannot be read ({type(error).__name__})") from None
        if not isinstance(event, dict):
            raise PassingError("an event is no object")
        failure = event if event.get("type") == "error" else error_inside(event)
        if failure is not None:
            raise_error(clean(failure), sent=sent, begun=begun_to_answer)
        fold.add(event, time.perf_counter() - begun)
        begun_to_answer = True
    if not fold.finished:
        raise PassingError("the stream was cut")


async def _payloads(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each event; an event without an empty line after it was cut and is left out."""
    lines: list[bytes] = []
    async for line in _lines(chunks):
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif not line and lines:
            yield b"\n".join(lines)
            lines = []


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Complete lines without their line ends."""
    pieces: list[bytes] = []  # of a line whose end has not come yet
    async for chunk in chunks:
        first, *following = chunk.split(b"\n")
        pieces.append(first)
        for piece in following:
            yield b"".join(pieces).removesuffix(b"\r").removeprefix(codecs.BOM_UTF8)
            pieces = [piece]
