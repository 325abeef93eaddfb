"""A model that replays saved outputs: a JSONL file, a folder of files, or a run to judge again."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from eval_anything.content import Failure, MediaPart, Part, Response
from eval_anything.errors import UserError, near
from eval_anything.files.hashing import hash_files
from eval_anything.files.json_text import decode_json
from eval_anything.files.mistakes import Mistakes, Problem
from eval_anything.files.places import path_inside
from eval_anything.jsonl import ReplayRow, parts_from_json, read_lines
from eval_anything.media import MediaError, MediaStore
from eval_anything.models.base import Model, Request, typed_arguments
from eval_anything.models.replay.folder import read_folder
from eval_anything.runs.directory import is_run, read_run, read_run_file
from eval_anything.tasks.task import Task

_MOST_PROBLEMS = 20


class _Key(NamedTuple):
    task: str
    sample_id: str
    repeat: int


class ReplayModel(Model):
    """Answers with saved outputs.

    Args:
        spec: the SPEC as the user wrote it.
        path: a JSONL file, a folder of files, or a run.
        arguments: `--model-arg` values; `allow_missing=1` lets missing ids score the floor.
    """

    batch_size = 64

    def __init__(self, spec: str, path: Path, arguments: Mapping[str, str]) -> None:
        self.spec = spec
        self.path = path
        self.name = f"replay-{path.resolve().name if path.is_dir() else path.resolve().stem}"
        self.arguments = typed_arguments(arguments, {"allow_missing": 0}, "a replay")
        self._responses: dict[_Key, Response] = {}
        self._digest = hashlib.sha256()

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether the path is a JSONL file or a run; a folder of files needs replay/DIR."""
        return path.suffix == ".jsonl" or is_run(path)

    @classmethod
    def from_spec(cls, spec: str, reference: str | Path, arguments: Mapping[str, str]) -> ReplayModel:
        path = Path(reference).expanduser()
        if not str(reference) or not path.exists():
            raise UserError(f"--model {spec}: there is no such file, folder or run: {path}")
        return cls(spec, path, arguments)

    def prepare(
        self, tasks: Sequence[Task], keys: Iterable[tuple[str, str, int]], task_names: Collection[str]
    ) -> None:
        """Reads the saved outputs. UserError for mistakes in them and for missing samples."""
        requested = [_Key(*key) for key in keys]
        if is_run(self.path):
            self._read_run()
        elif self.path.is_file():
            self._read_file({task.name: task for task in tasks}, task_names)
        elif self.path.is_dir():
            self._read_folder({task.name: task for task in tasks}, task_names)
        else:
            raise UserError(f"{self.path} is neither a JSONL file, nor a folder, nor a run")
        missing = [key for key in requested if key not in self._responses]
        if missing and not self.arguments["allow_missing"]:
            examples = ", ".join(f"{key.task} {key.sample_id}" for key in missing[:5])
            raise UserError(
                f"{self.path} has no output for {len(missing)} of {len(requested)} samples ({examples}"
                f"{' ...' if len(missing) > 5 else ''}). Add them, or let them score the floor "
                "with --allow-missing."
            )

    def weights(self) -> str:
        """sha256 of all saved outputs with their media; only known after `prepare`."""
        return self._digest.hexdigest()

    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        return [self._answer(request, store) for request in requests]

    def _answer(self, request: Request, store: MediaStore) -> Response:
        saved = self._responses.get(_Key(request.task, request.sample_id, request.repeat))
        if saved is None:
            return Response(error=Failure("missing_output", "the saved outputs lack this sample"))
        if request.turn < len(saved.turns):
            return Response(stored(saved.turns[request.turn], store))
        return msgspec.structs.replace(saved, parts=stored(saved.parts, store))

    def _read_run(self) -> None:
        for task in read_run_file(self.path).tasks:
            for record in read_run(self.path, task):
                self._digest.update(msgspec.json.encode([record.sample_id, record.repeat, record.item]))
                for part in (p for parts in (*record.turns, record.parts) for p in parts):
                    self._digest.update(part.key.encode())
                self._responses[_Key(task, record.sample_id, record.repeat)] = Response(
                    record.parts,
                    record.order_known,
                    record.stop_reason,
                    record.usage,
                    record.latency,
                    record.error,
                    record.details,
                    record.turns,
                )

    def _read_file(self, tasks: Mapping[str, Task], task_names: Collection[str]) -> None:
        mistakes = Mistakes(self.path)
        lines: dict[_Key, int] = {}

        def parse(line: bytes, _: int) -> tuple[_Key, Response] | None:
            row: ReplayRow = decode_json(line, ReplayRow)
            self._digest_row(line, row)
            if row.task is None and len(tasks) > 1:
                raise ValueError('several tasks are scored: the row must name its own, "task": "..."')
            return self._read_row(row, self.path.parent, tasks, task_names)

        for number, parsed in read_lines(self.path.read_bytes(), mistakes, parse, str):
            if parsed is None:
                continue
            key, response = parsed
            if key in lines:
                message = f"{key.task} {key.sample_id} is already on line {lines[key]}: keep one"
                mistakes.add_line(number, message)
            lines[key] = number
            self._responses[key] = response
        mistakes.check()

    def _read_folder(self, tasks: Mapping[str, Task], task_names: Collection[str]) -> None:
        mistakes = Mistakes(self.path)
        paths: dict[_Key, Path] = {}
        for path, row, order_known, files in read_folder(self.path, mistakes):
            try:
                for file in files:
                    self._digest.update(os.fsencode(file.relative_to(self.path)) + b"\0")
                    self._digest.update(hash_files([file]).encode())
                if row.task is None and len(tasks) > 1:
                    raise ValueError("several tasks are scored: it belongs into <suite>/<task>/")
                parsed = self._read_row(row, self.path, tasks, task_names)
            except OSError as error:
                mistakes.append(Problem(path, 0, f"cannot be read: {error.strerror}"))
                continue
            except ValueError as error:
                mistakes.append(Problem(path, 0, str(error)))
                continue
            if parsed is None:
                continue
            key, response = parsed
            if key in paths:
                mistakes.append(Problem(path, 0, f"{paths[key]} answers the same sample: keep one"))
            paths[key] = path
            self._responses[key] = msgspec.structs.replace(response, order_known=order_known)
        mistakes.check(_MOST_PROBLEMS)

    def _read_row(
        self, row: ReplayRow, root: Path, tasks: Mapping[str, Task], task_names: Collection[str]
    ) -> tuple[_Key, Response] | None:
        """The key and response of one row; None if its task is not part of the run.

        Media are in `root`. Raises ValueError for a mistake in the row.
        """
        name = row.task if row.task is not None else next(iter(tasks))
        full_names = {full.rpartition("/")[2]: full for full in tasks}
        name = full_names.get(name, name)
        if name not in tasks:
            if name in task_names:
                return None
            raise ValueError(f"unknown task {name!r}.{near(name, task_names)}")
        if row.sample_id not in tasks[name].by_id:
            hint = near(row.sample_id, tasks[name].by_id)
            raise ValueError(f"{name} has no sample {row.sample_id!r}.{hint}")
        key = _Key(name, row.sample_id, row.repeat)
        before = len(tasks[name].by_id[row.sample_id].turns)
        if len(row.turns) != before:
            expected = f"the parts of the first {before} in `turns`" if before else "no `turns`"
            raise ValueError(
                f"{name} {row.sample_id} has {before + 1} turns: it needs {expected}, "
                f"not {len(row.turns)}"
            )
        try:
            *turns, parts = (parts_from_json(answer, root) for answer in (*row.turns, row.parts))
        except MediaError as error:
            if "does not exist" in str(error):
                raise
            # a broken medium is an output of the model: it is recorded, and scores the floor
            return key, Response(error=Failure("invalid_output", str(error)))
        return key, Response(parts, stop_reason="stop", turns=tuple(turns))

    def _digest_row(self, line: bytes, row: ReplayRow) -> None:
        """Adds a row to the digest, part of the run or not: a run may resume with more of its tasks."""
        self._digest.update(line)
        for part in (p for parts in (*row.turns, row.parts) for p in parts):
            if part.path is not None:
                with contextlib.suppress(OSError, ValueError):
                    medium = path_inside(self.path.resolve().parent, part.path)
                    self._digest.update(hashlib.sha256(medium.read_bytes()).digest())


def stored(parts: Sequence[Part], store: MediaStore) -> tuple[Part, ...]:
    """The parts, with copies of their media in the store."""
    return tuple(
        store.put(_bytes(part.path), part.modality) if isinstance(part, MediaPart) else part
        for part in parts
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: a medium of the saved outputs cannot be read: {error.strerror}"
        ) from None
