"""Reads a whole task folder, and reports every mistake in it with its line and how to fix it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from eval_anything.content import FromTurn, MediaPart, Message, Metric, Modality, Part, Sample, Turn
from eval_anything.errors import near
from eval_anything.files.code import check_code
from eval_anything.files.mistakes import Mistakes, Problem
from eval_anything.files.places import folder_holding, path_inside
from eval_anything.files.templates import Template, TemplateError, read_template
from eval_anything.files.yaml_files import load_yaml
from eval_anything.jsonl import Example, json_message, numbered_lines, sample_from_json
from eval_anything.tasks.datasets.declaration import DataSet, mistakes_in
from eval_anything.tasks.few_shot import read_examples
from eval_anything.tasks.samples import Samples, StoredSamples
from eval_anything.tasks.task import SAMPLES, Task, TaskFile, TaskFolder

_MOST_PROBLEMS = 50


def load_task(
    folder: TaskFolder,
    judges: Mapping[str, Mapping[str, Metric]] | None = None,
    data: Sequence[Path] = (),
    decode: bool = False,
) -> Task:
    """The task with its samples, checked. No code of the folder is run.

    Args:
        folder: folder of the task.
        judges: metrics of the available judges by the judge's name; without them the task's judges are
            not checked.
        data: folders of data sets to search before the user's own (`--data`).
        decode: whether all media are decoded, too, as a run would.

    Raises:
        FileProblemsError: lists all mistakes in the folder.
        MissingDataError: the task's data set is not on this machine, and there are no mistakes else.
    """
    file, mistakes = load_yaml(folder.path / "task.yaml", TaskFile)
    _check_file(folder.path, file, mistakes)
    if judges is not None:
        _check_judges(folder, file, judges, mistakes)
    if file.data is not None:
        mistakes.check()
    samples = _read_samples(folder, file, data, mistakes, decode)
    template = _read_template(folder.path, file, samples, mistakes)
    _check_groups(file, samples, mistakes)
    examples: tuple[Example, ...] = ()
    if file.few_shot is not None:
        examples = read_examples(folder.path, folder.name, file.few_shot, samples, mistakes)
        _check_examples(template, folder, examples, mistakes)
    mistakes.check()
    return Task(folder, file, samples, template, examples)


def folder_at(path: Path) -> TaskFolder:
    """The task folder at a path; it is not trusted. UserError if there is no task.yaml in it."""
    path = folder_holding(path, "task.yaml", "`eval-anything tasks new NAME` makes a folder")
    return TaskFolder(f"{path.parent.name}/{path.name}", path, trusted=False)


def _check_file(root: Path, file: TaskFile, mistakes: Mistakes) -> None:
    """Checks task.yaml for mistakes that the types cannot express."""
    if not file.judges and file.scorer is None:
        mistakes.add("nothing scores this task: add `judges:` or a `scorer:`")
    if not file.outputs:
        mistakes.add("outputs is empty: name the modalities of good responses", "outputs")
    for key in ("scorer", "controls"):
        reference = getattr(file, key)
        message = check_code(root, reference) if reference is not None else None
        if message is not None:
            mistakes.add(f"{key}: {message}", key)
    if file.scorer is not None and not file.metrics:
        mistakes.add("scorer needs `metrics:` that declare what it gives", "scorer")
    if file.data is not None:
        _check_data(root, file, file.data, mistakes)
    if file.scorer is None and (file.metrics or file.controls):
        mistakes.add("metrics and controls belong to a `scorer:`, and there is none")


def _check_data(root: Path, file: TaskFile, dataset: DataSet, mistakes: Mistakes) -> None:
    for key, message in mistakes_in(dataset):
        mistakes.add(f"data.{key}: {message}", "data", key)
    if file.samples != SAMPLES:
        mistakes.add("samples come from `data:` or from a file: keep one", "samples")
    try:
        template = _data_template(root, dataset)
        if not template.is_file():
            raise ValueError(f"{dataset.sample} does not exist in this folder")
    except ValueError as error:
        mistakes.add(f"data.sample: {error}", "data", "sample")
        return
    from eval_anything.tasks.datasets.samples import check_template

    check_template(template, mistakes)


def _data_template(root: Path, dataset: DataSet) -> Path:
    """The path of the template for samples: in the task's folder, or in the suite's, where tasks may
    share one. ValueError for a path that leads further out."""
    return path_inside(root.parent, f"{root.name}/{dataset.sample}")


def _check_judges(
    folder: TaskFolder,
    file: TaskFile,
    judges: Mapping[str, Mapping[str, Metric]],
    mistakes: Mistakes,
) -> None:
    """Checks whether judges, metrics and primary of a task fit together."""
    agree = True
    given_by: dict[str, str] = {}
    declared: list[tuple[str, Mapping[str, Metric]]] = [(folder.name, file.metrics)]
    for i, name in enumerate(file.judges):
        if name in judges:
            declared.append((name, judges[name]))
        else:
            hint = f"{near(name, judges)} `eval-anything judges list` shows all"
            mistakes.add(f"unknown judge {name!r}.{hint}", "judges", i)
            agree = False
    for scorer, metrics in declared:
        for metric in metrics:
            if metric in given_by:
                owners = f"{given_by[metric]} and {scorer}"
                mistakes.add(f"metric {metric!r} is given by both {owners}: rename one", "judges")
                agree = False
            given_by[metric] = scorer
    if file.primary not in given_by and agree and given_by:
        hint = near(file.primary, given_by)
        mistakes.add(f"primary {file.primary!r} is given by no judge.{hint}", "primary")


def _check_groups(file: TaskFile, samples: Samples, mistakes: Mistakes) -> None:
    """Checks the keys in group_by: a misspelt one would yield no groups without any message."""
    keys = {key for sample in samples for key in sample.metadata} if file.group_by else set()
    for i, key in enumerate(file.group_by):
        if samples and key not in keys:
            hint = near(key, keys)
            mistakes.add(f"group_by: no sample has {key!r} in its metadata.{hint}", "group_by", i)


def _read_samples(
    folder: TaskFolder, file: TaskFile, data: Sequence[Path], mistakes: Mistakes, decode: bool
) -> StoredSamples:
    lines: Iterable[tuple[Problem, bytes]]
    if file.data is not None:
        from eval_anything.tasks.datasets.find import find_snapshot
        from eval_anything.tasks.datasets.samples import sample_lines

        snapshot = find_snapshot(folder.name, file.data, file.licence, data)
        lines, media = sample_lines(file.data, _data_template(folder.path, file.data), snapshot)
    else:
        lines, media = _lines(folder.path, file, mistakes), folder.path
    samples = StoredSamples()
    media_places: dict[MediaPart, Problem] = {}
    positions: list[int | str] = []
    for where, line in lines:
        try:
            sample = sample_from_json(line, media, file.contract)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            mistakes.append(where.extended(json_message(error)))
        except ValueError as error:
            mistakes.append(where.extended(str(error)))
        else:
            if sample.id in samples.numbers:
                first = positions[samples.numbers[sample.id]]
                position = f"in {first}" if isinstance(first, str) else f"on line {first}"
                mistakes.append(where.extended(f"id {sample.id!r} is already {position}: rename it"))
            positions.append(where.line or where.message.rstrip(": "))
            mistakes.extend(map(where.extended, _disagreements(sample, file)))
            samples.add(sample)
            for part in _question_parts(sample) if decode else ():
                if isinstance(part, MediaPart):
                    media_places.setdefault(part, where)
        if len(mistakes) >= _MOST_PROBLEMS:
            mistakes.append(where.extended("too many mistakes: the rest was not read"))
            return samples
    if decode:
        _decode_all(media_places, mistakes)
    if not samples and not mistakes:
        mistakes.append(Problem(folder.path / file.samples, 0, "holds no samples: add a line for each"))
    return samples


def _decode_all(media_places: Mapping[MediaPart, Problem], mistakes: Mistakes) -> None:
    """Adds the media that do not decode, each with the place of its first sample."""
    from concurrent.futures import ThreadPoolExecutor

    from eval_anything.media import MediaError, check_decodes

    def fault(part: MediaPart) -> str | None:
        try:
            check_decodes(part)
        except MediaError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for where, message in zip(media_places.values(), threads.map(fault, media_places), strict=True):
            if message is not None and len(mistakes) < _MOST_PROBLEMS:
                mistakes.append(where.extended(message))


def _lines(root: Path, file: TaskFile, mistakes: Mistakes) -> Iterator[tuple[Problem, bytes]]:
    """The lines of the task's own file that are not empty, each with its file and line."""
    try:
        path = path_inside(root, file.samples)
    except ValueError as error:
        mistakes.add(f"samples: {error}", "samples")
        return
    if not path.exists():
        mistakes.add(f"samples: {file.samples} is missing", "samples")
        return
    reading = Mistakes(path)
    for number, line in numbered_lines(path, reading):
        yield Problem(path, number, ""), line
    mistakes.extend(reading)


def _question_parts(sample: Sample) -> list[Part | FromTurn]:
    """The parts of all messages and turns of a sample."""
    questions: tuple[Message | Turn, ...] = (*sample.messages, *sample.turns)
    return [part for question in questions for part in question.parts]


def _disagreements(sample: Sample, file: TaskFile) -> list[str]:
    """Contradictions between a sample and task.yaml, as messages."""
    modalities = {part.modality for part in _question_parts(sample)}
    extra_in = modalities - set(file.inputs)
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


def _check_examples(
    template: str | None, folder: TaskFolder, examples: Sequence[Example], mistakes: Mistakes
) -> None:
    """Checks that the template renders the questions of examples, too."""
    if template is None:
        return
    for example in examples:
        try:
            Template(template, folder.trusted).render(text="", metadata=example.metadata)
        except TemplateError as error:
            message = f"few_shot: example {example.id!r}: template: {error}"
            mistakes.add(message, "few_shot", "file")
            return


def _read_template(root: Path, file: TaskFile, samples: Samples, mistakes: Mistakes) -> str | None:
    if file.template is None:
        return None
    try:
        if not path_inside(root, file.template).is_file():
            raise ValueError(f"{file.template} is missing")
    except ValueError as error:
        mistakes.add(f"template: {error}", "template")
        return None
    template = read_template(root / file.template, mistakes)
    if template is None:
        return None
    for sample in samples:
        if sample.turns:
            message = "a template wraps one question, and this sample has turns: leave one of them out"
            mistakes.add(f"template: sample {sample.id!r}: {message}", "template")
            return None
        try:
            template.render(text="", metadata=sample.metadata)
        except TemplateError as error:
            message = f"template: {error}; a template knows `text` and `metadata`"
            mistakes.append(Problem(root / file.template, 0, f"sample {sample.id!r}: {message}"))
            return None
    return template.source
