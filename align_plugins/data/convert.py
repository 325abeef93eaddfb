"""`eval-anything data convert SOURCE --out DIR`: converts rows of other projects into training rows."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from align_plugins.data.files import write_rows
from align_plugins.data.importers import convert_row
from align_plugins.data.rows import KINDS, Row
from eval_anything.cli.printing import print_json
from eval_anything.errors import Exit, UserError, install
from eval_anything.files.mistakes import Problem
from eval_anything.media import MediaStore
from eval_anything.output.stdout import print_lines
from eval_anything.tasks.datasets.rows import DatasetRow
from eval_anything.tasks.datasets.rows import read_rows as read_foreign

ROWS = "rows.jsonl"


_MOST_REASONS = 20


class RefusedRow(NamedTuple):
    """A row of the source that was not converted: its place and the reason."""

    file: Path
    line: int
    number: int
    reason: str

    def __str__(self) -> str:
        row = f"row {self.number}: " if self.number else ""
        return str(Problem(self.file, self.line, row + self.reason))


class Converted(NamedTuple):
    """The outcome of a conversion.

    Attributes:
        path: the file that was written.
        rows: number of its rows.
        kinds: numbers of its rows by kind.
        left_out: the rows of the source that were not converted.
        unread: number of rows by each field of the source that was not read.
    """

    path: Path
    rows: int
    kinds: dict[str, int]
    left_out: list[RefusedRow]
    unread: dict[str, int]

    @property
    def reasons(self) -> dict[str, int]:
        """Number of rows by each reason for which rows were left out, the most frequent first."""
        return _reasons(self.left_out)


def convert(options: Namespace) -> Exit:
    """Runs the command."""
    converted = convert_file(options.source, options.out, options.most_wrong)
    if options.json:
        as_text = {"path": str(converted.path), "left_out": list(map(str, converted.left_out))}
        print_json({**converted._asdict(), **as_text, "reasons": converted.reasons})
        return Exit.DONE
    kinds = ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in converted.kinds.items())
    print_lines(f"{converted.path}: {converted.rows} rows ({kinds})")
    if converted.left_out:
        print_lines(f"left out: {len(converted.left_out)} rows", *_lines_of(converted.left_out))
    if converted.unread:
        fields = ", ".join(f"{name} ({n})" for name, n in converted.unread.items())
        print_lines(f"fields that were not read, and the number of rows: {fields}")
    return Exit.DONE


def convert_file(source: Path, out: Path, most_wrong: float = 1.0) -> Converted:
    """Writes `out`/rows.jsonl with the media beside it. Rows that cannot be converted are left out, each
    with its reason.

    Args:
        source: a JSONL, JSON or parquet file, a folder of them, or a `datasets` directory.
        out: folder for rows and media.
        most_wrong: share of the rows, 0 to 1, that may be left out.

    Raises:
        UserError: more rows cannot be converted, or none can; says why.
    """
    store = MediaStore(out / "media")
    rows: list[Row] = []
    broken: list[Problem] = []
    unread: Counter[str] = Counter()
    foreign = foreign_rows(source, broken)
    left_out = [RefusedRow(file, line, 0, reason) for file, line, reason in broken]
    stems = _stems([row.file for row in foreign])
    for row in foreign:
        try:
            identity = f"{stems[row.file]}-{row.number}"
            converted = convert_row(row.fields, identity, row.file.parent, store)
        except ValueError as error:
            left_out.append(RefusedRow(row.file, row.line, row.number, str(error)))
        else:
            rows += converted.rows
            unread.update(converted.unread)
    total = len(foreign) + len(broken)
    if not total:
        raise UserError(f"{source}: has no rows")
    if not rows or len(left_out) > most_wrong * total:
        limit = "" if not rows else f", and --most-wrong allows {most_wrong:g} of them"
        lines = "\n".join(_lines_of(left_out))
        raise UserError(f"{source}: {len(left_out)} of {total} rows cannot be used{limit}:\n{lines}")
    kinds = Counter(KINDS[type(row)] for row in rows)
    return Converted(
        out / ROWS, write_rows(out / ROWS, rows), dict(kinds), left_out, dict(unread.most_common())
    )


def _reasons(left_out: Sequence[RefusedRow]) -> dict[str, int]:
    return dict(Counter(row.reason for row in left_out).most_common())


def _lines_of(left_out: Sequence[RefusedRow]) -> list[str]:
    """A line for each of the most frequent reasons: its number of rows, and the first of them."""
    reasons = _reasons(left_out)
    first = {row.reason: row for row in reversed(left_out)}
    lines = [f"  {n}: {first[reason]}" for reason, n in list(reasons.items())[:_MOST_REASONS]]
    unlisted = len(reasons) - len(lines)
    return [*lines, f"  and {unlisted} more reasons"] if unlisted > 0 else lines


def _stems(files: Sequence[Path]) -> dict[Path, str]:
    """First words of the ids of each file's rows: its name, after its folder where names recur."""
    paths = set(files)
    names = Counter(path.stem for path in paths)
    alone = {path: path.stem for path in paths if names[path.stem] == 1}
    return {path: alone.get(path) or f"{path.parent.name}-{path.name}" for path in paths}


def foreign_rows(source: Path, broken: list[Problem]) -> list[DatasetRow]:
    """The rows of a file, a folder of files or a `datasets` directory. Lines that are no rows are added
    to `broken`."""
    if not source.exists():
        raise UserError(f"{source}: there is no such file or folder")
    if source.is_file():
        if source.suffix not in (".json", ".jsonl", ".parquet"):
            raise UserError(f"{source}: a file of rows is .jsonl, .json or .parquet")
        return read_foreign([source], broken)
    arrow = sorted(source.rglob("*.arrow"))
    if arrow:
        return [row for path in arrow for row in _arrow_rows(path)]
    files = sorted(p for kind in ("*.jsonl", "*.parquet", "*.json") for p in source.glob(kind))
    if not files:
        raise UserError(f"{source}: no .jsonl, .json, .parquet or .arrow files in it")
    return read_foreign(files, broken)


def _arrow_rows(path: Path) -> list[DatasetRow]:
    """Rows of a file that `datasets` saved, media as the bytes and paths that it keeps."""
    try:
        import pyarrow
    except ImportError:
        raise UserError(f"{path} needs pyarrow: {install('hf')}") from None
    try:
        with pyarrow.memory_map(str(path)) as file:
            rows: list[dict[str, Any]] = pyarrow.ipc.open_stream(file).read_all().to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is no readable arrow file: {error}") from None
    return [DatasetRow(path, number, fields) for number, fields in enumerate(rows, start=1)]
