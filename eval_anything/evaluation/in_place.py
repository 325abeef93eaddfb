"""A run that is judged in place: `score --outputs RUN` scores what is on record, and asks no model."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import UNSET

from eval_anything.content import Response
from eval_anything.errors import EvalError, UserError
from eval_anything.evaluation.options import Options
from eval_anything.media import MediaStore
from eval_anything.models.base import Ending, Model, Request, TextModel
from eval_anything.models.spec import parse_spec
from eval_anything.runs.directory import RunFile, is_run, read_outlines, read_run_file
from eval_anything.tasks.task import Task


class _RecordedText(TextModel):
    """Its answers to tasks of other tools, which are finished."""

    scores = True

    async def go_on(
        self, requests: Sequence[Request], ending: Ending, store: MediaStore
    ) -> list[Response | EvalError]:
        raise UserError("a run is judged in place: its model is not asked")


class RecordedModel(Model):
    """The model of a run, as far as the run knows it; all of its answers are on record."""

    saved_answers = True

    def __init__(self, run: Path, file: RunFile) -> None:
        self._run = run
        self._file = file
        self.name = file.model
        self.spec = file.spec
        self.arguments = file.arguments
        self.paid_as = file.paid_as or None

    def weights(self) -> str:
        return self._file.weights

    def text(self) -> TextModel:
        return _RecordedText()

    def prepare(
        self, tasks: Sequence[Task], keys: Iterable[tuple[str, str, int]], task_names: Collection[str]
    ) -> None:
        """UserError for samples without an answer on record."""
        missing_tasks = [task.name for task in tasks if task.name not in self._file.tasks]
        if missing_tasks:
            there = ", ".join(self._file.tasks)
            raise UserError(f"{self._run} has no answers to {', '.join(missing_tasks)}: it has {there}")
        recorded = {task.name: {o.key for o in read_outlines(self._run, task.name)} for task in tasks}
        missing = [key for key in keys if key[1:] not in recorded[key[0]]]
        if self.arguments.get("only_answered"):
            self.left_out = frozenset(missing)
        elif missing:
            task, sample_id, _ = missing[0]
            command = shlex.join(self._file.command) or "the command that began it"
            raise UserError(
                f"{self._run} has no answer to {len(missing)} of the samples ({task}:{sample_id} is the "
                f"first), and only its model can give one. Go on with it: {command}"
            )

    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        raise UserError(f"{self._run} is judged in place: its model is not asked")


def in_place(options: Options, model: Model | None) -> tuple[Options, Model | None, RunFile | None]:
    """The options and the model of a run that is to be judged in place: where saved outputs are a run,
    and `out` is that run or left out. A copy that names no tasks has the tasks of the run, and the
    samples that it has answers to. Either has its settings of generation, those of the third value. Any
    other options and model are returned as they are."""
    run = _outputs(options.model) if model is None else None
    if run is None:
        return options, model, None
    file = read_run_file(run)
    if options.out is not None and Path(options.out).resolve() != run.resolve():
        if options.tasks or options.suite:
            return options, model, None
        _refuse_settings(options, run)
        return _copied(options, file), model, file
    _refuse_settings(options, run)
    if options.model_args and options.model_args != {"allow_missing": "1"}:
        raise UserError(f"--model-arg: the answers in {run} are there already")
    if file.shard is not UNSET:
        raise UserError(
            f"{run} is shard {file.shard.name} of a run: judge the whole run, once it is merged "
            "(eval-anything runs merge OUT SHARD...)"
        )
    if options.shard is not None:
        raise UserError(f"--shard {options.shard}: a run is judged in place as a whole")
    return as_recorded(options, run, file), RecordedModel(run, file), file


def as_recorded(options: Options, run: Path, file: RunFile) -> Options:
    """The options with the settings of a run, whose answers stay as they are."""
    changes = {
        "out": str(run),
        "seed": file.seed,
        "repeats": max(options.repeats, file.repeats),
        "tasks": options.tasks or ([] if options.suite else file.tasks),
        # A run keeps what it has: as many samples as there are answers, or those that have one.
        "limit": options.limit or (None if file.arguments.get("only_answered") else 1),
        "model_args": {},
    }
    return msgspec.structs.replace(options, **changes)


def _refuse_settings(options: Options, run: Path) -> None:
    """UserError for settings of generation, which the answers on record cannot have."""
    names = [*options.values(), *(n for n in ("preset", "sampling") if getattr(options, n) is not None)]
    if names:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in names)
        raise UserError(f"{flags}: the answers in {run} are there already: leave it out")


def _copied(options: Options, file: RunFile) -> Options:
    return msgspec.structs.replace(
        options,
        tasks=file.tasks,
        seed=file.seed,
        repeats=max(options.repeats, file.repeats),
        model_args={"only_answered": "1", **options.model_args},
    )


def _outputs(spec: str) -> Path | None:
    """The run that a SPEC names as saved outputs, if it does."""
    path, name, reference = parse_spec(spec)
    if path is None and name == "replay" and reference:
        path = Path(reference).expanduser()
    return path if path is not None and is_run(path) else None
