"""A client of the chat completions API that returns text: judges ask their models with it."""

from __future__ import annotations

from typing import Any, NamedTuple

from eval_anything.content import Usage
from eval_anything.servers.client import Client, ReplyError, Server, parse_server, without_key
from eval_anything.servers.completions import (
    LARGEST_TEXT,
    messages_of,
    read_message,
    stop_reason_of,
)
from eval_anything.thoughts import nothing_but

__all__ = ["ChatClient", "Reply", "ReplyError", "Server", "parse_server"]


class Reply(NamedTuple):
    """The text of a model's reply without its thoughts, the reason why it stopped, the tokens that it
    took, and the thoughts."""

    text: str
    stop_reason: str | None
    usage: Usage
    thoughts: str = ""


class ChatClient(Client):
    """A client of one server that returns text."""

    async def ask(self, messages: list[dict[str, Any]], **parameters: Any) -> Reply:
        """Sends messages in the form of the chat completions API and returns the reply.

        `parameters` are further fields of the request, such as `temperature`. Raises ReplyError for a
        refusal and for an empty reply, and the errors of `Client`.
        """
        body = {"model": self.server.model, "messages": messages, **parameters}
        reply = await self.post("/chat/completions", body)
        return _reply(reply.value, reply.usage)


def _reply(raw: Any, usage: Usage) -> Reply:
    messages = [read_message(message) for message in messages_of(raw)]
    text = next((message.text for message in messages if message.text.strip()), "")
    thoughts = "\n\n".join(thought for message in messages for thought in message.thoughts)
    stop_reason = stop_reason_of(raw)
    if not text:
        refusal = next((m.refusal for m in messages if m.refusal is not None), None)
        if refusal is not None:
            raise ReplyError(f"a refusal: {without_key(refusal)[:200]}")
        raise ReplyError(nothing_but(bool(thoughts), stop_reason, usage.output))
    if len(text) > LARGEST_TEXT:
        raise ReplyError(f"a reply of {len(text)} characters")
    return Reply(text, stop_reason, usage, thoughts)
