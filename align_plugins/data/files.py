"""Files of training rows: reads JSON lines and reports every mistake, and writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from align_plugins.data.rows import (
    RESPONSES,
    Demonstration,
    Feedback,
    Preference,
    Prompt,
    Row,
    check_row,
    prompt_key,
)
from eval_anything.content import Message
from eval_anything.errors import near
from eval_anything.files.json_text import decode_json
from eval_anything.files.mistakes import Mistakes
from eval_anything.files.reading import MAX_LINES, open_file
from eval_anything.files.writing import write_atomically
from eval_anything.jsonl import (
    MessageJson,
    PartJson,
    json_message,
    parts_from_json,
    parts_to_json,
    read_lines,
)

_MOST_PROBLEMS = 50


class RowJson(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A row as a JSON object of a file."""

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
        """Type of row that the fields stand for. ValueError if they do not fit together."""
        fields = {name for name in _CONTENT if getattr(self, name) is not None}
        if self.aspects:
            fields.add("aspects")
        for kind, (needs, may) in _FIELDS.items():
            if needs <= fields <= needs | may:
                if kind is Feedback and not fields & {"critique", "refined"}:
                    continue
                return kind
        raise ValueError(
            f"has {', '.join(sorted(fields))} beside its messages, which is no kind of row. A "
            "demonstration has `response`; a preference pair `chosen` and `rejected` (and `margin`, "
            "`aspects`); feedback `response` and `critique` or `refined`"
        )


_CONTENT = (*RESPONSES, "margin", "critique")


_FIELDS: dict[type[Prompt], tuple[set[str], set[str]]] = {
    Prompt: (set(), set()),
    Demonstration: ({"response"}, set()),
    Preference: ({"chosen", "rejected"}, {"margin", "aspects"}),
    Feedback: ({"response"}, {"critique", "refined"}),
}


_decoder = msgspec.json.Decoder(RowJson)


_encoder = msgspec.json.Encoder()


def row_from_json(line: bytes, root: Path, number: int) -> Row:
    """Row of one line of a file. Media are read and checked.

    Args:
        line: the line, a JSON object.
        root: folder that paths of media are relative to.
        number: line number (from 1), the id of a row without one.

    Raises:
        msgspec.ValidationError, msgspec.DecodeError: the form is wrong.
        ValueError: the content is wrong.
    """
    row_json: RowJson = decode_json(line, RowJson)
    kind = row_json.kind
    messages = tuple(Message(m.role, parts_from_json(m.parts, root)) for m in row_json.messages)
    content: dict[str, Any] = {}
    for name in RESPONSES:
        parts = getattr(row_json, name)
        if parts is not None:
            content[name] = parts_from_json(parts, root)
    if kind is Preference:
        content |= {"margin": row_json.margin, "aspects": row_json.aspects}
    if kind is Feedback:
        content["critique"] = row_json.critique or ""
    row: Row = kind(
        id=row_json.id or str(number),
        messages=messages,
        source_id=row_json.source_id or prompt_key(messages)[:16],
        metadata=row_json.metadata,
        **content,
    )
    check_row(row)
    return row


def read_rows(path: Path) -> list[Row]:
    """All rows of a file. FileProblemsError lists each mistake with its line."""
    rows, mistakes = read_valid_rows(path)
    mistakes.check()
    return rows


def read_valid_rows(path: Path) -> tuple[list[Row], Mistakes]:
    """Valid rows of a file, and the mistakes in the others."""
    rows: list[Row] = []
    mistakes = Mistakes(path)
    lines: dict[str, int] = {}

    def parse(line: bytes, number: int) -> Row:
        try:
            return row_from_json(line, path.parent, number)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(_wrong_form(line, error)) from None

    for number, row in read_lines(path, mistakes, parse, most=_MOST_PROBLEMS):
        if row.id in lines:
            message = f"id {row.id!r} is already on line {lines[row.id]}: rename it"
            mistakes.add_line(number, message)
        lines.setdefault(row.id, number)
        rows.append(row)
    if not rows and not mistakes:
        mistakes.add("holds no rows")
    return rows, mistakes


def _wrong_form(line: bytes, error: Exception) -> str:
    """Message on a line that is no row; for fields of another project it says how to convert them."""
    from align_plugins.data.importers import form_of

    try:
        fields: Any = decode_json(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json_message(error)
    form = form_of(fields) if isinstance(fields, dict) else None
    if form is not None:
        return f"has the fields of {form}: `eval-anything data convert FILE --out DIR` makes it a row"
    if isinstance(fields, dict):
        unknown = next((key for key in fields if key not in RowJson.__struct_fields__), None)
        if unknown is not None:
            row_keys = RowJson.__struct_fields__
            return f"unknown key {unknown!r}: remove it.{near(unknown, row_keys)}"
    return json_message(error)


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Writes a file that `read_rows` reads back to equal rows; returns the number of rows.

    Media must lie in the file's folder or below. InfrastructureError if the file cannot be written.
    """
    lines = [_encoder.encode(_to_json(row, path.parent)) + b"\n" for row in rows]
    write_atomically(path, b"".join(lines))
    return len(lines)


def _to_json(row: Row, root: Path) -> RowJson:
    fields: dict[str, Any] = {
        name: parts_to_json(getattr(row, name), root)
        for name in RESPONSES
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


def file_hash(paths: Sequence[Path]) -> str:
    """sha256 (hex) over the content of data files; a resumed training must have the same."""
    digest = hashlib.sha256()
    for path in paths:
        with open_file(path, MAX_LINES) as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
            digest.update(str(path.stat().st_size).encode())
    return digest.hexdigest()
