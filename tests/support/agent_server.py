"""A chat server that plans as it is told, with the abilities that a test wants: tools, structured
output, or neither; refused, or ignored without a word."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from eval_anything.content import Modality
from eval_anything.models.agent.grammar import render
from eval_anything.models.agent.plan import Plan, normal_item
from tests.support.scripted_server import Handler, Reply, completion, fails

Ability = Literal["works", "ignored", "refused"]
Held = Literal["works", "ignored", "refused", "without bounds", "guided_json"]
Script = Callable[[int, dict[str, Any]], Reply]

PROBE = (normal_item(Modality.IMAGE, "a red circle"),)


def plan(**contents: str) -> Plan:
    """The plan with these parts, in this order: plan(text="hi", image="a cat")."""
    return tuple(normal_item(Modality(name), content) for name, content in contents.items())


def planner(plans: Mapping[str, Plan], tools: Ability = "works", json_schema: Held = "works") -> Script:
    """Answers a request whose last message holds a key with its plan; a probe with a red circle."""

    def script(number: int, body: dict[str, Any]) -> Reply:
        asked = text_of(body["messages"][-1]["content"])
        chosen = next((p for key, p in plans.items() if key in asked), None)
        if chosen is None:
            assert "a red circle" in asked, asked
            medium = next(m for m in Modality if f"one {m}" in asked)
            chosen = (normal_item(medium, "a red circle"),)
        if "tools" in body:
            if tools != "ignored":
                return fails(400, "no tools here") if tools == "refused" else _sends(in_tools(chosen))
        elif "response_format" in body and json_schema != "ignored":
            bounds = "maxItems" in json.dumps(body["response_format"])
            refuses = json_schema in ("refused", "guided_json") or (json_schema != "works" and bounds)
            return fails(400, "no") if refuses else _sends(in_json(chosen))
        elif "guided_json" in body and json_schema == "guided_json":
            return _sends(in_json(chosen))
        if "[[/text]]" in text_of(body["messages"][0]["content"]):
            return _sends({"role": "assistant", "content": render(chosen)})
        return _sends({"role": "assistant", "content": "I cannot make media."})

    return script


def in_tools(chosen: Plan) -> dict[str, Any]:
    """A message with tool calls."""
    words = "\n".join(one.content for one in chosen if one.modality is Modality.TEXT)
    calls = [
        {
            "id": f"call-{n}",
            "type": "function",
            "function": {
                "name": f"make_{one.modality}",
                "arguments": json.dumps({"prompt": one.content}),
            },
        }
        for n, one in enumerate(chosen)
        if one.modality is not Modality.TEXT
    ]
    return {"role": "assistant", "content": words or None, **({"tool_calls": calls} if calls else {})}


def in_json(chosen: Plan) -> dict[str, Any]:
    """A message in the form of structured output."""
    parts = [{"modality": str(one.modality), "content": one.content} for one in chosen]
    return {"role": "assistant", "content": json.dumps({"parts": parts})}


def text_of(content: Any) -> str:
    """The text of a message's content, which may be a list of parts."""
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return str(content)


def _sends(message: dict[str, Any]) -> Reply:
    def reply(handler: Handler) -> None:
        time.sleep(0.02)  # so that requests meet
        handler.send(200, completion(message))

    return reply
