"""Verdicts of judge models: their form, and a parser of replies.

A verdict is one JSON object, which is read leniently where its meaning is sure. It repeats a random mark
from the system message, which the response under judgement cannot know. So a verdict inside a response,
even one that the judge quotes, has a wrong mark and is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from eval_anything.files.json_text import clean
from eval_anything.judges.asking.checklist import Criterion, Grade, weighted_share
from eval_anything.judges.asking.lenient_json import read_object

_LONGEST_REPLY = 50_000


_MOST_BRACES = 200


class Marked(Struct, frozen=True):
    """Base of verdicts, with the mark of the system message that asked for the verdict."""

    mark: str

    @classmethod
    def tidied(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        """The members of an object as this type has them, where a model wrote the same otherwise."""
        return dict(members)


def as_words(explanation: Any) -> str:
    """An explanation as a text; empty for one that is missing or null.

    Example:
        >>> as_words(None), as_words(["they agree", "in colour"])
        ('', 'they agree in colour')
    """
    if isinstance(explanation, list):
        return " ".join(filter(None, map(as_words, explanation)))
    return "" if explanation is None else str(explanation)


V = TypeVar("V", bound=Marked)


class Verdict(Marked, frozen=True):
    """Verdict by a rubric: the mark, the reason, and a grade for each criterion."""

    explanation: str
    grades: dict[str, Grade]

    @classmethod
    def tidied(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        return {**members, "explanation": as_words(members.get("explanation"))}


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
    by_lower_case = {name.strip().casefold(): grade for name, grade in verdict.grades.items()}
    grades = {
        c.id: c.tidied(verdict.grades.get(c.id, by_lower_case.get(c.id.casefold())))
        for c in criteria
        if c.id in verdict.grades or c.id.casefold() in by_lower_case
    }
    weighted_share(criteria, grades)
    return msgspec.structs.replace(verdict, grades=grades)


def last_marked(text: str, mark: str, type_: type[V]) -> V:
    """Last JSON object in a text that has the mark, as a verdict. ValueError if it is none.

    Only the end of a long text is parsed, and there only objects that start before the last mark, since
    a judge may quote a response with many objects.

    Example:
        >>> class Comment(Marked, frozen=True):
        ...     words: str
        >>> last_marked('My verdict: {"mark": "7f", "words": "good"}', "7f", Comment).words
        'good'
    """
    end = text[-_LONGEST_REPLY:]
    starts = [m.start() for m in re.finditer(r"\{", end[: max(end.rfind(mark), 0)])]
    for start in reversed(starts[-_MOST_BRACES:]):
        try:
            members, cut = read_object(end, start)
        except ValueError:
            continue
        if str(members.get("mark")).strip() != mark:
            continue
        try:
            return msgspec.convert(clean({**type_.tidied(members), "mark": mark}), type_)
        except msgspec.ValidationError as error:
            state = "it is cut off" if cut else "it cannot be read"
            raise ValueError(
                f"no JSON verdict, {state}: {error}, in {end[start : start + 80]!r}"
            ) from None
    if mark not in text and re.search(r'"grades"|"mark"|"better"|"choice"', text):
        raise ValueError(f"no JSON verdict with the mark, which it does not repeat: {text[:80]!r}")
    if mark in text:
        raise ValueError(f"no JSON verdict with the mark, but broken JSON: {text[:80]!r}")
    raise ValueError(f"no JSON verdict with the mark in {text[:80]!r}")
