"""Rows of a data set from its files: JSON, JSON lines, parquet. Nothing in them is ever run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from eval_anything.errors import UserError
from eval_anything.files.json_text import decode_json
from eval_anything.files.mistakes import Mistakes, mistake
from eval_anything.jsonl import TOO_DEEP, read_lines

WHOLE = ("all", "test")
"""Keys of the list with the whole set, in a JSON file with several lists of rows."""


class DatasetRow(NamedTuple):
    """One row: the file, its number there (from 1), its fields, and its line (0 if it has none)."""

    file: Path
    number: int
    fields: dict[str, Any]
    line: int = 0


_Numbered = tuple[int, Any]
"""A row after its line, which is 0 for a file without lines."""


def read_rows(files: Sequence[Path]) -> list[DatasetRow]:
    """The rows of all files, in order. FileProblemsError for a broken file or a row without fields."""
    rows = []
    for path in files:
        try:
            file_rows = _READERS[path.suffix](path)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise mistake(path, f"not valid JSON: {error}") from None
        except RecursionError:
            raise mistake(path, TOO_DEEP) from None
        except OSError as error:
            raise mistake(path, f"cannot be read: {error.strerror or error}") from None
        for number, (line, fields) in enumerate(file_rows, start=1):
            if not isinstance(fields, dict):
                message = f"row {number} is no object with fields, but {fields!r:.60}"
                raise mistake(path, message, line)
            rows.append(DatasetRow(path, number, fields, line))
    return rows


def _json(path: Path) -> list[_Numbered]:
    """Rows of a JSON file: a list; or an object of lists, from which `all` or `test` is taken alone."""
    document: Any = decode_json(path.read_bytes())
    if isinstance(document, dict):
        full_set = next((document[key] for key in WHOLE if isinstance(document.get(key), list)), None)
        lists = [full_set] if full_set is not None else list(document.values())
        if all(isinstance(part, list) for part in lists):
            document = [row for part in lists for row in part]
    if not isinstance(document, list):
        raise mistake(path, "must hold a list of rows")
    return [(0, row) for row in document]


def _json_lines(path: Path) -> list[_Numbered]:
    mistakes = Mistakes(path)
    rows = list(read_lines(path.read_bytes(), mistakes, lambda line, _: decode_json(line)))
    mistakes.check()
    return rows


def _parquet(path: Path) -> list[_Numbered]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UserError(
            f"{path} is parquet, which needs pyarrow: pip install 'eval-anything[data]'"
        ) from None
    try:
        return [(0, row) for row in parquet.read_table(path).to_pylist()]
    except ArrowException as error:
        raise mistake(path, f"is no readable parquet file: {error}") from None


_READERS = {".json": _json, ".jsonl": _json_lines, ".parquet": _parquet}
