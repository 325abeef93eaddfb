"""Rows of a data set from its files: JSON, JSON lines, parquet. Nothing in them is ever run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from eval_anything.files.json_text import decode_json
from eval_anything.files.mistakes import Mistakes, Problem, mistake
from eval_anything.files.parquet_rows import MAX_BYTES, parquet_rows
from eval_anything.files.reading import read_file
from eval_anything.jsonl import read_lines

WHOLE = ("all", "test")
"""Keys of the list with the whole set, in a JSON file with several lists of rows."""


_MOST_PROBLEMS = 20


class DatasetRow(NamedTuple):
    """One row: the file, its number there (from 1), its fields, and its line (0 if it has none)."""

    file: Path
    number: int
    fields: dict[str, Any]
    line: int = 0


_Numbered = tuple[int, Any]
"""A row after its line, which is 0 for a file without lines."""


def read_rows(files: Sequence[Path], wrong_rows: list[Problem] | None = None) -> list[DatasetRow]:
    """The rows of all files, in order. FileProblemsError for a broken file or a row without fields; if
    `wrong_rows` is given, such rows are added to it and left out."""
    rows = []
    for path in files:
        mistakes = Mistakes(path)
        try:
            file_rows = _READERS[path.suffix](path, mistakes)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise mistake(path, f"not valid JSON: {error}") from None
        except OSError as error:
            raise mistake(path, f"cannot be read: {error.strerror or error}") from None
        for number, (line, fields) in enumerate(file_rows, start=1):
            if not isinstance(fields, dict):
                value = "a list" if isinstance(fields, list) else f"{fields!r:.60}"
                mistakes.add_line(line, f"row {number} is no object with fields, but {value}")
            else:
                rows.append(DatasetRow(path, number, fields, line))
        if wrong_rows is None:
            mistakes.check(_MOST_PROBLEMS)
        else:
            wrong_rows += mistakes
    return rows


def _json(path: Path, mistakes: Mistakes) -> list[_Numbered]:
    """Rows of a JSON file: a list; or an object of lists, from which `all` or `test` is taken alone; or
    JSON lines, which some name so."""
    content = read_file(path, MAX_BYTES)
    try:
        document: Any = decode_json(content)
    except msgspec.DecodeError:
        if not _is_object(content.partition(b"\n")[0]):
            raise
        return _json_lines(path, mistakes)
    if isinstance(document, dict):
        full_set = next((document[key] for key in WHOLE if isinstance(document.get(key), list)), None)
        lists = [full_set] if full_set is not None else list(document.values())
        if all(isinstance(part, list) for part in lists):
            document = [row for part in lists for row in part]
    if not isinstance(document, list):
        raise mistake(path, "must hold a list of rows")
    return [(0, row) for row in document]


def _json_lines(path: Path, mistakes: Mistakes) -> list[_Numbered]:
    return list(read_lines(path, mistakes, lambda line, _: decode_json(line), most=sys.maxsize))


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(decode_json(line), dict)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _parquet(path: Path, mistakes: Mistakes) -> list[_Numbered]:
    return [(0, row) for row in parquet_rows(path)]


_READERS = {".json": _json, ".jsonl": _json_lines, ".parquet": _parquet}
