"""Bounded reading of a server's replies, and the exceptions that the errors in them stand for."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, NoReturn

import msgspec

_LARGEST_BODY = 64 * 2**20


_LONGEST_REASON = 300  # characters of a server's message about a failure


class ReplyError(ValueError):
    """A reply that cannot be used: empty, refused by a filter, too large, or a bad request.

    `status` is the server's code where that is the reason.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class PassingError(Exception):
    """A failure that another attempt may not have.

    Attributes:
        pause: seconds to wait before the next attempt, where the server names them.
        slow_down: whether the server refused because of too many requests.
    """

    def __init__(self, reason: str, pause: float | None = None, slow_down: bool = False) -> None:
        super().__init__(reason)
        self.pause = pause
        self.slow_down = slow_down


class Body(NamedTuple):
    """A reply of which only the head is read; `begun` is the time of the request (`perf_counter`)."""

    response: Any
    begun: float

    @property
    def content_type(self) -> str:
        """The mime type in lower case; empty if the server names none."""
        return str(self.response.headers.get("content-type", "")).lower()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes as they arrive. Raises ReplyError once there are too many of them."""
        size = 0
        source = self.response.aiter_bytes()
        while True:
            try:
                chunk = await anext(source, None)
            except Exception as error:  # which package brings the transport, and so its errors, varies
                raise PassingError(f"the connection broke ({type(error).__name__})") from None
            if chunk is None:
                return
            size += len(chunk)
            if size > _LARGEST_BODY:
                raise ReplyError(f"a reply of more than {_LARGEST_BODY // 2**20} MB")
            yield chunk


async def read_json(body: Body) -> Any:
    """The decoded JSON of a reply.

    Raises:
        PassingError: it cannot be read, or holds an error that another attempt may not have.
        ReplyError: it is a stream of events, or holds an error that every attempt would have.
    """
    content = b"".join([chunk async for chunk in body.chunks()])
    try:
        decoded = msgspec.json.decode(content)
    except (ValueError, RecursionError) as error:  # a proxy's page, a cut or malformed answer
        if content.startswith((b"data:", b"event:", b":")):
            raise ReplyError("a stream of events, where none was asked for") from None
        raise PassingError(f"the answer cannot be read ({type(error).__name__})") from None
    if isinstance(decoded, dict) and decoded.get("error") and not decoded.get("choices"):
        raise_error(decoded["error"])
    return decoded


async def read_medium(body: Body) -> bytes:
    """The bytes of a reply that is a medium. Raises ReplyError or PassingError if it is JSON."""
    if "json" in body.content_type:
        await read_json(body)  # raises the error that it holds, if any
        raise ReplyError("no medium, but JSON")
    return b"".join([chunk async for chunk in body.chunks()])


def raise_error(error: Any) -> NoReturn:
    """Raises the exception for an error object, found in a reply of status 200 or in a stream.

    Servers put a status code, or OpenAI's words for it ("server_error"), into `code` or `type`.

    Raises:
        PassingError: another attempt may succeed, as after an overload.
        ReplyError: it is a mistake in the request.
    """
    fields = error if isinstance(error, dict) else {}
    code, message = fields.get("code"), f"the server answered with an error: {reason_in(error)}"
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


def reason_in(body: Any) -> str:
    """The message in the body of an error, on one line and shortened."""
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error.get("message") or error.get("code") if isinstance(error, dict) else error
    return " ".join(without_key(str(message or "nothing more")).split())[:_LONGEST_REASON]


def without_key(text: str) -> str:
    """A server's message about a failure, without the key that it may repeat.

    A key of fewer than 12 characters is no secret: local servers are given "none" or "x".
    """
    key = os.environ.get("OPENAI_API_KEY", "")
    return text.replace(key, "[key]") if len(key) >= 12 else text
