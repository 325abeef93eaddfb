"""Judges as folders: judge.yaml, and the code or template that its kind needs.

A judge is `judges/<name>/judge.yaml`; `--include DIR` adds a folder of judges, or one. The code of
each kind is in `eval_anything/scorers/<kind>.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from eval_anything.bundled import content_folder
from eval_anything.content import Modality
from eval_anything.errors import UserError, near
from eval_anything.tasks.registry import folders_with
from eval_anything.tasks.task import Metric
from eval_anything.yamlfile import FileProblemsError, Problem, line_of, read_yaml


class JudgeFile(Struct, frozen=True, forbid_unknown_fields=True):
    """judge.yaml. `sees` names the modalities that the judge can perceive in a response.

    A `program` has a `scorer` (file.py:function in the folder); a `rubric` has a `template` (Jinja2)
    for a chat model, and the `scale` of the grades that it is asked for.
    """

    version: int
    kind: Literal["program", "rubric"]
    title: str
    description: str
    metrics: dict[str, Metric]
    sees: list[Modality]
    scorer: str | None = None
    template: str | None = None
    scale: tuple[float, float] | None = None


class JudgeFolder(Struct, frozen=True):
    """Where a judge lies. `trusted` folders, the bundled ones, may run their own code."""

    name: str
    path: Path
    trusted: bool


def find_judges(include: Sequence[Path] = ()) -> dict[str, JudgeFolder]:
    """All judge folders in reach, by name. Reads directories, no files."""
    found: dict[str, JudgeFolder] = {}
    roots = [(content_folder("judges"), True), *((Path(d).resolve(), False) for d in include)]
    for root, trusted in roots:
        for path in folders_with(root, "judge.yaml"):
            folder = found.setdefault(path.name, JudgeFolder(path.name, path, trusted))
            if folder.path != path:
                raise UserError(
                    f"two folders are the judge {path.name}: {folder.path} and {path}. "
                    "Rename one of them."
                )
    return found


def judge_named(name: str, judges: dict[str, JudgeFolder]) -> JudgeFolder:
    """The judge folder of that name, or a message with the near ones."""
    if name not in judges:
        raise UserError(
            f"unknown judge {name!r}.{near(name, judges)} `eval-anything judges list` shows all."
        )
    return judges[name]


def read_judge_file(folder: JudgeFolder) -> JudgeFile:
    """judge.yaml, checked."""
    path = folder.path / "judge.yaml"
    file = read_yaml(path, JudgeFile)
    needed = {"program": "scorer", "rubric": "template"}[file.kind]
    problems = []
    for key in ("scorer", "template"):
        value = getattr(file, key)
        if key == needed and value is None:
            problems.append(Problem(path, line_of(path, "kind"), f"a {file.kind} judge needs `{key}:`"))
        if key != needed and value is not None:
            problems.append(
                Problem(path, line_of(path, key), f"a {file.kind} judge has no {key}: remove it")
            )
        if value is not None and not (folder.path / value.partition(":")[0]).is_file():
            problems.append(Problem(path, line_of(path, key), f"{key}: {value} does not exist"))
    if file.kind == "rubric" and (file.scale is None or not file.scale[0] < file.scale[1]):
        problems.append(Problem(path, line_of(path, "scale"), "a rubric needs `scale: [low, high]`"))
    if not file.metrics:
        problems.append(Problem(path, line_of(path, "metrics"), "metrics is empty: declare one"))
    if problems:
        raise FileProblemsError(problems)
    return file
