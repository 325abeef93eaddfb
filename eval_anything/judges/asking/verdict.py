"""What a judge model must answer, and how its answer is read.

A verdict is one JSON object. It repeats a random mark of the system message, which the response
under judgement cannot know: a verdict that is smuggled in, even one that the judge quotes, has no
right mark and is passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from eval_anything.judges.asking.checklist import Criterion, Grade, weighted_share

_LONGEST_REPLY = 50_000


_MOST_BRACES = 200


class Marked(Struct, frozen=True):
    """What every verdict begins with: the mark of the system message that asked for it."""

    mark: str


V = TypeVar("V", bound=Marked)


class Verdict(Marked, frozen=True):
    """The mark, the reason, and a grade for each criterion."""

    explanation: str
    grades: dict[str, Grade]


def instruction(mark: str, criteria: Sequence[Criterion]) -> str:
    """The end of the system message: the form of the answer."""
    form = ", ".join(f'"{c.id}": {c.form}' for c in criteria)
    return (
        "Answer with one JSON object and nothing else: "
        f'{{"mark": "{mark}", "explanation": "one or two sentences", "grades": {{{form}}}}}'
    )


def response_format(criteria: Sequence[Criterion]) -> dict[str, Any]:
    """The same form as a strict JSON schema, for servers that have structured output."""
    grades = _object({c.id: c.schema for c in criteria})
    return marked_format({"explanation": {"type": "string"}, "grades": grades})


def marked_format(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The strict JSON schema of a verdict that has these properties beside its mark."""
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
    """The last verdict with the mark. ValueError if there is none, or one of its grades is missing or
    no answer to its criterion."""
    found = last_marked(text, mark, Verdict)
    weighted_share(criteria, found.grades)
    return found


def last_marked(text: str, mark: str, type_: type[V]) -> V:
    """The last JSON object in the text that is a verdict with this mark. ValueError if there is none.

    Only the end of a long reply is read, and in it only what starts before the last mark: a judge
    may quote what it judges, verdicts and all.
    """
    decoder = json.JSONDecoder()
    end = text[-_LONGEST_REPLY:]
    starts = [m.start() for m in re.finditer(r"\{", end[: max(end.rfind(mark), 0)])]
    for start in reversed(starts[-_MOST_BRACES:]):
        try:
            verdict = msgspec.convert(decoder.raw_decode(end, start)[0], type_)
        except (ValueError, RecursionError):  # a ValidationError is a ValueError
            continue
        if verdict.mark == mark:
            return verdict
    raise ValueError(f"no JSON verdict with the mark in {text[:80]!r}")
