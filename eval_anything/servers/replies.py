"""What a server sends back, read within bounds, and what an error in it means."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, NoReturn

import msgspec

_LARGEST_BODY = 64 * 2**20


_LONGEST_REASON = 300  # characters of what a server says about a failure


class ReplyError(ValueError):
    """A reply that cannot be used: empty, refused by a filter, too large, or a bad request.

    `status` is the server's code where that is the reason.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class PassingError(Exception):
    """A failure that another try may mend, after a pause in seconds where the server names one."""

    def __init__(self, reason: str, pause: float | None = None, slow_down: bool = False) -> None:
        super().__init__(reason)
        self.pause = pause
        self.slow_down = slow_down


class Body(NamedTuple):
    """A reply of which only the head is read; `begun` is when it was asked for (`perf_counter`)."""

    response: Any
    begun: float

    @property
    def content_type(self) -> str:
        return str(self.response.headers.get("content-type", "")).lower()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes as they come. ReplyError beyond what a reply may have."""
        read = 0
        source = self.response.aiter_bytes()
        while True:
            try:
                chunk = await anext(source, None)
            except Exception as error:  # which package brings the transport, and so its errors, varies
                raise PassingError(f"the connection broke ({type(error).__name__})") from None
            if chunk is None:
                return
            read += len(chunk)
            if read > _LARGEST_BODY:
                raise ReplyError(f"a reply of more than {_LARGEST_BODY // 2**20} MB")
            yield chunk


async def read_json(body: Body) -> Any:
    """A reply that is JSON. PassingError if it cannot be read; either error for one that it holds."""
    data = b"".join([chunk async for chunk in body.chunks()])
    try:
        value = msgspec.json.decode(data)
    except (ValueError, RecursionError) as error:  # a proxy's page, a cut answer, a senseless one
        if data.startswith((b"data:", b"event:", b":")):
            raise ReplyError("a stream of events, where none was asked for") from None
        raise PassingError(f"the answer cannot be read ({type(error).__name__})") from None
    if isinstance(value, dict) and value.get("error") and not value.get("choices"):
        raise_error(value["error"])
    return value


async def read_medium(body: Body) -> bytes:
    """A reply that is no JSON but a medium."""
    if "json" in body.content_type:
        await read_json(body)  # says what is wrong, if it says anything
        raise ReplyError("no medium, but JSON")
    return b"".join([chunk async for chunk in body.chunks()])


def raise_error(error: Any) -> NoReturn:
    """The failure that an error object means, in a body of status 200 or amid a stream.

    Servers put a status code, or OpenAI's words for it ("server_error"), into `code` or `type`.
    """
    fields = error if isinstance(error, dict) else {}
    code, message = fields.get("code"), f"the server answered with an error: {said_in(error)}"
    status = int(str(code)) if re.fullmatch(r"[1-5]\d\d", str(code)) else None
    words = f"{code or ''} {fields.get('type') or ''}".strip().lower()
    if status == 429 or "rate_limit" in words:
        raise PassingError("rate-limited", slow_down=True)
    if status is not None:
        passing = status >= 500 or status in (408, 409)
    else:
        passing = (
            not words or re.search("server|internal|overload|unavailable|timeout", words) is not None
        )
    if passing:
        raise PassingError(message)
    raise ReplyError(message, status)


def said_in(body: Any) -> str:
    """What an error says in words, shortened."""
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error.get("message") or error.get("code") if isinstance(error, dict) else error
    return " ".join(without_key(str(message or "nothing more")).split())[:_LONGEST_REASON]


def without_key(text: str) -> str:
    """What a server says about a failure, without the key that it may repeat.

    A key of fewer than 12 characters is no secret: servers at home are given "none" or "x".
    """
    key = os.environ.get("OPENAI_API_KEY", "")
    return text.replace(key, "[key]") if len(key) >= 12 else text
