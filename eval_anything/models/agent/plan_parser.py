"""Parsing of plans from tool calls and from structured output; the third form is in `grammar`.

Both raise PlanError for a reply that is no plan. A reply that cannot be parsed is never taken for a
plan of text alone; only a model with tools chooses text by a message without a call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from eval_anything.content import Modality
from eval_anything.files.json_text import decode_json
from eval_anything.models.agent.grammar import after_thinking
from eval_anything.models.agent.plan import (
    ParsedPlan,
    PlanError,
    PlanItem,
    no_plan,
    normal_item,
    plan_of,
    unwanted,
)

# A call that the server did not recognise stands in the text, in the syntax of the model's template.
_CALL_IN_TEXT = re.compile(
    r"<tool_call>|\[TOOL_CALLS\]|<function=|make_(?:image|audio|video)[\"']?\s*[(,:}]"
)


_FUNCTION = re.compile(r"make_(image|audio|video)")


class _Part(Struct):
    modality: Modality
    content: str


class _Parts(Struct):
    parts: list[_Part]


class _Prompt(Struct):
    prompt: str


def read_json(answer: str) -> ParsedPlan:
    """The plan of an answer in the form of `schema`, with or without a code fence."""
    text = normal_item(Modality.IMAGE, after_thinking(answer)).content  # without a code fence
    try:
        decoded: _Parts = decode_json(text, _Parts)
    except (msgspec.DecodeError, RecursionError):
        raise no_plan(text, "the answer is no list of parts") from None
    return ParsedPlan(
        plan_of(_wanted(normal_item(part.modality, part.content) for part in decoded.parts))
    )


def read_message(message: Mapping[str, Any]) -> ParsedPlan:
    """The plan in the text and the tool calls of a message, whose order between them is not known."""
    if message.get("refusal"):
        raise PlanError(f"the chat model refuses: {str(message['refusal'])[:200]}", "refusal")
    text = after_thinking(text_of(message))
    called = message.get("tool_calls")
    calls = called if isinstance(called, list) else []
    if not calls and _CALL_IN_TEXT.search(text):
        raise no_plan(text, "a tool call that its server did not recognise")
    media = plan_of(_wanted(_call(call) for call in calls))
    words = plan_of(_wanted([normal_item(Modality.TEXT, text)]))
    return ParsedPlan(plan_of([*words, *media]), order_known=not (words and media))


def _wanted(items: Iterable[PlanItem]) -> list[PlanItem]:
    return [plan_item for plan_item in items if not unwanted(plan_item.modality, plan_item.content)]


def _call(call: Any) -> PlanItem:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise PlanError("a tool call without a function")
    name = str(function.get("name"))
    match = _FUNCTION.fullmatch(name)
    if match is None:
        raise PlanError(f"a call of {name[:100]!r}, which is none of the tools")
    arguments = function.get("arguments")
    try:
        if isinstance(arguments, str):
            called: _Prompt = decode_json(arguments, _Prompt)
        else:
            called = msgspec.convert(arguments, _Prompt)
    except (msgspec.MsgspecError, RecursionError):
        raise PlanError(f"a call of {name} without a prompt: {str(arguments)[:200]}") from None
    return normal_item(Modality(match[1]), called.prompt)


def text_of(message: Mapping[str, Any]) -> str:
    """The text in the content of a message, which may be a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""
