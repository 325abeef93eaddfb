"""Verdicts of judge models: their form, and a parser of replies.

A verdict is one JSON object. It repeats a random mark from the system message, which the response under
judgement cannot know. So a verdict inside a response, even one that the judge quotes, has a wrong mark
and is ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from eval_anything.files.json_text import clean
from eval_anything.judges.asking.checklist import Criterion, Grade, weighted_share

_LONGEST_REPLY = 50_000


_MOST_BRACES = 200


class Marked(Struct, frozen=True):
    """Base of verdicts, with the mark of the system message that asked for the verdict."""

    mark: str


V = TypeVar("V", bound=Marked)


class Verdict(Marked, frozen=True):
    """Verdict by a rubric: the mark, the reason, and a grade for each criterion."""

    explanation: str
    grades: dict[str, Grade]


def instruction(mark: str, criteria: Sequence[Criterion]) -> str:
    """End of the system message, which describes the form of the answer."""
    form = ", ".join(f'"{c.id}": {c.form}' for c in criteria)
    return (
        "Answer with one JSON object and nothing else: "
        f'{{"mark": "{mark}", "explanation": "one or two sentences", "grades": {{{form}}}}}'
    )


def response_format(criteria: Sequence[Criterion]) -> dict[str, Any]:
    """Form of the answer as a strict JSON schema, for servers with structured output."""
    grades = _object({c.id: c.schema for c in criteria})
    return marked_format({"explanation": {"type": "string"}, "grades": grades})


def marked_format(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Strict JSON schema of a verdict with a mark and these properties."""
    schema = _object({"mark": {"type": "string"}, **properties})
    return {
        "type": "json_schema",
        "json_schema": {"name": "verdict", "strict": True, "schema": schema},
    }


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def read_verdict(text: str, mark: str, criteria: Sequence[Criterion]) -> Verdict:
    """Last verdict with the mark in a reply. ValueError if there is none, or if one of its grades is
    missing or not a possible answer to its criterion."""
    verdict = last_marked(text, mark, Verdict)
    weighted_share(criteria, verdict.grades)
    return verdict


def last_marked(text: str, mark: str, type_: type[V]) -> V:
    """Last JSON object in a text that is a verdict with the mark. ValueError if there is none.

    Only the end of a long text is parsed, and there only objects that start before the last mark, since
    a judge may quote a response with many objects.

    Example:
        >>> class Comment(Marked, frozen=True):
        ...     words: str
        >>> last_marked('My verdict: {"mark": "7f", "words": "good"}', "7f", Comment).words
        'good'
    """
    decoder = json.JSONDecoder()
    end = text[-_LONGEST_REPLY:]
    starts = [m.start() for m in re.finditer(r"\{", end[: max(end.rfind(mark), 0)])]
    for start in reversed(starts[-_MOST_BRACES:]):
        try:
            verdict = msgspec.convert(clean(decoder.raw_decode(end, start)[0]), type_)
        except (ValueError, RecursionError):  # a ValidationError is a ValueError
            continue
        if verdict.mark == mark:
            return verdict
    raise ValueError(f"no JSON verdict with the mark in {text[:80]!r}")
