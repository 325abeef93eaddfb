"""The records of a run in the order of its samples, read one at a time."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from eval_anything.files.reading import MAX_LINES, open_file
from eval_anything.runs.directory import (
    Line,
    Log,
    Outline,
    RecordHead,
    each_line,
    read_head,
    read_outline,
    records_path,
)


class OrderedRecords:
    """The records of one task that count, in the order of its samples, one in memory at a time.

    Args:
        run: the directory of the run.
        task: the task.
        numbers: the place of each sample in the order; records of others are left out.
        log: the kind of log.
        on_line: called with each record of the log, those that a later line replaces too; None: the
            records are read when they are asked for.
    """

    def __init__(
        self,
        run: Path,
        task: str,
        numbers: Mapping[str, int],
        log: Log = "records",
        on_line: Callable[[Outline], object] | None = None,
    ) -> None:
        self._path = records_path(run, task, log)
        logged: Iterable[Line[RecordHead] | Line[Outline]]
        if on_line is None:
            logged = each_line(run, task, log, read_head)
        else:
            logged = _shown(each_line(run, task, log, read_outline), on_line)
        rows = array("q")
        for line in logged:
            number = numbers.get(line.record.sample_id)
            if number is not None:
                rows.extend((number, line.record.repeat, line.start, line.length))
        table = np.frombuffer(rows, np.int64).reshape(-1, 4)
        table = table[np.lexsort((table[:, 1], table[:, 0]))]  # stable: the last line is the newest
        newest = np.ones(len(table), bool)
        newest[:-1] = (table[1:, :2] != table[:-1, :2]).any(1)
        self._table = table[newest]

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Outline]:
        if len(self):
            with open_file(self._path, MAX_LINES) as file:
                for _, _, start, length in self._table:
                    file.seek(int(start))
                    yield read_outline(file.read(int(length)))

    def place(self, index: int) -> tuple[int, int]:
        """The place of the sample of a record, and the number of its answer."""
        number, repeat = self._table[index, :2]
        return int(number), int(repeat)


def _shown(
    lines: Iterable[Line[Outline]], on_line: Callable[[Outline], object]
) -> Iterator[Line[Outline]]:
    for line in lines:
        on_line(line.record)
        yield line
