"""The directory of a run: settings (run.json), records, media. A kill at any time loses no record.

    run.json                        written atomically
    <suite>/<task>/records.jsonl    one record a line; the last line of a (sample, repeat) wins
    <suite>/<task>/canaries.jsonl   records of canaries, where a model judges; never counted in n
    media/<aa>/<sha256>.<ext>       each medium once
    spending.jsonl                  a line for each request to a server that was paid for
    results.json                    rebuilt from the records

A process killed at any byte leaves at most one line without its newline, which is cut off when the run
is opened again. One process at a time has the run locked; the kernel's lock ends with the process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from eval_anything.content import Count, Failure, Latency, Modality, Record, Score, Usage, check_scores
from eval_anything.errors import UserError
from eval_anything.files.json_text import decode_strict
from eval_anything.files.reading import MAX_DOCUMENT, file_lines, read_file
from eval_anything.files.writing import (
    AppendedFile,
    clear_temporaries,
    cut_torn_line,
    locked,
    pretty_json,
    write_atomically,
)
from eval_anything.jsonl import record_from_json, record_to_json
from eval_anything.media import MediaStore
from eval_anything.runs.own_files import check_task_names, own_file
from eval_anything.servers.secrets import without_key

FORMAT = 1


Status = Literal["running", "done", "stopped", "failed"]


class Shard(Struct, frozen=True):
    """The part of a run that a directory is for: every `count`-th batch, beginning with `number`.

    Attributes:
        number: from 1.
        count: number of shards.
        batch_size: requests of a batch.
        plan: sha256 of the requests of all batches of the whole run; equal for all of its shards.
    """

    number: Annotated[int, Meta(ge=1, le=2**31)]
    count: Annotated[int, Meta(ge=1, le=2**31)]
    batch_size: Annotated[int, Meta(ge=1, le=2**31)]
    plan: str

    def __post_init__(self) -> None:
        if self.number > self.count:
            raise ValueError(f"there is no shard {self.number} of {self.count}")

    @property
    def name(self) -> str:
        """Number and count, as the command line has them."""
        return f"{self.number}/{self.count}"

    def has(self, batch: int) -> bool:
        """Whether a batch of the run, counted from 0, belongs to this shard."""
        return batch % self.count == self.number - 1


class RunFile(Struct, frozen=True):
    """run.json. `fingerprints` maps a task to the sha256 of each part that decides its numbers;
    `judge_arguments` has those of each judge that has any; `to_judge` names judges that came to the run
    after its answers, and have not scored all of them yet; `judges` has the SPEC or path of the model of
    each judge, `against` the run that some compare with. `counts` has the number of samples of each
    task: its first ones, or those whose ids are in `chosen`. With a `shard` the directory has a part of
    the run that the rest describes. `paid_as` is the name by which a model on a server is priced.
    `sampling` has the settings of generation that are set; `task_sampling` those of tasks that have some
    of their own; `sampling_from` where those are from that no option gave."""

    format: int
    model: str
    spec: str
    weights: str
    arguments: dict[str, Any]
    sampling: dict[str, Any]
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    repeats: Count
    tasks: list[str]
    counts: dict[str, Count]
    fingerprints: dict[str, dict[str, str]]
    versions: dict[str, str]
    command: list[str]
    created: str
    status: Status
    judge_arguments: dict[str, dict[str, Any]] | UnsetType = UNSET
    to_judge: list[str] | UnsetType = UNSET
    judges: dict[str, str] | UnsetType = UNSET
    against: str | UnsetType = UNSET
    chosen: dict[str, list[str]] | UnsetType = UNSET
    shard: Shard | UnsetType = UNSET
    paid_as: str | UnsetType = UNSET
    task_sampling: dict[str, dict[str, Any]] | UnsetType = UNSET
    sampling_from: dict[str, str] | UnsetType = UNSET

    def sampling_of(self, task: str) -> dict[str, Any]:
        """The settings of generation of a task."""
        by_task = {} if self.task_sampling is UNSET else self.task_sampling
        return by_task.get(task, self.sampling)


def is_run(path: Path) -> bool:
    """Whether a folder is the directory of a run."""
    return (path / "run.json").is_file()


def read_run_file(path: Path) -> RunFile:
    """run.json of a run directory. UserError if there is none, or of another format."""
    try:
        file = decode_strict(read_file(own_file(path, path / "run.json"), MAX_DOCUMENT), RunFile)
    except FileNotFoundError:
        raise UserError(
            f"{path} is not the directory of a run: it has no run.json{_runs_below(path)}"
        ) from None
    except (ValueError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}/run.json cannot be read: {reason}") from None
    if file.format != FORMAT:
        raise UserError(f"{path} has format {file.format}; this version reads {FORMAT}")
    check_task_names(file.tasks, path / "run.json")
    command = [without_key(word) for word in file.command]  # earlier versions stored keys in addresses
    return msgspec.structs.replace(file, spec=without_key(file.spec), command=command)


def _runs_below(path: Path) -> str:
    """A hint if a folder holds runs, as that of a training does; "" if it has none."""
    for pattern in ("*", "runs/*"):
        if next(path.glob(f"{pattern}/run.json"), None) is not None:
            return f". It holds runs: {path}/{pattern}"
    return ""


def begun_run(path: Path) -> RunFile | None:
    """run.json of a run that can be resumed; None if it has no records, so any settings may start it."""
    if not is_run(path):
        return None
    file = read_run_file(path)
    recorded = (records_path(path, task) for task in file.tasks)
    return file if any(p.is_file() and p.stat().st_size for p in recorded) else None


Log = Literal["records", "canaries"]


def records_path(run: Path, task: str, log: Log = "records") -> Path:
    """The file with the records of a task, or with those of its canaries."""
    return run / task / f"{log}.jsonl"


def read_run(run: Path, task: str, log: Log = "records") -> list[Record]:
    """The records of one task: the last line of each (sample, repeat), in order of first appearance.

    A last line without a newline, left by a kill, does not count. UserError names a damaged line.
    """
    return _read(run, task, log, lambda line: record_from_json(line, run))


def read_records(run: Path, task: str, keys: Collection[tuple[str, int]]) -> list[Record]:
    """The records with these (sample id, repeat), read like `read_run`; others take no memory."""

    def read_line(line: bytes) -> Record | None:
        head = read_head(line)
        return record_from_json(line, run) if (head.sample_id, head.repeat) in keys else None

    return _read(run, task, "records", read_line)


class RecordHead(Struct, frozen=True):
    """The sample id and the repeat of a record, which identify it within its task."""

    sample_id: str
    repeat: Count


def read_head(line: bytes) -> RecordHead:
    """The head of the record of a line: the rest is not made into anything."""
    return decode_strict(line, RecordHead)


class Outline(Struct, frozen=True):
    """A record without its response: enough for numbers and comparisons, read several times as fast."""

    sample_id: str
    repeat: Count
    item: str
    source_id: str
    scores: dict[str, Score]
    error: Failure | None
    usage: Usage = Usage()
    latency: Latency = Latency()
    groups: dict[str, str] = {}
    inputs: tuple[Modality, ...] = ()
    outputs: tuple[Modality, ...] = ()
    judged: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_scores(self.scores)

    @property
    def key(self) -> tuple[str, int]:
        """Sample id and repeat, which identify the record within its task."""
        return self.sample_id, self.repeat

    @property
    def failed(self) -> bool:
        """Whether the model failed."""
        return self.error is not None and self.error.of_model

    @property
    def skipped(self) -> bool:
        """Whether the user gave up on the sample, which a server failed."""
        return self.error is not None and not self.error.of_model


def read_outlines(run: Path, task: str, log: Log = "records") -> list[Outline]:
    """The records of one task without their responses, read like `read_run`."""
    return _read(run, task, log, read_outline)


def each_outline(run: Path, task: str, log: Log = "records") -> Iterator[Outline]:
    """All records of one task without their responses, one in memory at a time: also those that a later
    line replaces (`--retry-failed`, or a judge that came later), which were paid for, too."""
    return (line.record for line in each_line(run, task, log, read_outline))


def read_outline(line: bytes) -> Outline:
    """The record of a line without its response."""
    return decode_strict(line, Outline)


R = TypeVar("R", Record, Outline)


L = TypeVar("L")


def _read(run: Path, task: str, log: Log, read_line: Callable[[bytes], R | None]) -> list[R]:
    records: dict[tuple[str, int], R] = {}
    for line in each_line(run, task, log, read_line):
        if line.record is not None:
            records[line.record.sample_id, line.record.repeat] = line.record
    return list(records.values())


class Line(NamedTuple, Generic[L]):
    """A line of a log: where it begins, its length in bytes, and its record."""

    start: int
    length: int
    record: L


def each_line(run: Path, task: str, log: Log, read_line: Callable[[bytes], L]) -> Iterator[Line[L]]:
    """The lines of a log in order, each decoded by `read_line`. UserError names a damaged one.

    A last line without a newline, left by a kill, does not count.
    """
    path = own_file(run, records_path(run, task, log))
    start = 0
    for number, line in enumerate(file_lines(path) if path.exists() else (), start=1):
        if not line.endswith(b"\n"):
            break
        try:
            record = read_line(line[:-1])
        except ValueError as error:
            raise UserError(
                f"{path}:{number}: damaged record ({error}). Delete that line and run again: "
                "its sample is then evaluated again."
            ) from None
        yield Line(start, len(line), record)
        start += len(line)


class Run:
    """A run directory that this process has locked, open for records."""

    def __init__(self, path: Path, file: RunFile) -> None:
        self.path = path
        self.file = file
        self.store = MediaStore(path / "media")
        self._logs: dict[Path, AppendedFile] = {}

    def append(self, task: str, record: Record, log: Log = "records") -> None:
        """Adds one line to the task's log, whole or not at all. InfrastructureError if it cannot."""
        path = records_path(self.path, task, log)
        log_file = self._logs.setdefault(path, AppendedFile(path))
        log_file.append(record_to_json(record, self.path) + b"\n")

    def save(self, **changes: Any) -> None:
        """Writes run.json with some fields changed."""
        self.file = msgspec.structs.replace(self.file, **changes)
        write_atomically(self.path / "run.json", pretty_json(self.file), durable=True)

    def close(self) -> None:
        """Closes the files of records."""
        for log_file in self._logs.values():
            log_file.close()


@contextlib.contextmanager
def open_run(path: Path, make: Callable[[RunFile | None], RunFile]) -> Iterator[Run]:
    """A context with a run directory, new or old, which this process locks.

    `make` gets the run.json that is there (None for a new run) and returns the one to use;
    it raises UserError where the two do not agree.
    """
    path = path.resolve()
    if path.is_file():
        raise UserError(f"--out {path} is a file; it should be a directory")
    if path.is_dir() and not is_run(path) and not _is_fresh(path):
        raise UserError(f"--out {path} holds other files and no run.json: choose another directory")
    with locked(path / ".lock", f"{path} is in use by another process: wait, or choose --out"):
        run = Run(path, make(begun_run(path)))
        try:
            for folder in (path, run.store.root):
                clear_temporaries(folder)
            for task in run.file.tasks:
                cut_torn_line(records_path(path, task))
                cut_torn_line(records_path(path, task, "canaries"))
            run.save()
            yield run
        finally:
            run.close()


def _is_fresh(path: Path) -> bool:
    """Whether a folder is empty, or of a run that was killed before its first run.json was written."""
    return all(p.name == ".lock" or p.name.startswith(".run.json.") for p in path.iterdir())
