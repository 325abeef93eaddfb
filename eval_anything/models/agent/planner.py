"""How the chat model of an agent is asked for plans.

A chat model on a server is tried once with tools, then with structured output; a server may ignore
either without a word, so what counts is whether the model did what it was told. Every other model is
asked in the text grammar.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from eval_anything.content import Failure, Latency, Message, TextPart, Usage
from eval_anything.media import MediaError, MediaStore
from eval_anything.models.agent.grammar import parse
from eval_anything.models.agent.instructions import Form, Telling, instructed, schema, tools
from eval_anything.models.agent.plan import ParsedPlan, Plan, PlanError
from eval_anything.models.agent.plan_parser import read_json, read_message, text_of
from eval_anything.models.base import Model, Request, Sampling
from eval_anything.models.openai.inputs import UnsupportedInputError, chat_input, has_media
from eval_anything.models.openai.model import ChatModel
from eval_anything.models.openai.replies import nonempty_text, tokens_of
from eval_anything.servers.client import ReplyError

_MOST_OUTSIDE = 20_000  # characters of an answer that are kept for the record


A = TypeVar("A")


class Planned(Struct):
    """What the chat model answered to one request: a plan, or why there is none.

    `outside` is what it wrote besides the plan, all of it if there is none.
    """

    form: Form
    plan: Plan = ()
    order_known: bool = True
    error: Failure | None = None
    outside: str = ""
    stop_reason: str | None = None
    usage: Usage = Usage()
    latency: Latency = Latency()


class PlanAsker:
    """Asks any model that answers messages with text, in the text grammar."""

    def __init__(self, model: Model, telling: Telling) -> None:
        self._model = model
        self._telling = telling

    async def plans(self, requests: Sequence[Request], store: MediaStore) -> list[Planned]:
        """One for each request, in order. ServerError leaves all of them pending."""
        asked = [_told(request, self._telling, "text") for request in requests]
        planned = []
        for response in await self._model.generate(asked, store):
            one = Planned(
                "text",
                error=response.error,
                stop_reason=response.stop_reason,
                usage=response.usage,
                latency=response.latency,
            )
            if response.error is None:
                _read(one, parse, response.text)
            planned.append(one)
        return planned


class ServerAsker(PlanAsker):
    """Asks a chat model on a server in the best form that works there, or in a given one."""

    _model: ChatModel

    def __init__(self, model: ChatModel, telling: Telling, form: Form | None) -> None:
        super().__init__(model, telling)
        self._form = form
        self._finding = asyncio.Lock()

    async def plans(self, requests: Sequence[Request], store: MediaStore) -> list[Planned]:
        form = await self._found_form()
        if form == "text":
            return await super().plans(requests, store)
        return [await self._plan(request, form) for request in requests]

    async def _found_form(self) -> Form:
        async with self._finding:
            if self._form is None:
                self._form = "tools" if await self._works("tools") else None
            if self._form is None:
                self._form = "json" if await self._works("json") else "text"
            return self._form

    async def _works(self, form: Form) -> bool:
        """Whether the model makes a medium when it is told to, in this form."""
        medium = next(iter(self._telling.about))
        order = f"Give no text. Give one {medium} with exactly this prompt: a red circle"
        told = (Message("user", (TextPart(order),)),)
        planned = await self._plan(Request("", "", 0, told, Sampling()), form)
        return any(one.modality is medium for one in planned.plan)

    async def _plan(self, request: Request, form: Form) -> Planned:
        model, planned = self._model, Planned(form)
        asked = _told(request, self._telling, form)
        extra: dict[str, Any] = {"tools": tools(self._telling.about), "tool_choice": "auto"}
        if form == "json":
            extra = {"response_format": schema(self._telling.about)}
        try:
            body = {
                "model": model.server.model,
                **await asyncio.to_thread(chat_input, asked.messages, model.settings),
                "temperature": asked.sampling.temperature,
                "max_tokens": model.settings.max_tokens,
                "seed": asked.seed % 2**31,
                **extra,
            }
            reply = await model.client.post("/chat/completions", body)
            message = _message(reply.value, planned)
        except (UnsupportedInputError, MediaError) as error:
            planned.error = Failure("unsupported_input", str(error))
        except ReplyError as error:
            refused = has_media(request.messages) and error.status is not None
            kind: Any = "unsupported_input" if refused else "model_error"
            planned.error = Failure(kind, str(error))
        else:
            model.client.paid(planned.usage)
            planned.latency = Latency(total=round(reply.seconds, 4))
            if form == "tools" or message.get("refusal"):
                _read(planned, read_message, message)
            else:
                _read(planned, read_json, text_of(message))
        return planned


def _told(request: Request, telling: Telling, form: Form) -> Request:
    messages = instructed(request.messages, telling.instructions(form))
    return msgspec.structs.replace(request, messages=messages)


def _message(raw: Any, planned: Planned) -> Mapping[str, Any]:
    """The message of a chat completion; notes its tokens and why it stopped."""
    choices = raw.get("choices") if isinstance(raw, Mapping) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(message, Mapping) or not isinstance(choice, Mapping):
        raise ReplyError("a reply without a message")
    planned.usage = tokens_of(raw.get("usage"))
    planned.stop_reason = nonempty_text(choice.get("finish_reason"))
    return message


def _read(planned: Planned, read: Callable[[A], ParsedPlan], answer: A) -> None:
    """Fills in the plan of an answer, or why there is none."""
    try:
        if planned.stop_reason == "content_filter":
            raise PlanError("the server's filter refuses", "refusal")
        if planned.stop_reason == "length":
            raise PlanError("the answer is cut off, and what it lacks is not known: allow more tokens")
        planned.plan, planned.outside, planned.order_known = read(answer)
    except PlanError as error:
        planned.error = Failure(error.kind, str(error))
        planned.outside = answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()
    planned.outside = TextPart(planned.outside[:_MOST_OUTSIDE]).text
