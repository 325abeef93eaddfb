"""Reads a task folder whole, and names every mistake in it with its line and the mend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from eval_anything.content import Message, Modality, Sample, Turn
from eval_anything.errors import UserError, near
from eval_anything.files.code import check_code
from eval_anything.files.mistakes import FileProblemsError, Problem
from eval_anything.files.places import path_inside
from eval_anything.files.templates import compile_template, render_template
from eval_anything.files.yaml_files import line_of
from eval_anything.jsonl import json_message, sample_from_json
from eval_anything.judges.folder import JudgeFolder, find_judges, read_judge_file
from eval_anything.tasks.datasets.declaration import DataSet, mistakes_in
from eval_anything.tasks.registry import read_task_file
from eval_anything.tasks.task import SAMPLES, Task, TaskFile, TaskFolder

_MOST_PROBLEMS = 50


def load_task(
    folder: TaskFolder,
    judges: Mapping[str, JudgeFolder] | None = None,
    data: Sequence[Path] = (),
) -> Task:
    """The task with its samples, checked. FileProblemsError lists all mistakes that were found.

    `judges` are those in reach; the bundled ones if left out. `data` are folders of data sets beside
    the user's own; a task whose set is nowhere raises MissingDataError, unless it has other mistakes.
    No code of the folder is run.
    """
    file = read_task_file(folder)
    problems = _check_file(folder.path, file)
    problems += _check_judges(folder, file, judges if judges is not None else find_judges())
    if problems and file.data is not None:
        raise FileProblemsError(problems)
    samples = _read_samples(folder, file, data, problems)
    template = _read_template(folder.path, file, samples, problems)
    problems += _check_groups(folder.path, file, samples)
    if problems:
        raise FileProblemsError(problems)
    return Task(folder, file, tuple(samples), template)


def folder_at(path: Path) -> TaskFolder:
    """A task folder given by its path, as `tasks validate PATH` gets it."""
    if not path.is_dir():
        raise UserError(f"{path}: there is no such folder")
    if not (path / "task.yaml").is_file():
        raise UserError(f"{path}: no task.yaml in it; `eval-anything tasks new NAME` makes a folder")
    path = path.resolve()
    return TaskFolder(f"{path.parent.name}/{path.name}", path, trusted=False)


def _check_file(root: Path, file: TaskFile) -> list[Problem]:
    """What the types cannot say about task.yaml."""
    path = root / "task.yaml"

    def problem(message: str, *steps: str | int) -> Problem:
        return Problem(path, line_of(path, *steps), message)

    problems = []
    if not file.judges and file.scorer is None:
        problems.append(problem("nothing scores this task: add `judges:` or a `scorer:`"))
    if not file.outputs:
        problems.append(problem("outputs is empty: name the modalities of good responses", "outputs"))
    for key in ("scorer", "controls"):
        value = getattr(file, key)
        message = check_code(root, value) if value is not None else None
        if message is not None:
            problems.append(problem(f"{key}: {message}", key))
    if file.scorer is not None and not file.metrics:
        problems.append(problem("scorer needs `metrics:` that declare what it gives", "scorer"))
    if file.data is not None:
        problems += _check_data(root, file, file.data)
    if file.scorer is None and (file.metrics or file.controls):
        problems.append(problem("metrics and controls belong to a `scorer:`, and there is none"))
    return problems


def _check_data(root: Path, file: TaskFile, data: DataSet) -> list[Problem]:
    path = root / "task.yaml"
    problems = [
        Problem(path, line_of(path, "data", key), f"data.{key}: {message}")
        for key, message in mistakes_in(data)
    ]
    if file.samples != SAMPLES:
        message = "samples come from `data:` or from a file: keep one"
        problems.append(Problem(path, line_of(path, "samples"), message))
    try:
        template = _data_template(root, data)
        if not template.is_file():
            raise ValueError(f"{data.sample} does not exist in this folder")
    except ValueError as error:
        return [*problems, Problem(path, line_of(path, "data", "sample"), f"data.sample: {error}")]
    from eval_anything.tasks.datasets.samples import check_template

    return problems + check_template(template)


def _data_template(root: Path, data: DataSet) -> Path:
    """The tasks of a suite may share a template, so it may also lie in the suite's folder. ValueError
    for a path that leads further out."""
    return path_inside(root.parent, f"{root.name}/{data.sample}")


def _check_judges(
    folder: TaskFolder, file: TaskFile, judges: Mapping[str, JudgeFolder]
) -> list[Problem]:
    """Whether judges, metrics and primary of a task fit together."""
    path = folder.path / "task.yaml"
    problems = []
    given_by: dict[str, str] = {}
    declared = [(folder.name, file.metrics)]
    for i, name in enumerate(file.judges):
        if name in judges:
            declared.append((name, read_judge_file(judges[name]).metrics))
        else:
            hint = f"{near(name, judges)} `eval-anything judges list` shows all"
            line = line_of(path, "judges", i)
            problems.append(Problem(path, line, f"unknown judge {name!r}.{hint}"))
    for scorer, metrics in declared:
        for metric in metrics:
            if metric in given_by:
                both = f"{given_by[metric]} and {scorer}"
                message = f"metric {metric!r} is given by both {both}: rename one"
                problems.append(Problem(path, line_of(path, "judges"), message))
            given_by[metric] = scorer
    if file.primary not in given_by and not problems and given_by:
        message = f"primary {file.primary!r} is given by no judge.{near(file.primary, given_by)}"
        problems.append(Problem(path, line_of(path, "primary"), message))
    return problems


def _check_groups(root: Path, file: TaskFile, samples: list[Sample]) -> list[Problem]:
    """A misspelt key in group_by would show no groups, without a word."""
    path = root / "task.yaml"
    keys = {key for sample in samples for key in sample.metadata}
    return [
        Problem(
            path,
            line_of(path, "group_by", i),
            f"group_by: no sample has {key!r} in its metadata.{near(key, keys)}",
        )
        for i, key in enumerate(file.group_by)
        if samples and key not in keys
    ]


def _read_samples(
    folder: TaskFolder, file: TaskFile, data: Sequence[Path], problems: list[Problem]
) -> list[Sample]:
    if file.data is not None:
        from eval_anything.tasks.datasets.find import find_snapshot
        from eval_anything.tasks.datasets.samples import sample_lines

        snapshot = find_snapshot(folder.name, file.data, file.licence, data)
        lines, media = sample_lines(file.data, _data_template(folder.path, file.data), snapshot)
    else:
        lines, media = _lines(folder.path, file, problems), folder.path
    samples: list[Sample] = []
    places: dict[str, Problem] = {}
    for where, line in lines:
        try:
            sample = sample_from_json(line, media, file.contract)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            problems.append(_at(where, json_message(error)))
        except ValueError as error:
            problems.append(_at(where, str(error)))
        else:
            if sample.id in places:
                first = places[sample.id]
                place = f"on line {first.line}" if first.line else f"in {first.message.rstrip(': ')}"
                problems.append(_at(where, f"id {sample.id!r} is already {place}: rename it"))
            places.setdefault(sample.id, where)
            problems += [_at(where, message) for message in _disagreements(sample, file)]
            samples.append(sample)
        if len(problems) >= _MOST_PROBLEMS:
            problems.append(_at(where, "too many mistakes: the rest was not read"))
            return samples
    if not samples and not problems:
        problems.append(Problem(folder.path / file.samples, 0, "holds no samples: add a line for each"))
    return samples


def _lines(root: Path, file: TaskFile, problems: list[Problem]) -> list[tuple[Problem, bytes]]:
    """The lines of the task's own file that are not empty, each with where it stands."""
    try:
        path = path_inside(root, file.samples)
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        message = f"samples: {error if isinstance(error, ValueError) else file.samples + ' is missing'}"
        problems.append(Problem(root / "task.yaml", line_of(root / "task.yaml", "samples"), message))
        return []
    lines = enumerate(data.split(b"\n"), start=1)
    return [(Problem(path, number, ""), line) for number, line in lines if line.strip()]


def _at(where: Problem, message: str) -> Problem:
    return where._replace(message=where.message + message)


def _disagreements(sample: Sample, file: TaskFile) -> list[str]:
    """Where a sample says otherwise than task.yaml."""
    questions: tuple[Message | Turn, ...] = (*sample.messages, *sample.turns)
    given = {part.modality for question in questions for part in question.parts}
    extra_in = given - set(file.inputs)
    extra_out = {*sample.contract.required, *sample.contract.allowed} - set(file.outputs)
    messages = []
    if extra_in:
        names = ", ".join(m for m in Modality if m in extra_in)
        messages.append(f"has {names} in its messages: add it to `inputs` in task.yaml")
    if extra_out:
        names = ", ".join(m for m in Modality if m in extra_out)
        messages.append(f"its contract wants {names}: add it to `outputs` in task.yaml")
    if not any(message.parts for message in sample.messages):
        messages.append("its messages are empty")
    return messages


def _read_template(
    root: Path, file: TaskFile, samples: list[Sample], problems: list[Problem]
) -> str | None:
    if file.template is None:
        return None
    import jinja2

    where = Problem(root / "task.yaml", line_of(root / "task.yaml", "template"), "")
    try:
        path = path_inside(root, file.template)
        source = path.read_text("utf-8")
        compile_template(source)
    except jinja2.TemplateSyntaxError as error:
        problems.append(Problem(root / file.template, error.lineno, f"template: {error.message}"))
        return None
    except (OSError, ValueError) as error:
        message = str(error) if isinstance(error, ValueError) else f"{file.template} is missing"
        problems.append(where._replace(message=f"template: {message}"))
        return None
    for sample in samples:
        if sample.turns:
            message = "a template wraps one question, and this sample has turns: leave one of them out"
            problems.append(where._replace(message=f"template: sample {sample.id!r}: {message}"))
            return None
        try:
            render_template(source, text="", metadata=sample.metadata)
        except Exception as error:  # a template can do anything that an expression can
            message = f"template: {error}; a template knows `text` and `metadata`"
            problems.append(Problem(root / file.template, 0, f"sample {sample.id!r}: {message}"))
            return None
    return source
