"""The rows of training data, and the only ways between them and JSON lines.

A row is a prompt (`messages`, the last of the user) and what the method learns from. Its fields say
what it is:

    {"messages": [...]}                                                    a prompt
    {"messages": [...], "response": [parts]}                               a demonstration
    {"messages": [...], "chosen": [parts], "rejected": [parts]}            a preference pair
    {"messages": [...], "response": [parts], "critique": "...", "refined": [parts]}      feedback

Optional everywhere: `id`, `source_id` (rows that share it are one cluster) and `metadata`. A pair may
have a `margin` (how much better, 0 is a tie) and `aspects` (ratings of chosen less those of rejected).
Feedback has a critique, a refined response, or both. Paths of media are relative to the file.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from eval_anything.content import (
    MediaPart,
    Message,
    MessageJson,
    Part,
    PartJson,
    TextPart,
    parts_from_json,
    parts_to_json,
)
from eval_anything.errors import near
from eval_anything.files import write_atomically
from eval_anything.tasks.load import json_message
from eval_anything.yamlfile import FileProblemsError, Problem

_MOST_PROBLEMS = 50


class Prompt(Struct, frozen=True, kw_only=True):
    """A conversation that waits for a response. `id` is unique in its file; `source_id` is its
    cluster."""

    id: str
    messages: tuple[Message, ...]
    source_id: str
    metadata: dict[str, Any] = {}


class Demonstration(Prompt, frozen=True, kw_only=True):
    """A prompt with a response to learn."""

    response: tuple[Part, ...]


class Preference(Prompt, frozen=True, kw_only=True):
    """A prompt with two responses. `margin` is how much better the chosen one is, None if nobody said,
    0 for a tie; `aspects` are differences of ratings, chosen less rejected."""

    chosen: tuple[Part, ...]
    rejected: tuple[Part, ...]
    margin: float | None = None
    aspects: dict[str, float] = {}

    @property
    def tie(self) -> bool:
        """Whether the pair says nothing: equal ratings, or twice the same response."""
        return self.margin == 0 or parts_key(self.chosen) == parts_key(self.rejected)


class Feedback(Prompt, frozen=True, kw_only=True):
    """A prompt with a response, what is to be mended in it, and the mended response."""

    response: tuple[Part, ...]
    critique: str = ""
    refined: tuple[Part, ...] | None = None


Row = Prompt | Demonstration | Preference | Feedback
R = TypeVar("R", bound=Prompt)

KINDS: dict[type[Prompt], str] = {
    Prompt: "prompt",
    Demonstration: "demonstration",
    Preference: "preference pair",
    Feedback: "feedback",
}


class RowJson(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A row as it stands in a file."""

    messages: list[MessageJson]
    id: str = ""
    source_id: str = ""
    response: list[PartJson] | None = None
    chosen: list[PartJson] | None = None
    rejected: list[PartJson] | None = None
    margin: float | None = None
    aspects: dict[str, float] = {}
    critique: str | None = None
    refined: list[PartJson] | None = None
    metadata: dict[str, Any] = {}

    @property
    def kind(self) -> type[Prompt]:
        """What the fields make it. ValueError if they do not fit together."""
        given = {name for name in _CONTENT if getattr(self, name) is not None}
        if self.aspects:
            given.add("aspects")
        for kind, (needs, may) in _FIELDS.items():
            if needs <= given <= needs | may:
                if kind is Feedback and not given & {"critique", "refined"}:
                    continue
                return kind
        raise ValueError(
            f"has {', '.join(sorted(given))} beside its messages, which is no kind of row. A "
            "demonstration has `response`; a preference pair `chosen` and `rejected` (and `margin`, "
            "`aspects`); feedback `response` and `critique` or `refined`"
        )


_CONTENT = ("response", "chosen", "rejected", "margin", "critique", "refined")
_FIELDS: dict[type[Prompt], tuple[set[str], set[str]]] = {
    Prompt: (set(), set()),
    Demonstration: ({"response"}, set()),
    Preference: ({"chosen", "rejected"}, {"margin", "aspects"}),
    Feedback: ({"response"}, {"critique", "refined"}),
}
_decoder = msgspec.json.Decoder(RowJson)
_encoder = msgspec.json.Encoder()


def row_from_json(line: bytes, root: Path, number: int) -> Row:
    """One line of a file in the folder `root`; `number` is its id if it has none.

    Raises msgspec.ValidationError / DecodeError for a wrong form, ValueError for wrong content.
    """
    return row_from_fields(_decoder.decode(line), root, number)


def row_from_fields(data: RowJson, root: Path, number: int) -> Row:
    """The row of these fields, media read and checked. ValueError for wrong content."""
    kind = data.kind
    if not data.messages or data.messages[-1].role != "user":
        raise ValueError("messages must end with one of the user")
    if data.margin is not None and not (math.isfinite(data.margin) and data.margin >= 0):
        raise ValueError("the margin must be a number from 0 on: how much better the chosen response is")
    if not all(math.isfinite(value) for value in data.aspects.values()):
        raise ValueError("the differences in aspects must be finite numbers")
    messages = tuple(Message(m.role, parts_from_json(m.parts, root)) for m in data.messages)
    if not any(message.parts for message in messages):
        raise ValueError("its messages are empty")
    responses = {}
    for name in ("response", "chosen", "rejected", "refined"):
        parts = getattr(data, name)
        if parts is not None:
            responses[name] = parts_from_json(parts, root)
            if not any(not isinstance(p, TextPart) or p.text for p in responses[name]):
                raise ValueError(f"{name} is empty")
    more: dict[str, Any] = dict(responses)
    if kind is Preference:
        more |= {"margin": data.margin, "aspects": data.aspects}
    if kind is Feedback:
        more["critique"] = data.critique or ""
    return kind(
        id=data.id or str(number),
        messages=messages,
        source_id=data.source_id or prompt_key(messages)[:16],
        metadata=data.metadata,
        **more,
    )


def read_rows(path: Path) -> list[Row]:
    """All rows of a file. FileProblemsError names each mistake with its line."""
    rows, problems = read_what_is_right(path)
    if problems:
        raise FileProblemsError(problems)
    return rows


def read_what_is_right(path: Path) -> tuple[list[Row], list[Problem]]:
    """The rows of a file that can be read, and what is wrong with the others."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return [], [Problem(path, 0, f"cannot be read: {error.strerror}")]
    rows: list[Row] = []
    problems: list[Problem] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        if len(problems) >= _MOST_PROBLEMS:
            problems.append(Problem(path, number, "too many mistakes: the rest was not read"))
            break
        try:
            row = row_from_json(line, path.parent, number)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            problems.append(Problem(path, number, _wrong_form(line, error)))
            continue
        except ValueError as error:
            problems.append(Problem(path, number, str(error)))
            continue
        if row.id in lines:
            message = f"id {row.id!r} is already on line {lines[row.id]}: rename it"
            problems.append(Problem(path, number, message))
        lines.setdefault(row.id, number)
        rows.append(row)
    if not rows and not problems:
        problems.append(Problem(path, 0, "holds no rows"))
    return rows, problems


def _wrong_form(line: bytes, error: Exception) -> str:
    """What is wrong with a line; for one in the fields of another project, how to convert it."""
    from align_plugins.data.foreign import form_of

    try:
        fields = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json_message(error)
    form = form_of(fields) if isinstance(fields, dict) else None
    if form is not None:
        return f"has the fields of {form}: `eval-anything data convert FILE --out DIR` makes it a row"
    if isinstance(fields, dict):
        unknown = next((key for key in fields if key not in RowJson.__struct_fields__), None)
        if unknown is not None:
            known = RowJson.__struct_fields__
            return f"unknown key {unknown!r}: remove it.{near(unknown, known)}"
    return json_message(error)


def rows_of(rows: Iterable[Row], kind: type[R], path: Path, wanted_by: str) -> list[R]:
    """The rows, if all are of the kind that a method needs; every row has a prompt. FileProblemsError
    names the first other."""
    found: list[R] = []
    for row in rows:
        if not isinstance(row, kind) or kind not in (type(row), Prompt):
            raise FileProblemsError(
                [
                    Problem(
                        path,
                        0,
                        f"row {row.id!r} is a {KINDS[type(row)]}, and {wanted_by} needs {KINDS[kind]}s",
                    )
                ]
            )
        found.append(row)
    return found


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Writes a file that `read_rows` reads back to equal rows; returns how many.

    Media must lie in the file's folder or below. InfrastructureError if it cannot be written.
    """
    lines = [_encoder.encode(_to_json(row, path.parent)) + b"\n" for row in rows]
    write_atomically(path, b"".join(lines))
    return len(lines)


def _to_json(row: Row, root: Path) -> RowJson:
    fields: dict[str, Any] = {
        name: parts_to_json(getattr(row, name), root)
        for name in ("response", "chosen", "rejected", "refined")
        if getattr(row, name, None) is not None
    }
    if isinstance(row, Preference):
        fields |= {"margin": row.margin, "aspects": row.aspects}
    if isinstance(row, Feedback):
        fields["critique"] = row.critique or None
    return RowJson(
        messages=[MessageJson(m.role, parts_to_json(m.parts, root)) for m in row.messages],
        id=row.id,
        source_id=row.source_id,
        metadata=row.metadata,
        **fields,
    )


def parts_key(parts: Sequence[Part]) -> tuple[tuple[str, str], ...]:
    """What makes two responses the same: texts up to space and letter case, media by their bytes."""
    return tuple(
        (part.modality.value, part.sha256 if isinstance(part, MediaPart) else _plain(part.text))
        for part in parts
    )


def prompt_key(messages: Sequence[Message]) -> str:
    """sha256 (hex) of what the user says: texts up to space and letter case, media by their bytes.

    A system message does not make it another prompt.
    """
    digest = hashlib.sha256()
    for message in messages:
        if message.role == "user":
            for modality, content in parts_key(message.parts):
                digest.update(f"{modality}\0{content}\0".encode())
    return digest.hexdigest()


def row_key(row: Row) -> tuple[Any, ...]:
    """What makes two rows the same, whatever their ids."""
    said = tuple((m.role, parts_key(m.parts)) for m in row.messages)
    names = ("response", "chosen", "rejected", "refined")
    parts = tuple(parts_key(getattr(row, name, None) or ()) for name in names)
    return (type(row).__name__, said, parts, getattr(row, "critique", ""))


def parts_in(row: Row) -> Iterator[tuple[str, Part]]:
    """Every part of a row with the field that it is in; `messages` for those of the prompt."""
    for message in row.messages:
        yield from (("messages", part) for part in message.parts)
    for name in ("response", "chosen", "rejected", "refined"):
        yield from ((name, part) for part in getattr(row, name, None) or ())


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def file_hash(paths: Sequence[Path]) -> str:
    """sha256 over the bytes of data files: what a resumed training must find again."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
            digest.update(str(path.stat().st_size).encode())
    return digest.hexdigest()
