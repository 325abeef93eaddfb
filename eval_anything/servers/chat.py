"""A client of the chat completions API that returns text: judges ask their models with it."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from eval_anything.content import Usage
from eval_anything.servers.client import Client, ReplyError, Server, parse_server, without_key

__all__ = ["ChatClient", "Reply", "ReplyError", "Server", "parse_server"]


LARGEST_TEXT = 2_000_000
"""The most characters of text that a reply may have; a longer one is an error."""


class Reply(NamedTuple):
    """The text of a model's reply, the reason why it stopped, and the tokens that it took."""

    text: str
    stop_reason: str | None
    usage: Usage


class ChatClient(Client):
    """A client of one server that returns text."""

    async def ask(self, messages: list[dict[str, Any]], **parameters: Any) -> Reply:
        """Sends messages in the form of the chat completions API and returns the reply.

        `parameters` are further fields of the request, such as `temperature`. Raises ReplyError for a
        refusal and for an empty reply, and the errors of `Client`.
        """
        body = {"model": self.server.model, "messages": messages, **parameters}
        reply = await self.post("/chat/completions", body)
        return _reply(reply.value)._replace(usage=reply.usage)


class _Message(Struct):
    content: str | list[Any] | None = None
    refusal: str | None = None


class _Choice(Struct):
    message: _Message | None = None
    finish_reason: str | None = None


class _Completion(Struct):
    choices: list[_Choice] | None = None


def _reply(raw: Any) -> Reply:
    try:
        completion = msgspec.convert(raw, _Completion)
    except msgspec.ValidationError as error:
        raise ReplyError(f"no chat completion: {error}") from None
    if not completion.choices:
        raise ReplyError("a reply without choices")
    choice = completion.choices[0]
    message = choice.message or _Message()
    text = message.content
    if not isinstance(text, str) or not text.strip():
        refusal = without_key(message.refusal or "")[:200]
        raise ReplyError(f"a refusal: {refusal}" if refusal else "an empty reply")
    if len(text) > LARGEST_TEXT:
        raise ReplyError(f"a reply of {len(text)} characters")
    return Reply(text, choice.finish_reason, Usage())
