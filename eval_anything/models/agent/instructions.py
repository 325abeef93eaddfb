"""Instructions for the chat model of an agent: the choice of media, their list, the form of answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from eval_anything.content import Modality
from eval_anything.models.agent.grammar import template

Form = Literal["tools", "json", "text"]
"""The form in which a chat model writes a plan."""


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


class AgentInstructions(NamedTuple):
    """The instructions in every request: the system prompt, and a description of each medium."""

    system: str
    about: Mapping[Modality, str]

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


def schema(about: Mapping[Modality, str]) -> dict[str, Any]:
    """The `response_format` of structured output for an ordered list of parts."""
    modality = {"type": "string", "enum": [str(Modality.TEXT), *map(str, about)]}
    part = _object(modality=modality, content={"type": "string"})
    answer = _object(parts={"type": "array", "items": part})
    form = {"name": "answer", "strict": True, "schema": answer}
    return {"type": "json_schema", "json_schema": form}


def _object(**properties: Any) -> dict[str, Any]:
    """The JSON schema of an object with these properties, all of them required, and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
