"""Reading of saved outputs from a file: a row for each answer, as JSONL, JSON, CSV, TSV or parquet.

A row has `id` (or `sample_id`), and `response`, a text, or `parts`. A null, or an empty cell of a table,
is no answer. Tables may have other columns, which are not read.
"""

from __future__ import annotations

import csv
import errno
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

from eval_anything.content import Modality
from eval_anything.errors import near
from eval_anything.files.json_text import (
    TooDeepError,
    decode_json,
    decode_strict,
    utf8_lines,
    without_mark,
)
from eval_anything.files.mistakes import Problem, mistake
from eval_anything.files.parquet_rows import parquet_rows
from eval_anything.files.reading import (
    MAX_DOCUMENT,
    MAX_LINES,
    RefusedFileError,
    bounded_lines,
    open_file,
    read_file,
)
from eval_anything.jsonl import PartJson
from eval_anything.models.replay.mistakes import FoldedMistakes


class AnswerRow(Struct, forbid_unknown_fields=True):
    """One row. `turns` are the answers before the last one, each a text or parts."""

    id: str | int | UnsetType = UNSET
    sample_id: str | int | UnsetType = UNSET
    response: str | UnsetType | None = UNSET
    parts: list[PartJson] | UnsetType | None = UNSET
    task: str | None = None
    repeat: int | None = None
    turns: list[str | list[PartJson]] | None = None

    def __post_init__(self) -> None:
        ids = {str(id_) for id_ in (self.id, self.sample_id) if id_ is not UNSET}
        if len(ids) != 1:
            raise ValueError('a row has an "id" (or "sample_id") of its sample, and only one')
        if self.response is UNSET and self.parts is UNSET:
            raise ValueError('a row has a "response", which is a text, or "parts"')
        if isinstance(self.response, str) and isinstance(self.parts, list):
            raise ValueError('a row has either a "response" or "parts": keep one')

    @property
    def key(self) -> str:
        """The id of the sample."""
        return str(self.sample_id if self.id is UNSET else self.id)

    @property
    def answer(self) -> list[PartJson] | None:
        """The parts of the answer, None if there is none."""
        if isinstance(self.response, str):
            return _as_parts(self.response)
        return self.parts if isinstance(self.parts, list) else None

    @property
    def earlier(self) -> list[list[PartJson]]:
        """The parts of the answers before the last one."""
        return [_as_parts(turn) for turn in self.turns or ()]


def _as_parts(answer: str | list[PartJson]) -> list[PartJson]:
    return [PartJson(Modality.TEXT, text=answer)] if isinstance(answer, str) else answer


_MAX_LIST = 2**28
"""Bytes of a file that is read at once: a list of JSON."""


FIELDS = AnswerRow.__struct_fields__


class SavedAnswer(NamedTuple):
    """A row, its place in the file (a problem without a message, and a short name), and the bytes that
    stand for it in the hash of all rows."""

    row: AnswerRow
    where: Problem
    position: str
    content: bytes


def read_answers(path: Path, mistakes: FoldedMistakes) -> Iterator[SavedAnswer]:
    """The rows of a file in their order. `mistakes` gets those that cannot be read.

    Raises:
        UserError: nothing in the file can be read.
    """
    read = _READERS.get(path.suffix.lower(), _json_lines)
    for where, position, parse, content in read(path):
        try:
            row = parse()
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            mistakes.add(where.extended(str(error)), position)
            if mistakes.enough:
                return
        else:
            yield SavedAnswer(row, where, position, content)


class _Raw(NamedTuple):
    """A row that is not parsed yet: its place, the function that parses it, its bytes."""

    where: Problem
    position: str
    parse: Callable[[], AnswerRow]
    content: bytes


def _json_lines(path: Path) -> Iterator[_Raw]:
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            yield _raw(Problem(path, number, ""), f"line {number}", line)


def _raw(where: Problem, position: str, line: bytes) -> _Raw:
    """A row of JSON."""

    def parse() -> AnswerRow:
        row: AnswerRow = decode_json(line, AnswerRow)
        return row

    return _Raw(where, position, parse, line)


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file as UTF-8, one at a time."""
    try:
        yield from utf8_lines(path)
    except UnicodeDecodeError as error:
        raise mistake(path, f"cannot be read: {error}") from None


def _json(path: Path) -> Iterator[_Raw]:
    """The rows of a list; a file of several documents is one of lines."""
    try:
        content = without_mark(_whole(path))
        if not content.lstrip().startswith(b"["):
            yield from _json_lines(path)
            return
        rows = decode_strict(content, list[msgspec.Raw])
    except TooDeepError as error:
        raise mistake(path, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise mistake(path, f"not valid JSON: {error}") from None
    for number, row in enumerate(rows, start=1):
        yield _raw(Problem(path, 0, f"row {number}: "), f"row {number}", bytes(row))


def _whole(path: Path) -> bytes:
    """The bytes of a file that is one list. RefusedFileError if it is too large for that."""
    try:
        return read_file(path, _MAX_LIST)
    except RefusedFileError as error:
        if error.errno == errno.EFBIG:
            error.strerror = f"{error.strerror} as one list: JSONL may have {MAX_LINES:,}"
        raise


def _csv(path: Path) -> Iterator[_Raw]:
    csv.field_size_limit(MAX_DOCUMENT)
    with open_file(path, MAX_LINES) as file:
        encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    number = 1
    with io.TextIOWrapper(open_file(path, MAX_LINES), encoding, newline="") as text:
        try:
            delimiter = _delimiter(text.readline(MAX_DOCUMENT))
            text.seek(0)
            rows = csv.reader(bounded_lines(path, text), delimiter=delimiter, strict=True)
            columns = next(rows, [])
            _check_columns(path, columns)
            for cells in rows:
                number = rows.line_num
                if any(cells):
                    yield _row_of_cells(Problem(path, number, ""), columns, cells)
        except csv.Error as error:
            raise mistake(path, f"is no CSV: {error}", rows.line_num) from None
        except UnicodeDecodeError:
            raise mistake(path, "is no UTF-8 text: save it as UTF-8", number) from None


def _delimiter(header: str) -> str:
    """The character between the columns: the one that gives most of the names that rows have."""
    counts = {
        character: len({cell.strip(' "\r\n') for cell in header.split(character)} & {*FIELDS})
        for character in (",", ";", "\t")
    }
    return max(counts, key=lambda character: counts[character])


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    """Raises FileProblemsError for a table without the columns that rows need."""
    for either in (("id", "sample_id"), ("response", "parts")):
        if not {*either} & {*columns}:
            names = " or ".join(f"`{name}`" for name in either)
            hint = near(either[0], columns) or near(either[1], columns)
            there = ", ".join(columns[:20]) or "none"
            raise mistake(path, f"there is no column {names}.{hint} Its columns: {there}", 1)
    twice = next((name for name in FIELDS if list(columns).count(name) > 1), None)
    if twice is not None:
        raise mistake(path, f"has two columns `{twice}`: keep one", 1)


def _row_of_cells(where: Problem, columns: Sequence[str], cells: Sequence[str]) -> _Raw:
    def parse() -> AnswerRow:
        if len(cells) != len(columns):
            raise ValueError(f"has {len(cells)} cells, and the table {len(columns)} columns")
        return _row({name: cell or None for name, cell in zip(columns, cells, strict=True)})

    content = msgspec.json.encode([*columns, *cells])
    return _Raw(where, f"line {where.line}", parse, content)


def _row(cells: Mapping[str, Any]) -> AnswerRow:
    """The row of a table; lists may be JSON texts, and numbers texts."""
    fields = {name: _plain(cells[name]) for name in FIELDS if name in cells}
    for name in ("parts", "turns"):
        if isinstance(fields.get(name), str):
            fields[name] = decode_json(fields[name])
    if isinstance(fields.get("repeat"), str):
        fields["repeat"] = int(fields["repeat"]) if fields["repeat"].isdecimal() else fields["repeat"]
    for name in ("id", "sample_id"):  # an empty id is none
        if fields.get(name, 0) is None:
            del fields[name]
    row: AnswerRow = msgspec.convert(fields, AnswerRow)
    return row


def _plain(cell: Any) -> Any:
    """The value of a cell; objects, which parquet fills up with nulls, without these."""
    if isinstance(cell, Mapping):
        return {name: inner for name, inner in cell.items() if inner is not None}
    return [_plain(inner) for inner in cell] if isinstance(cell, list) else cell


def _parquet(path: Path) -> Iterator[_Raw]:
    def choose(columns: Sequence[str]) -> list[str]:
        _check_columns(path, columns)
        return [name for name in FIELDS if name in columns]

    for number, cells in enumerate(parquet_rows(path, choose), start=1):
        yield _row_of_table(path, number, cells)


def _row_of_table(path: Path, number: int, cells: Mapping[str, Any]) -> _Raw:
    content = msgspec.json.encode(cells, enc_hook=str)
    where = Problem(path, 0, f"row {number}: ")
    return _Raw(where, f"row {number}", lambda: _row(cells), content)


_READERS: Mapping[str, Callable[[Path], Iterator[_Raw]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}


SUFFIXES = tuple(_READERS)
"""Extensions of files with saved outputs."""
