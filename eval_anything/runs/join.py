"""Logs and media of several run directories, which others may have made, joined into a new one."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from eval_anything.errors import UserError
from eval_anything.files.json_text import decode_strict
from eval_anything.files.reading import MAX_LINES, file_lines, open_file
from eval_anything.files.writing import cannot_write, write_atomically
from eval_anything.jsonl import PartJson, RecordRow
from eval_anything.media import medium_bytes
from eval_anything.runs.directory import Log, records_path
from eval_anything.runs.own_files import own_file
from eval_anything.runs.spending_file import FILE_NAME, SpendingFile, payments

Key = tuple[str, int]
"""Sample id and repeat."""


class _Line(NamedTuple):
    """The place of a line in the log of a run: number of the run, offset, length in bytes."""

    run: int
    start: int
    length: int


class Joining:
    """A new run directory that gets the records and media of other runs.

    Args:
        runs: the run directories; each is named by its place here.
        out: the new directory. What is in it already is written again, except media.
    """

    def __init__(self, runs: Sequence[Path], out: Path) -> None:
        self.runs = runs
        self.out = out
        self._media: set[str] = set()

    def lines(self, task: str, log: Log, owners: Mapping[Key, int] | None) -> dict[Key, list[_Line]]:
        """The places of all lines of a log by their keys, in the order of runs and lines. Their media
        are in the new directory then.

        Args:
            task: the task.
            log: the kind of log.
            owners: the run that each record must be in; None: in any.

        Raises:
            UserError: a record is damaged, or in the wrong run; a medium is missing or another one than
                its name says; a path leads out of a run.
        """
        places: dict[Key, list[_Line]] = {}
        for number, run in enumerate(self.runs):
            path = own_file(run, records_path(run, task, log))
            start = 0
            for position, line in enumerate(file_lines(path) if path.exists() else (), start=1):
                if not line.endswith(b"\n"):
                    break  # left by a kill: it does not count
                try:
                    row = decode_strict(line, RecordRow)
                    for part in (part for answer in (row.parts, *row.turns) for part in answer):
                        self._keep(run, part)
                except ValueError as error:
                    raise UserError(
                        f"{path}:{position}: damaged record ({error}). Delete that line and repeat the "
                        "command of this shard: its sample is then evaluated again"
                    ) from None
                key = (row.sample_id, row.repeat)
                if owners is not None and owners.get(key) != number:
                    raise UserError(f"{path}:{position}: {_misplaced(key, owners, self.runs)}")
                places.setdefault(key, []).append(_Line(number, start, len(line)))
                start += len(line)
        return places

    def write(self, task: str, log: Log, places: Iterable[Sequence[_Line]]) -> None:
        """Writes the log of a task: the lines in these places, in this order. Without any there is no
        file. InfrastructureError if it cannot."""
        path = records_path(self.out, task, log)
        with contextlib.ExitStack() as stack:
            files: dict[int, BufferedReader] = {}
            try:
                path.unlink(missing_ok=True)
                file = None
                for line in (line for group in places for line in group):
                    if line.run not in files:
                        source = records_path(self.runs[line.run], task, log)
                        files[line.run] = stack.enter_context(open_file(source, MAX_LINES))
                    if file is None:
                        path.parent.mkdir(parents=True, exist_ok=True)
                        file = stack.enter_context(path.open("wb"))
                    files[line.run].seek(line.start)
                    file.write(files[line.run].read(line.length))
                if file is not None:
                    file.close()  # here, so that a full disk is noticed
            except OSError as error:
                raise cannot_write(path, error) from None

    def write_payments(self) -> None:
        """Writes what all runs have paid for. UserError for a damaged line."""
        (self.out / FILE_NAME).unlink(missing_ok=True)
        with contextlib.closing(SpendingFile(self.out)) as file:
            for run in self.runs:
                for payment in payments(own_file(run, run / FILE_NAME)):
                    file.append(payment.model, payment.tokens, payment.calls)

    def _keep(self, run: Path, part: PartJson) -> None:
        """Copies the medium of a part, if it is one that is not in the new directory yet."""
        if part.path is None or part.path in self._media:
            return
        match = re.fullmatch(r"media/([0-9a-f]{2})/(\1[0-9a-f]{62})\.[a-z0-9]{1,8}", part.path)
        if match is None or match[2] != part.sha256:
            raise ValueError(f"its medium {part.path!r} is not where a run keeps it")
        target = self.out / part.path
        if not target.exists():
            source = own_file(run, run / part.path)
            try:
                content = medium_bytes(source)
            except OSError as error:
                raise UserError(f"{source}: the medium cannot be read: {error.strerror}") from None
            if hashlib.sha256(content).hexdigest() != part.sha256:
                raise UserError(f"{source}: its content is another than when the answer was recorded")
            write_atomically(target, content, beside=target.parent)
        self._media.add(part.path)


def _misplaced(key: Key, owners: Mapping[Key, int], runs: Sequence[Path]) -> str:
    """The reason why a record should not be in the run where it is."""
    sample = f"the answer {key[1]} to {key[0]!r}"
    if key not in owners:
        return f"{sample} is not part of the run"
    return f"{sample} belongs to another shard, {runs[owners[key]]}"


def same_beginning(run: Path, other: Path, tasks: Collection[str]) -> bool:
    """Whether each log of a run begins with all lines of that of another one."""
    kinds: tuple[Log, Log] = ("records", "canaries")
    return all(
        _begins(records_path(run, task, log), records_path(other, task, log))
        for task in tasks
        for log in kinds
    )


def _begins(path: Path, beginning: Path) -> bool:
    lines = _lines(path)
    return all(line == next(lines, None) for line in _lines(beginning))


def _lines(path: Path) -> Iterator[bytes]:
    return file_lines(path) if path.exists() else iter(())
