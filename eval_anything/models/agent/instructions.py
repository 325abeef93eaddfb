"""Instructions for the chat model of an agent: the choice of media, their list, the form of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from eval_anything.content import Modality
from eval_anything.models.agent.grammar import render, template
from eval_anything.models.agent.plan import MOST_ITEMS, Plan, PlanItem, normal_item

Form = Literal["tools", "json", "text"]
"""The form in which a chat model writes a plan."""


DECIDED_BY_FORM = frozenset({"tools", "tool_choice", "response_format", "guided_json"})
"""Fields of a request to a server that ask for a form."""


SYSTEM = """\
You answer with any mix of text and generated media. For each request decide which of the media below \
serve the user, and give those and no others:
- What words answer best gets text alone. Do not add media for decoration.
- A request for a medium gets that medium. Add text only if it tells the user more than the medium \
does, never to announce it.
- Parts of one answer agree with each other: the same things, names, numbers, mood and language.
- Parts come in the order in which the user should meet them.
A generator sees only the prompt that you write for it and nothing of the conversation: describe \
concretely all that matters. Never say that you cannot make a medium that is listed."""


ABOUT = {
    Modality.IMAGE: "a picture, made from a description of what it shows",
    Modality.AUDIO: "a sound, made from a description of what is heard",
    Modality.VIDEO: "a short clip, made from a description of what happens in it",
}


_TOOLS = """\
Your message is the text for the user; leave it empty if no text is wanted. Call a tool for each medium \
in the same answer: the user sees the results at once, and you are not asked again."""


_JSON = """\
Answer with one JSON object and nothing else: {"parts": [{"modality": "...", "content": "..."}]}. The \
parts are in their order; the content of a text is what the user reads, that of a medium the prompt for \
its generator. Leave out every medium that is not wanted."""


_SECTIONS = """\
Write your answer in sections, in their order, each between its name and its closing name in double \
square brackets:

%s

Leave out every section that is not wanted; repeat one for a second medium of its kind. Write nothing \
outside of the sections."""


class PlanExample(Struct, frozen=True, forbid_unknown_fields=True):
    """A request of a user, and the plan that answers it well."""

    user: str
    parts: Annotated[list[PlanItem], Meta(min_length=1)]


class AgentInstructions(NamedTuple):
    """The instructions in every request.

    Attributes:
        system: the system prompt.
        about: a description of each medium.
        examples: requests with their plans, which stand before the conversation.
        most_parts: the most parts of a plan in structured output.
        most_characters: the most characters of such a part; None for any number.
    """

    system: str
    about: Mapping[Modality, str]
    examples: Sequence[PlanExample] = ()
    most_parts: int = MOST_ITEMS
    most_characters: int | None = None

    def text(self, form: Form) -> str:
        """The system message for plans in this form."""
        media = "\n".join(f"- {modality}: {text}" for modality, text in self.about.items())
        sections = _SECTIONS % template([Modality.TEXT, *self.about])
        forms = {"tools": _TOOLS, "json": _JSON, "text": sections}
        return f"{self.system.strip()}\n\nMedia besides text:\n{media}\n\n{forms[form]}"


def tools(about: Mapping[Modality, str]) -> list[dict[str, Any]]:
    """The tools, one for each medium, in the form of the chat completions API."""
    return [
        {
            "type": "function",
            "function": {
                "name": f"make_{modality}",
                "description": f"Shows the user {text}.",
                "parameters": _object(prompt={"type": "string", "description": "for the generator"}),
            },
        }
        for modality, text in about.items()
    ]


def plan_schema(instructions: AgentInstructions, bounded: bool = True) -> dict[str, Any]:
    """The JSON schema of an ordered list of parts; `bounded` limits their number and length."""
    content: dict[str, Any] = {"type": "string"}
    parts: dict[str, Any] = {"type": "array"}
    if bounded:
        content["minLength"] = parts["minItems"] = 1
        parts["maxItems"] = instructions.most_parts
    if bounded and instructions.most_characters is not None:
        content["maxLength"] = instructions.most_characters
    modality = {"type": "string", "enum": [str(Modality.TEXT), *map(str, instructions.about)]}
    return _object(parts={**parts, "items": _object(modality=modality, content=content)})


def schema_fields(instructions: AgentInstructions) -> list[dict[str, Any]]:
    """Fields of a request that hold an answer to the schema, in the order in which they are tried: as
    OpenAI's API has it, the same without bounds (which not every server takes), as vLLM once had it."""

    def response_format(bounded: bool) -> dict[str, Any]:
        form = {"name": "answer", "strict": True, "schema": plan_schema(instructions, bounded)}
        return {"response_format": {"type": "json_schema", "json_schema": form}}

    return [
        response_format(True),
        response_format(False),
        {"guided_json": plan_schema(instructions)},
    ]


def example_turns(examples: Sequence[PlanExample], form: Form) -> list[dict[str, Any]]:
    """Messages of the chat completions API for examples, with their plans in a form."""
    turns: list[dict[str, Any]] = []
    for number, example in enumerate(examples):
        plan = tuple(normal_item(part.modality, part.content) for part in example.parts)
        turns.append({"role": "user", "content": example.user})
        if form == "text":
            turns.append({"role": "assistant", "content": render(plan)})
        elif form == "json":
            content = msgspec.json.encode({"parts": plan}).decode()
            turns.append({"role": "assistant", "content": content})
        else:
            turns += _called(plan, f"example{number}")
    return turns


def _called(plan: Plan, name: str) -> list[dict[str, Any]]:
    """A plan as a message with tool calls, and the results of the tools."""
    words = "\n".join(part.content for part in plan if part.modality is Modality.TEXT)
    calls = [
        {
            "id": f"{name}call{n}",
            "type": "function",
            "function": {
                "name": f"make_{part.modality}",
                "arguments": msgspec.json.encode({"prompt": part.content}).decode(),
            },
        }
        for n, part in enumerate(plan)
        if part.modality is not Modality.TEXT
    ]
    message = {"role": "assistant", "content": words, **({"tool_calls": calls} if calls else {})}
    results = [{"role": "tool", "tool_call_id": c["id"], "content": "The user sees it."} for c in calls]
    return [message, *results]


def _object(**properties: Any) -> dict[str, Any]:
    """The JSON schema of an object with these properties, all of them required, and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
