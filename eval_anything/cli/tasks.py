"""`eval-anything tasks`: list, show, validate, new."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path
from typing import Any

from eval_anything.cli.output import print_json
from eval_anything.errors import Exit, UserError, near
from eval_anything.judges import find_judges
from eval_anything.table import table
from eval_anything.tasks.registry import Registry, count_samples, read_task_file
from eval_anything.tasks.task import TaskFile, TaskFolder


def list_tasks(options: Namespace) -> Exit:
    """One line a task; a folder with mistakes is listed with the first of them."""
    registry = Registry(options.include)
    if options.suite is not None:
        registry.suite(options.suite)  # an unknown name is an error, with the near ones
    rows = []
    for _, folder in sorted(registry.folders.items()):
        if options.suite in (None, folder.suite):
            rows.append(_row(folder))
    if options.json:
        print_json(rows)
        return Exit.DONE
    cells = [
        [
            row["name"],
            " ".join(row.get("inputs", ())),
            " ".join(row.get("outputs", ())),
            str(row.get("n", "")),
            " ".join(row.get("judges", ())),
            row.get("licence", row.get("error", "")),
        ]
        for row in rows
    ]
    print(table(["task", "in", "out", "n", "judges", "licence"], cells, right=(3,)))
    named = [s for s in registry.suites if not any(f.suite == s for f in registry.folders.values())]
    for name in named:
        print(f"{name}: {', '.join(registry.suite(name).tasks)}")
    return Exit.DONE


def _row(folder: TaskFolder) -> dict[str, Any]:
    try:
        file = read_task_file(folder)
    except UserError as error:
        return {"name": folder.name, "suite": folder.suite, "error": str(error).splitlines()[0]}
    return {
        "name": folder.name,
        "suite": folder.suite,
        "inputs": file.inputs,
        "outputs": file.outputs,
        "n": count_samples(folder, file),
        "judges": _scored_by(file),
        "licence": file.licence,
    }


def _scored_by(file: TaskFile) -> list[str]:
    return [*file.judges, *([file.scorer] if file.scorer is not None else [])]


def show_task(options: Namespace) -> Exit:
    """What a task is, its metrics, and its first sample."""
    from eval_anything.tasks.load import load_task

    registry = Registry(options.include)
    if options.name not in registry.folders:
        raise UserError(f"unknown task {options.name!r}.{near(options.name, registry.folders)}")
    judges = find_judges(options.include)
    task = load_task(registry.folders[options.name], judges)
    file = task.file
    metrics = {name: file.metrics[name].description for name in file.metrics}
    for judge in file.judges:
        if judge in judges:
            from eval_anything.judges import read_judge_file

            found = read_judge_file(judges[judge]).metrics
            metrics |= {name: found[name].description for name in found}
    sample = task.samples[0]
    shown = {
        **_row(task.folder),
        "title": file.title,
        "description": file.description,
        "version": file.version,
        "primary": file.primary,
        "metrics": metrics,
        "path": str(task.folder.path),
        "first_sample": {
            "id": sample.id,
            "messages": [
                {"role": m.role, "parts": [_shown_part(p) for p in m.parts]} for m in sample.messages
            ],
            "contract": sample.contract,
        },
    }
    if options.json:
        print_json(shown)
        return Exit.DONE
    print(f"{task.name} (version {file.version}): {file.title}\n{file.description}\n")
    print(f"in: {', '.join(file.inputs)}; out: {', '.join(file.outputs)}; licence: {file.licence}")
    print(f"{len(task.samples)} samples, scored by {', '.join(_scored_by(file))}; {task.folder.path}\n")
    rows = [[n + (" (primary)" if n == file.primary else ""), text] for n, text in metrics.items()]
    print(table(["metric", "what it is"], rows))
    print(f"\nfirst sample, {sample.id}:")
    for message in sample.messages:
        for part in message.parts:
            shown_part = _shown_part(part)
            print(f"  {message.role}: {shown_part.get('text') or '[' + shown_part['path'] + ']'}")
    contract = sample.contract
    print(f"  required: {', '.join(contract.required) or 'nothing'}", end="")
    print(f"; allowed: {', '.join(contract.allowed) or 'nothing else'}")
    return Exit.DONE


def _shown_part(part: Any) -> dict[str, str]:
    if hasattr(part, "text"):
        return {"modality": "text", "text": part.text}
    return {"modality": part.modality, "path": str(part.path)}


def validate_task(options: Namespace) -> Exit:
    """Reads a folder as a run would, without running code of it; mistakes are listed by line."""
    from eval_anything.tasks.load import folder_at, load_task

    task = load_task(folder_at(options.path), find_judges(options.include))
    if options.json:
        print_json({"task": task.name, "samples": len(task.samples), "valid": True})
    else:
        print(f"{task.name}: {len(task.samples)} samples, no mistakes found")
    return Exit.DONE


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
    """Writes a small task that is valid, to be changed by hand."""
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
    if options.json:
        print_json({"task": options.name, "path": str(folder)})
    else:
        print(f"made {folder}. Check it: eval-anything tasks validate {folder}")
        print(f"run it:  eval-anything run --model micro --tasks {options.name} --include {options.dir}")
    return Exit.DONE
