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
from eval_anything.servers import completions

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
    """The plan of an answer in the form of `schema`, with or without thoughts and a code fence."""
    for text in (answer, after_thinking(answer)):
        text = normal_item(Modality.IMAGE, text).content  # without a code fence
        try:
            decoded: _Parts = decode_json(text, _Parts)
        except msgspec.DecodeError:
            continue
        items = (normal_item(part.modality, part.content) for part in decoded.parts)
        return ParsedPlan(plan_of(_wanted(items)))
    raise no_plan(text, "the answer is no list of parts")


def read_message(message: Mapping[str, Any]) -> ParsedPlan:
    """The plan in the text and the tool calls of a message, whose order between them is not known."""
    words = completions.read_message(message)
    if words.refusal is not None:
        raise PlanError(f"the chat model refuses: {words.refusal[:200]}", "refusal")
    called = message.get("tool_calls")
    calls = called if isinstance(called, list) else []
    if not calls and _CALL_IN_TEXT.search(words.text):
        raise no_plan(words.text, "a tool call that its server did not recognise")
    media = plan_of(_wanted(_call(call) for call in calls))
    texts = plan_of(_wanted([normal_item(Modality.TEXT, words.text)]))
    return ParsedPlan(plan_of([*texts, *media]), order_known=not (texts and media))


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
    except msgspec.MsgspecError:
        raise PlanError(f"a call of {name} without a prompt: {str(arguments)[:200]}") from None
    return normal_item(Modality(match[1]), called.prompt)
