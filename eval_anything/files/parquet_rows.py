"""Rows of a parquet file, of which a few bytes may stand for very many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from eval_anything.errors import UserError, install
from eval_anything.files.mistakes import mistake
from eval_anything.files.reading import MAX_LINES, open_file

MAX_BYTES, MAX_VALUES = 2**30, 50_000_000
"""Bytes that a file may unpack to, and the values that it may have."""


_ROWS_AT_ONCE, _AT_ONCE = 64, 2**26
"""Rows that are read at once, and the bytes that they may take: a value of a dictionary that all of
them share is not larger than the column that it is in."""


def parquet_rows(
    path: Path, choose: Callable[[Sequence[str]], Sequence[str] | None] = lambda names: None
) -> Iterator[dict[str, Any]]:
    """The rows of a file, one after another.

    Args:
        path: the file.
        choose: the columns to read, of those that there are; None: all.

    Raises:
        UserError: pyarrow is missing, or the file is none, broken or too large.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UserError(f"{path} is parquet, which needs pyarrow: {install('hf')}") from None
    try:
        with open_file(path, MAX_LINES) as stream, parquet.ParquetFile(stream) as file:
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
            values = sum(
                group.column(i).num_values for group in groups for i in range(group.num_columns)
            )
            if values > MAX_VALUES:
                raise mistake(path, f"has {values:,} values, more than the {MAX_VALUES:,} that are read")
            columns = choose(file.schema_arrow.names)
            size = 0
            largest = sum(
                max((group.column(i).total_uncompressed_size for group in groups), default=0)
                for i in range(file.metadata.num_columns)
                if columns is None or file.metadata.schema.column(i).path.split(".")[0] in columns
            )
            rows = max(1, min(_ROWS_AT_ONCE, _AT_ONCE // max(largest, 1)))
            for batch in file.iter_batches(rows, columns=columns):
                size += batch.nbytes
                if size > MAX_BYTES:
                    raise mistake(path, f"holds more than the {MAX_BYTES:,} bytes that are read")
                yield from batch.to_pylist()
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk: pyarrow's own have no number
        raise mistake(path, f"is no readable parquet file: {error}") from None
