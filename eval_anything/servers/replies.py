"""Bounded reading of a server's replies, and the exceptions that the errors in them stand for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple, NoReturn

from eval_anything.files.json_text import decode_json
from eval_anything.servers.error_bodies import error_inside
from eval_anything.servers.refusals import (
    NO_REQUEST,
    Refusal,
    RefusalKind,
    SentRequest,
    read_refusal,
)
from eval_anything.servers.secrets import without_key

_LARGEST_BODY = 64 * 2**20


_LONGEST_REASON = 300  # characters of a server's message about a failure


class ReplyError(ValueError):
    """A reply that cannot be used: empty, refused by a filter, too large, or a bad request.

    `refusal` is what the server says where that is the reason, `status` its code, `body` the error as it
    came, and `hint` a sentence with the option that helps, if the client knows one.
    """

    def __init__(self, message: str, refusal: Refusal | None = None, body: Any = None) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.body = body
        self.hint = ""

    @property
    def status(self) -> int | None:
        """The status of the refusal; None if the server did not refuse."""
        return self.refusal.status if self.refusal is not None else None


class PassingError(Exception):
    """A failure that another attempt may not have.

    Attributes:
        pause: seconds to wait before the next attempt, where the server names them.
        slow_down: whether the server refused because of too many requests.
        words: the server's own, after a colon; empty if it has none.
    """

    def __init__(
        self, reason: str, pause: float | None = None, slow_down: bool = False, words: str = ""
    ) -> None:
        super().__init__(reason)
        self.pause = pause
        self.slow_down = slow_down
        self.words = f": {words}" if words else ""


class Body(NamedTuple):
    """A reply of which only the head is read; `begun` is the time of the request (`perf_counter`), and
    `sent` what its refusal may name."""

    response: Any
    begun: float
    sent: SentRequest = NO_REQUEST

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
        decoded = decode_json(content, cut=True)
    except ValueError as error:  # a proxy's page, a cut or malformed answer
        if content.startswith((b"data:", b"event:", b":")):
            raise ReplyError("a stream of events, where none was asked for") from None
        raise PassingError(f"the answer cannot be read ({type(error).__name__})") from None
    failure = error_inside(decoded)
    if failure is not None:
        raise_error(failure, sent=body.sent)
    return decoded


async def read_medium(body: Body) -> bytes:
    """The bytes of a reply that is a medium. Raises ReplyError or PassingError if it is JSON."""
    if "json" in body.content_type:
        await read_json(body)  # raises the error that it holds, if any
        raise ReplyError("no medium, but JSON")
    return b"".join([chunk async for chunk in body.chunks()])


def raise_error(
    error: Any,
    status: int | None = None,
    sent: SentRequest = NO_REQUEST,
    pause: float | None = None,
    begun: bool = False,
) -> NoReturn:
    """Raises the exception for a refusal or failure, by whose it is.

    Args:
        error: the decoded body, or its text; or an error inside of a reply of status 200.
        status: the HTTP status; None inside of a reply of status 200, or of a stream.
        sent: what the refusal may name.
        pause: seconds to wait before another attempt, where the server names them.
        begun: whether the server had begun to answer.

    Raises:
        PassingError: another attempt may succeed, as after an overload.
        ReplyError: it would not.
    """
    refusal = read_refusal(status, error, sent)
    refusal = refusal._replace(words=without_key(refusal.words)[:_LONGEST_REASON], begun=begun)
    answer = f"the server answered {status}" if status else "the server answered with an error"
    if refusal.kind is RefusalKind.SLOW_DOWN:
        raise PassingError("rate-limited", pause, slow_down=True, words=refusal.words) from None
    if refusal.kind is RefusalKind.PASSING:
        raise PassingError(answer, pause, words=refusal.words) from None
    raise ReplyError(f"{answer}: {refusal.words}", refusal, error) from None
