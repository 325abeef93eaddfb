"""`eval-anything data convert SOURCE --out DIR`: converts rows of other projects into training rows."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

from align_plugins.data.files import write_rows
from align_plugins.data.importers import convert_row
from align_plugins.data.rows import Row
from eval_anything.cli.printing import print_json
from eval_anything.errors import Exit, UserError
from eval_anything.files.mistakes import Mistakes, Problem
from eval_anything.media import MediaStore
from eval_anything.output.stdout import print_lines
from eval_anything.tasks.datasets.rows import DatasetRow
from eval_anything.tasks.datasets.rows import read_rows as read_foreign

ROWS = "rows.jsonl"


_MOST_PROBLEMS = 20


class Converted(NamedTuple):
    """The file that was written, its number of rows, and a problem for each row of the source that was
    skipped."""

    path: Path
    rows: int
    left_out: list[Problem]


def convert(options: Namespace) -> Exit:
    """Runs the command."""
    path, rows, left_out = convert_file(options.source, options.out, options.skip_wrong)
    if options.json:
        print_json({"path": str(path), "rows": rows, "left_out": list(map(str, left_out))})
        return Exit.DONE
    print_lines(f"{path}: {rows} rows")
    for problem in left_out:
        print_lines(f"left out: {problem}")
    return Exit.DONE


def convert_file(source: Path, out: Path, skip_wrong: bool = False) -> Converted:
    """Writes `out`/rows.jsonl with the media beside it.

    `source` is a JSONL, JSON or parquet file, a folder of them, or a `datasets` directory. A row that
    cannot be converted stops it (FileProblemsError names it), unless `skip_wrong` leaves it out.
    """
    store = MediaStore(out / "media")
    rows: list[Row] = []
    mistakes = Mistakes(source)
    for foreign in foreign_rows(source):
        try:
            identity = f"{foreign.file.stem}-{foreign.number}"
            rows += convert_row(foreign.fields, identity, foreign.file.parent, store)
        except ValueError as error:
            mistakes.append(Problem(foreign.file, foreign.number, f"row {foreign.number}: {error}"))
    if not skip_wrong:
        mistakes.check(_MOST_PROBLEMS)
    if not rows:
        raise UserError(f"{source}: none of its rows can be used; the first: {mistakes[0]}")
    return Converted(out / ROWS, write_rows(out / ROWS, rows), mistakes)


def foreign_rows(source: Path) -> list[DatasetRow]:
    """The rows of a file, a folder of files or a `datasets` directory."""
    if not source.exists():
        raise UserError(f"{source}: there is no such file or folder")
    if source.is_file():
        if source.suffix not in (".json", ".jsonl", ".parquet"):
            raise UserError(f"{source}: a file of rows is .jsonl, .json or .parquet")
        return read_foreign([source])
    arrow = sorted(source.rglob("*.arrow"))
    if arrow:
        return [row for path in arrow for row in _arrow_rows(path)]
    files = sorted(p for kind in ("*.jsonl", "*.parquet", "*.json") for p in source.glob(kind))
    if not files:
        raise UserError(f"{source}: no .jsonl, .json, .parquet or .arrow files in it")
    return read_foreign(files)


def _arrow_rows(path: Path) -> list[DatasetRow]:
    """Rows of a file that `datasets` saved, media as the bytes and paths that it keeps."""
    try:
        import pyarrow
    except ImportError:
        raise UserError(f"{path} needs pyarrow: pip install 'eval-anything[data]'") from None
    try:
        with pyarrow.memory_map(str(path)) as file:
            rows: list[dict[str, Any]] = pyarrow.ipc.open_stream(file).read_all().to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is no readable arrow file: {error}") from None
    return [DatasetRow(path, number, fields) for number, fields in enumerate(rows, start=1)]
