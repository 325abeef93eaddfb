"""Rows of a data set from its files: JSON, JSON lines, parquet. Nothing in them is ever run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from eval_anything.errors import UserError
from eval_anything.files.mistakes import mistake

WHOLE = ("all", "test")
"""Keys of the list with the whole set, in a JSON file with several lists of rows."""


class DatasetRow(NamedTuple):
    """One row: the file, its number there (from 1), and its fields."""

    file: Path
    number: int
    fields: dict[str, Any]


def read_rows(files: Sequence[Path]) -> list[DatasetRow]:
    """The rows of all files, in order. FileProblemsError for a broken file or a row without fields."""
    rows = []
    for path in files:
        try:
            file_rows = _READERS[path.suffix](path)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise mistake(path, f"not valid JSON: {error}") from None
        except OSError as error:
            raise mistake(path, f"cannot be read: {error.strerror or error}") from None
        for number, fields in enumerate(file_rows, start=1):
            if not isinstance(fields, dict):
                raise mistake(path, f"row {number} is no object with fields, but {fields!r:.60}")
            rows.append(DatasetRow(path, number, fields))
    return rows


def _json(path: Path) -> list[Any]:
    """Rows of a JSON file: a list; or an object of lists, from which `all` or `test` is taken alone."""
    document = msgspec.json.decode(path.read_bytes())
    if isinstance(document, dict):
        full_set = next((document[key] for key in WHOLE if isinstance(document.get(key), list)), None)
        lists = [full_set] if full_set is not None else list(document.values())
        if all(isinstance(part, list) for part in lists):
            document = [row for part in lists for row in part]
    if not isinstance(document, list):
        raise mistake(path, "must hold a list of rows")
    return document


def _json_lines(path: Path) -> list[Any]:
    lines = path.read_bytes().split(b"\n")
    return [msgspec.json.decode(line) for line in lines if line.strip()]


def _parquet(path: Path) -> list[Any]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UserError(
            f"{path} is parquet, which needs pyarrow: pip install 'eval-anything[data]'"
        ) from None
    try:
        rows: list[Any] = parquet.read_table(path).to_pylist()
    except ArrowException as error:
        raise mistake(path, f"is no readable parquet file: {error}") from None
    return rows


_READERS = {".json": _json, ".jsonl": _json_lines, ".parquet": _parquet}
