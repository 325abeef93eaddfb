"""Types of training rows.

A row is a prompt (`messages`, the last of the user) and what a method learns from it. Its fields decide
its type:

    {"messages": [...]}                                                    a prompt
    {"messages": [...], "response": [parts]}                               a demonstration
    {"messages": [...], "chosen": [parts], "rejected": [parts]}            a preference pair
    {"messages": [...], "response": [parts], "critique": "...", "refined": [parts]}      feedback

Optional everywhere: `id`, `source_id` (rows that share it are one cluster) and `metadata`. A pair may
have a `margin` (how much better, 0 is a tie) and `aspects` (ratings of chosen minus those of rejected).
Feedback has a critique, a refined response, or both. Paths of media are relative to the file.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from eval_anything.content import MediaPart, Message, Part, TextPart
from eval_anything.files.mistakes import mistake


class Prompt(Struct, frozen=True, kw_only=True):
    """A conversation without a response. `id` is unique in its file; `source_id` is its cluster."""

    id: str
    messages: tuple[Message, ...]
    source_id: str
    metadata: dict[str, Any] = {}


class Demonstration(Prompt, frozen=True, kw_only=True):
    """A prompt with a response to learn."""

    response: tuple[Part, ...]


class Preference(Prompt, frozen=True, kw_only=True):
    """A prompt with two responses. `margin` is how much better the chosen one is (None if unknown, 0 for
    a tie); `aspects` are differences of ratings, chosen minus rejected."""

    chosen: tuple[Part, ...]
    rejected: tuple[Part, ...]
    margin: float | None = None
    aspects: dict[str, float] = {}

    @property
    def tie(self) -> bool:
        """Whether the pair prefers neither: a margin of 0, or two equal responses."""
        return self.margin == 0 or parts_key(self.chosen) == parts_key(self.rejected)


class Feedback(Prompt, frozen=True, kw_only=True):
    """A prompt with a response, a critique that says what is wrong with it, and the refined response."""

    response: tuple[Part, ...]
    critique: str = ""
    refined: tuple[Part, ...] | None = None


Row = Prompt | Demonstration | Preference | Feedback


R = TypeVar("R", bound=Prompt)


RESPONSES = ("response", "chosen", "rejected", "refined")
"""The fields of rows that are parts, beside the prompt."""


KINDS: dict[type[Prompt], str] = {
    Prompt: "prompt",
    Demonstration: "demonstration",
    Preference: "preference pair",
    Feedback: "feedback",
}


def rows_of(rows: Iterable[Row], kind: type[R], path: Path, consumer: str) -> list[R]:
    """The rows, checked to be of one type; every row can serve as a Prompt.

    Args:
        rows: rows of any type.
        kind: type that is needed.
        path: their file, for error messages.
        consumer: name of the method or stage that needs them, for error messages.

    Raises:
        FileProblemsError: a row is of another type; names the first one.
    """
    typed_rows: list[R] = []
    for row in rows:
        if not isinstance(row, kind) or kind not in (type(row), Prompt):
            raise mistake(
                path,
                f"row {row.id!r} is a {KINDS[type(row)]}, and {consumer} needs {KINDS[kind]}s",
            )
        typed_rows.append(row)
    return typed_rows


def row_like(row: Prompt, kind: type[R], **content: Any) -> R:
    """Row of another type with the id, prompt and cluster of `row`, except where `content` overrides
    them."""
    return kind(**{"id": row.id, "messages": row.messages, "source_id": row.source_id, **content})


def check_row(row: Row) -> None:
    """ValueError for a row that no file may have: without a question at its end, with an empty response,
    or with numbers that are none."""
    if not row.messages or row.messages[-1].role != "user":
        raise ValueError("messages must end with one of the user")
    if not any(message.parts for message in row.messages):
        raise ValueError("its messages are empty")
    for name in RESPONSES:
        parts = getattr(row, name, None)
        if parts is not None and not any(not isinstance(p, TextPart) or p.text for p in parts):
            raise ValueError(f"{name} is empty")
    if not isinstance(row, Preference):
        return
    if row.margin is not None and not (math.isfinite(row.margin) and row.margin >= 0):
        raise ValueError("the margin must be a number from 0 on: how much better the chosen response is")
    if not all(math.isfinite(difference) for difference in row.aspects.values()):
        raise ValueError("the differences in aspects must be finite numbers")


def parts_key(parts: Sequence[Part]) -> tuple[tuple[str, str], ...]:
    """Key that equal responses share: texts up to white space and letter case, media by their bytes."""
    return tuple(
        (part.modality.value, part.sha256 if isinstance(part, MediaPart) else _plain(part.text))
        for part in parts
    )


def prompt_key(messages: Sequence[Message]) -> str:
    """sha256 (hex) of the user's messages: texts up to white space and letter case, media by their
    bytes.

    System messages do not count.
    """
    digest = hashlib.sha256()
    for message in messages:
        if message.role == "user":
            for modality, content in parts_key(message.parts):
                digest.update(f"{modality}\0{content}\0".encode())
    return digest.hexdigest()


def row_key(row: Row) -> tuple[Any, ...]:
    """Key that rows with equal content share, whatever their ids."""
    messages = tuple((m.role, parts_key(m.parts)) for m in row.messages)
    parts = tuple(parts_key(getattr(row, name, None) or ()) for name in RESPONSES)
    return (type(row).__name__, messages, parts, getattr(row, "critique", ""))


def parts_in(row: Row) -> Iterator[tuple[str, Part]]:
    """Every part of a row with the name of its field; `messages` for those of the prompt."""
    for message in row.messages:
        yield from (("messages", part) for part in message.parts)
    for name in RESPONSES:
        yield from ((name, part) for part in getattr(row, name, None) or ())


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
