"""`eval-anything tasks`: list, show, validate, new. A whole suite is shown by `suites.py`."""

from __future__ import annotations

import re
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_anything import plugins
from eval_anything.cli.printing import show
from eval_anything.content import FromTurn, Part, Sample
from eval_anything.errors import Exit, UserError, near
from eval_anything.output.tables import table
from eval_anything.tasks.registry import Registry, count_samples, read_task_file
from eval_anything.tasks.task import Task, TaskFile, TaskFolder

if TYPE_CHECKING:
    from eval_anything.judges.registry import JudgeMetrics


def list_tasks(options: Namespace) -> Exit:
    """Prints a line for each task; a folder with mistakes is listed with the first of them."""
    if options.suite is not None and options.suite in plugins.names(plugins.TASK_SOURCES):
        from eval_anything.cli.external import list_names

        return list_names(options)
    registry = Registry(options.include)
    if options.suite is not None:
        registry.suite(options.suite)  # an unknown name is an error, with the near ones
    folders = [folder for _, folder in sorted(registry.folders.items())]
    rows = [_row(folder) for folder in folders if options.suite in (None, folder.suite)]
    if options.json:
        return show(options, rows)
    cells = [
        [
            row["name"],
            " ".join(row.get("inputs", ())),
            " ".join(row.get("outputs", ())),
            _count(row),
            " ".join(row.get("judges", ())),
            row.get("licence", row.get("error", "")),
        ]
        for row in rows
    ]
    suites = {s: registry.suite(s) for s in registry.suites if not any(f.suite == s for f in folders)}
    groups = {name: group for name in registry.groups if (group := registry.group(name)) is not None}
    return show(
        options,
        rows,
        table(["task", "in", "out", "n", "judges", "licence"], cells, right=(3,)),
        *(f"{name}: {', '.join(suite.tasks)}" for name, suite in (suites | groups).items()),
    )


def _full_name(name: str, registry: Registry) -> tuple[str, list[str]]:
    """The full name of a task whose bare name is given, and those of its namesakes in other suites. Of
    several, the one of `open`, where `run` looks for bare names of most models."""
    full = sorted(f for f in registry.folders if f.rpartition("/")[2] == name)
    if not full:
        return name, []
    chosen = f"open/{name}" if f"open/{name}" in full else full[0]
    return chosen, [name for name in full if name != chosen]


def _count(row: dict[str, Any]) -> str:
    """The number of samples; for a part of a data set that is not read, `of` the items of the whole."""
    n = row.get("n", "")
    return f"of {row['data']['items']}" if n is None else str(n)


def _row(folder: TaskFolder) -> dict[str, Any]:
    try:
        file = read_task_file(folder)
    except UserError as error:
        return {"name": folder.name, "suite": folder.suite, "error": str(error).splitlines()[0]}
    row: dict[str, Any] = {
        "name": folder.name,
        "suite": folder.suite,
        "inputs": file.inputs,
        "outputs": file.outputs,
        "n": count_samples(folder, file),
        "judges": _scored_by(file),
        "licence": file.licence,
    }
    if file.data is not None:
        row["data"] = {"name": file.data.name, "hub": file.data.hub, "items": file.data.items}
    return row


def _scored_by(file: TaskFile) -> list[str]:
    return [*file.judges, *([file.scorer] if file.scorer is not None else [])]


def show_task(options: Namespace) -> Exit:
    """Prints a task's description, its metrics and its first sample; or a suite's tasks."""
    prefix, slash, _ = options.name.partition("/")
    if slash and prefix in plugins.names(plugins.TASK_SOURCES):
        from eval_anything.cli.external import show_name

        return show_name(options)
    registry = Registry(options.include)
    suite = registry.suite(options.name) if options.name in registry.suites else None
    suite = suite or registry.group(options.name)
    if suite is not None:
        from eval_anything.cli.suites import show_suite

        return show_suite(suite, registry, options)
    options.name, namesakes = _full_name(options.name, registry)
    if options.name not in registry.folders:
        names = [*registry.folders, *registry.groups]
        names += [] if "/" in options.name else registry.suites
        raise UserError(f"unknown task {options.name!r}.{near(options.name, names)}")
    if options.reference:
        raise UserError("--reference is of suites: there are no published rows of single tasks")
    judges = _judges(options)
    folder = registry.folders[options.name]
    task, missing = _loaded(folder, judges, options.data)
    file = task.file if task is not None else read_task_file(folder)
    metrics = {name: file.metrics[name].description for name in file.metrics}
    for judge in file.judges:
        if judge in judges:
            metrics |= {name: metric.description for name, metric in judges[judge].items()}
    sample = task.samples[0] if task is not None else None
    document: dict[str, Any] = {
        **_row(folder),
        "title": file.title,
        "description": file.description,
        "version": file.version,
        "primary": file.primary,
        "metrics": metrics,
        "path": str(folder.path),
        "first_sample": None if sample is None else _shown_sample(sample),
    }
    if task is not None:
        document["n"] = len(task.samples)
        document["groups"] = _groups(task)
    size = f"some {_count(document)}" if document["n"] is None else _count(document)
    rows = [[n + (" (primary)" if n == file.primary else ""), text] for n, text in metrics.items()]
    counted = document.get("groups", {}).items()
    groups = [f"{key}: {', '.join(f'{v} {n}' for v, n in counts.items())}" for key, counts in counted]
    return show(
        options,
        document,
        f"{folder.name} (version {file.version}): {file.title}\n{file.description}\n",
        f"in: {', '.join(file.inputs)}; out: {', '.join(file.outputs)}; licence: {file.licence}",
        f"{size} samples, scored by {', '.join(_scored_by(file))}; {folder.path}",
        *([f"tasks of the same name: {', '.join(namesakes)}"] if namesakes else []),
        "",
        table(["metric", "what it is"], rows),
        "\n".join(["", *groups]),
        f"\n{missing}" if sample is None else _first(sample),
    )


def _groups(task: Task) -> dict[str, dict[str, int]]:
    """Numbers of samples by `group_by` key and group, the largest group first."""
    counters = {key: Counter[str]() for key in task.file.group_by}
    for sample in task.samples:
        for key, group in task.groups(sample).items():
            counters[key][group] += 1
    return {key: dict(counts.most_common()) for key, counts in counters.items()}


def _judges(options: Namespace) -> JudgeMetrics:
    """The metrics of the available judges."""
    from eval_anything.judges.folder import find_judges
    from eval_anything.judges.registry import JudgeMetrics

    return JudgeMetrics(find_judges(options.include))


def _loaded(
    folder: TaskFolder, judges: JudgeMetrics, sets: list[Path], decode: bool = False
) -> tuple[Task | None, str]:
    """The task and an empty text; or None and instructions, if its data set is not on this machine."""
    from eval_anything.tasks.datasets.find import MissingDataError
    from eval_anything.tasks.load import load_task

    try:
        return load_task(folder, judges, sets, decode), ""
    except MissingDataError as error:
        if sets:
            raise
        return None, str(error)


def _shown_sample(sample: Sample) -> dict[str, Any]:
    messages = [{"role": m.role, "parts": [_shown_part(p) for p in m.parts]} for m in sample.messages]
    turns = [{"fresh": t.fresh, "parts": [_shown_part(p) for p in t.parts]} for t in sample.turns]
    sample_turns = {"turns": turns} if turns else {}
    return {"id": sample.id, "messages": messages, **sample_turns, "contract": sample.contract}


def _first(sample: Sample) -> str:
    questions: list[tuple[str, Sequence[Part | FromTurn]]] = [(m.role, m.parts) for m in sample.messages]
    questions += [(f"turn {number}", turn.parts) for number, turn in enumerate(sample.turns, start=2)]
    lines = [f"\nfirst sample, {sample.id}:"]
    for speaker, parts in questions:
        for part in map(_shown_part, parts):
            lines.append(f"  {speaker}: {part.get('text') or '[' + part['path'] + ']'}")
    contract = sample.contract
    required, allowed = ", ".join(contract.required), ", ".join(contract.allowed)
    lines.append(f"  required: {required or 'nothing'}; allowed: {allowed or 'nothing else'}")
    return "\n".join(lines)


def _shown_part(part: Any) -> dict[str, str]:
    if hasattr(part, "text"):
        return {"modality": "text", "text": part.text}
    if isinstance(part, FromTurn):
        return {"modality": part.modality, "path": f"the {part.modality} of turn {part.turn}"}
    return {"modality": part.modality, "path": str(part.path)}


def validate_task(options: Namespace) -> Exit:
    """Reads a folder as a run would, also its media, without running its code; mistakes are listed by
    line. Without its data set, only the samples stay unchecked."""
    from eval_anything.tasks.load import folder_at

    folder = folder_at(options.path)
    task, missing = _loaded(folder, _judges(options), options.data, decode=True)
    samples = None if task is None else len(task.samples)
    summary = f"{folder.name}: {samples} samples, no mistakes found"
    if task is None:
        summary = f"{folder.name}: no mistakes found, but the samples could not be checked. {missing}"
    return show(options, {"task": folder.name, "samples": samples, "valid": True}, summary)


_TASK_YAML = """\
version: 1                      # raise it when numbers before and after must not be compared
title: {title}
description: What a high score means, in one line.
licence: CC0-1.0
inputs: [text]                  # modalities in the prompts: text, image, audio, video
outputs: [text, image]          # modalities that a good response may have
judges: [selection_contract]    # `eval-anything judges list` shows all
primary: selection              # the one metric that stands for this task
"""


_SAMPLES = (
    '{"id": "1", "messages": [{"role": "user", "parts": [{"modality": "text", "text": '
    '"Draw a lighthouse at night."}]}], "contract": {"required": ["image"], "allowed": ["text"]}}\n'
)


def new_task(options: Namespace) -> Exit:
    """Writes a small valid task, to be changed by hand."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*/[a-z0-9][a-z0-9_-]*", options.name):
        raise UserError(f"{options.name!r}: a task is named SUITE/TASK, small letters, digits, _ and -")
    folder: Path = options.dir / options.name
    if folder.exists():
        raise UserError(f"{folder} is there already: choose another name")
    folder.mkdir(parents=True)
    title = options.name.partition("/")[2].replace("_", " ")
    (folder / "task.yaml").write_text(_TASK_YAML.format(title=title), "utf-8")
    (folder / "samples.jsonl").write_text(_SAMPLES, "utf-8")
    (folder / "README.md").write_text(f"# {title}\n\nWhat it measures, how it was made.\n", "utf-8")
    return show(
        options,
        {"task": options.name, "path": str(folder)},
        f"made {folder}. Check it: eval-anything tasks validate {folder}",
        f"run it:  eval-anything run --model micro --tasks {options.name} --include {options.dir}",
    )
