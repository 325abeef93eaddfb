"""A model that replays saved outputs: a file, a folder of files, or a run to judge again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from eval_anything.content import Failure, MediaPart, Part, Response
from eval_anything.errors import UserError, near
from eval_anything.files.hashing import hash_files
from eval_anything.files.mistakes import Problem
from eval_anything.files.places import path_inside
from eval_anything.files.spool import Spool
from eval_anything.jsonl import PartJson, parts_from_json
from eval_anything.media import MediaError, MediaStore, medium_bytes
from eval_anything.models.base import Model, Request, typed_arguments
from eval_anything.models.replay.answers import SUFFIXES, read_answers
from eval_anything.models.replay.folder import read_folder
from eval_anything.models.replay.mistakes import AnswerError, FoldedMistakes
from eval_anything.runs.directory import is_run, read_run, read_run_file
from eval_anything.tasks.prompts import ANSWERS, PROMPTS
from eval_anything.tasks.task import Task


class _Key(NamedTuple):
    task: str
    sample_id: str
    repeat: int


class _Responses:
    """Responses in a temporary file."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, int], dict[str, int]] = {}
        self._spool = Spool()

    def add(self, key: _Key, response: Response) -> None:
        """Adds the response to a request, which has none yet or gets this one instead."""
        numbers = self._numbers.setdefault((key.task, key.repeat), {})
        numbers[key.sample_id] = self._spool.append(pickle.dumps(response, pickle.HIGHEST_PROTOCOL))

    def __contains__(self, key: _Key) -> bool:
        return key.sample_id in self._numbers.get((key.task, key.repeat), ())

    def __len__(self) -> int:
        return len(self._spool)

    def number(self, key: _Key) -> int:
        """The number of the response to a request, from 0, in the order in which they were added."""
        return self._numbers[key.task, key.repeat][key.sample_id]

    def get(self, key: _Key) -> Response | None:
        """The response to a request, None if there is none."""
        if key not in self:
            return None
        response: Response = pickle.loads(self._spool[self.number(key)])
        return response


class ReplayModel(Model):
    """Answers with saved outputs.

    Args:
        spec: the SPEC as the user wrote it.
        path: a file of answers (`replay/answers.py`), a folder of files, or a run.
        arguments: `--model-arg` values; `allow_missing=1` lets missing ids score the floor, and
            `only_answered=1` leaves them out of the run.
    """

    batch_size = 64
    generation_settings = frozenset[str]()
    saved_answers = True

    def __init__(self, spec: str, path: Path, arguments: Mapping[str, str]) -> None:
        self.spec = spec
        self.path = path
        self.folder = f"replay-{path.resolve().name if path.is_dir() else path.resolve().stem}"
        self.name = read_run_file(path).model if is_run(path) else self.folder
        values = typed_arguments(arguments, {"allow_missing": 0, "only_answered": 0}, "a replay")
        if values["allow_missing"] and values["only_answered"]:
            raise UserError("--allow-missing and --only-answered contradict each other: keep one")
        if not values["only_answered"]:
            del values["only_answered"]  # runs of older versions do not have it
        self.arguments = values
        self._responses = _Responses()
        self._other_tasks: set[str] = set()  # that outputs are for, and that are not scored
        self._digest = hashlib.sha256()

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether the path is a file of answers or a run; a folder of files needs replay/DIR."""
        return path.suffix.lower() in SUFFIXES or is_run(path)

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
        if is_run(self.path):
            self._read_run({task.name: task for task in tasks})
        elif self.path.is_file():
            self._read_file({task.name: task for task in tasks}, task_names)
        elif self.path.is_dir():
            if (self.path / PROMPTS).is_file() and (self.path / ANSWERS).is_file():
                raise UserError(f"{self.path} holds exported prompts: score {self.path / ANSWERS}")
            self._read_folder({task.name: task for task in tasks}, task_names)
        else:
            raise UserError(f"{self.path} is neither a file, nor a folder, nor a run")
        missing: list[_Key] = []
        requested: Counter[str] = Counter()
        for key in map(_Key._make, keys):
            requested[key.task] += 1
            if key not in self._responses:
                missing.append(key)
        if self.arguments.get("only_answered"):
            self._leave_out(missing, requested)
        elif missing and not self.arguments["allow_missing"]:
            examples = ", ".join(f"{key.task} {key.sample_id}" for key in missing[:5])
            examples += " ..." if len(missing) > 5 else ""
            raise UserError(
                f"{self.path} has no output for {len(missing)} of {requested.total()} samples "
                f"({examples}).{self._elsewhere()} Add them, let them score the floor with "
                "--allow-missing, or score the others alone with --only-answered."
            )

    def _elsewhere(self) -> str:
        """A hint where the outputs are all of tasks that are not scored."""
        if len(self._responses) or not self._other_tasks:
            return ""
        return f" It has outputs for {', '.join(sorted(self._other_tasks))}: name that in --tasks."

    def _leave_out(self, missing: Sequence[_Key], requested: Mapping[str, int]) -> None:
        """Leaves samples without an output out of the run. UserError if a task has no other.
        `requested` is the number of answers of each task."""
        self.left_out = frozenset(missing)
        lacking = Counter(key.task for key in missing)
        empty = {task for task, count in requested.items() if lacking[task] == count}
        if empty:
            raise UserError(
                f"{self.path} has no output for any sample of {', '.join(sorted(empty))}: leave that "
                "out of --tasks"
            )

    def weights(self) -> str:
        """sha256 of all saved outputs with their media; only known after `prepare`."""
        return self._digest.hexdigest()

    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        return [self._answer(request, store) for request in requests]

    async def close(self) -> None:
        self._responses = _Responses()  # results need the memory

    def _answer(self, request: Request, store: MediaStore) -> Response:
        saved = self._responses.get(_Key(request.task, request.sample_id, request.repeat))
        if saved is None:
            return Response(error=Failure("missing_output", "the saved outputs lack this sample"))
        if request.turn < len(saved.turns):
            return Response(stored(saved.turns[request.turn], store))
        return msgspec.structs.replace(saved, parts=stored(saved.parts, store))

    def _read_run(self, tasks: Mapping[str, Task]) -> None:
        for task in read_run_file(self.path).tasks:
            for record in read_run(self.path, task):
                self._digest.update(msgspec.json.encode([record.sample_id, record.repeat, record.item]))
                for part in (p for parts in (*record.turns, record.parts) for p in parts):
                    self._digest.update(part.key.encode())
                if task in tasks and record.sample_id in tasks[task].samples.numbers:
                    response = Response(
                        record.parts,
                        record.order_known,
                        record.stop_reason,
                        record.usage,
                        record.latency,
                        record.error,
                        record.details,
                        record.turns,
                    )
                    self._responses.add(_Key(task, record.sample_id, record.repeat), response)

    def _read_file(self, tasks: Mapping[str, Task], task_names: Collection[str]) -> None:
        mistakes = FoldedMistakes()
        positions: list[str] = []
        root = self.path.parent
        for saved in read_answers(self.path, mistakes):
            row, answer = saved.row, saved.row.answer
            self._digest.update(saved.content)
            self._digest_media([*row.earlier, answer or []])
            try:
                if row.task is None and len(tasks) > 1:
                    raise AnswerError(
                        'several tasks are scored: the row must name its own, "task": "..."', "no task"
                    )
                key = self._key(row.task, row.key, row.repeat or 0, tasks, task_names)
                if key is None or answer is None:
                    continue
                if key in self._responses:
                    position = positions[self._responses.number(key)]
                    message = f"{key.task} {key.sample_id} is already on {position}: keep one"
                    raise AnswerError(message, "taken")
                self._responses.add(key, _response(answer, row.earlier, tasks[key.task], key, root))
                positions.append(saved.position)
            except ValueError as error:
                mistakes.add(saved.where.extended(str(error)), saved.position, error)
                if mistakes.enough:
                    break
        mistakes.check()

    def _read_folder(self, tasks: Mapping[str, Task], task_names: Collection[str]) -> None:
        mistakes = FoldedMistakes()
        paths: dict[_Key, Path] = {}

        def note(problem: Problem, error: ValueError | None = None) -> None:
            mistakes.add(problem, problem.file.name, error)

        for path, row, order_known, files in read_folder(self.path, note):
            try:
                for file in files:
                    self._digest.update(os.fsencode(file.relative_to(self.path)) + b"\0")
                    self._digest.update(hash_files([file]).encode())
                if row.task is None and len(tasks) > 1:
                    raise AnswerError(
                        "several tasks are scored: it belongs into <suite>/<task>/", "no task"
                    )
                key = self._key(row.task, row.sample_id, row.repeat, tasks, task_names)
                if key is None:
                    continue
                if key in paths:
                    raise AnswerError(f"{paths[key]} answers the same sample: keep one", "taken")
                response = _response(row.parts, row.turns, tasks[key.task], key, self.path)
                self._responses.add(key, msgspec.structs.replace(response, order_known=order_known))
                paths[key] = path
            except OSError as error:
                note(Problem(path, 0, f"cannot be read: {error.strerror}"))
            except ValueError as error:
                note(Problem(path, 0, str(error)), error)
        mistakes.check()

    def _key(
        self,
        task: str | None,
        sample_id: str,
        repeat: int,
        tasks: Mapping[str, Task],
        task_names: Collection[str],
    ) -> _Key | None:
        """The key of an answer; None if its task is not in the run. AnswerError for unknown names."""
        name = next(iter(tasks)) if task is None else task
        if name not in tasks:
            name = {full.rpartition("/")[2]: full for full in tasks}.get(name, name)
        if name not in tasks:
            if name in task_names:
                self._other_tasks.add(name)
                return None
            raise AnswerError(f"unknown task {name!r}.", f"task {name}", lambda: near(name, task_names))
        ids = tasks[name].samples.numbers
        if sample_id not in ids:
            message = f"{name} has no sample {sample_id!r}."
            raise AnswerError(message, f"sample of {name}", lambda: near(sample_id, ids))
        return _Key(name, sample_id, repeat)

    def _digest_media(self, answers: Sequence[Sequence[PartJson]]) -> None:
        """Adds the media of a row to the digest, part of the run or not: a run may resume with more of
        its tasks."""
        for part in (p for parts in answers for p in parts):
            if part.path is not None:
                with contextlib.suppress(OSError, ValueError):
                    medium = path_inside(self.path.resolve().parent, part.path)
                    self._digest.update(hashlib.sha256(medium_bytes(medium)).digest())


def _response(
    parts: Sequence[PartJson], turns: Sequence[Sequence[PartJson]], task: Task, key: _Key, root: Path
) -> Response:
    """The response of these parts, with media in `root`. ValueError for a mistake in them."""
    before = len(task.by_id[key.sample_id].turns)
    if len(turns) != before:
        expected = f"the parts of the first {before} in `turns`" if before else "no `turns`"
        raise AnswerError(
            f"{key.task} {key.sample_id} has {before + 1} turns: it needs {expected}, not {len(turns)}",
            f"turns {before} {len(turns)}",
        )
    try:
        *earlier, last = (parts_from_json(answer, root) for answer in (*turns, parts))
    except MediaError as error:
        if "does not exist" in str(error):
            raise
        # a broken medium is an output of the model: it is recorded, and scores the floor
        return Response(error=Failure("invalid_output", str(error)))
    return Response(last, stop_reason="stop", turns=tuple(earlier))


def stored(parts: Sequence[Part], store: MediaStore) -> tuple[Part, ...]:
    """The parts, with copies of their media in the store."""
    return tuple(
        store.put(_bytes(part.path), part.modality) if isinstance(part, MediaPart) else part
        for part in parts
    )


def _bytes(path: Path) -> bytes:
    try:
        return medium_bytes(path)
    except OSError as error:
        raise UserError(
            f"{path}: a medium of the saved outputs cannot be read: {error.strerror}"
        ) from None
