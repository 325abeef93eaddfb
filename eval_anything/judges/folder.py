"""Judges as folders: judge.yaml, and the code or template that its kind needs.

A judge is `judges/<name>/judge.yaml`; `--include DIR` adds a folder of judges, or one. The code of
each kind is in `eval_anything/scorers/<kind>.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from eval_anything.content import Metric, Modality
from eval_anything.errors import UserError, near
from eval_anything.files.mistakes import FileProblemsError, Problem
from eval_anything.files.places import content_folder, folders_with
from eval_anything.files.yaml_files import line_of, read_yaml

Kind = Literal["program", "metric", "rubric", "pairwise", "probe", "reward_model"]


# Which keys of judge.yaml a kind must have, and which it may have besides the common ones.
_NEEDS: dict[Kind, set[str]] = {
    "program": {"scorer"},
    "metric": set(),
    "rubric": {"template"},
    "pairwise": {"template"},
    "reward_model": set(),
    "probe": {"template", "probes"},
}


_MAY: dict[Kind, set[str]] = {
    "program": {"packages"},
    "metric": {"scorer", "factory", "packages"},
    "rubric": {"scale", "checklist", "repeats", "video", "frames"},
    "pairwise": {"video", "frames"},
    "probe": {"video", "frames"},
    "reward_model": {"checkpoint"},
}


_OWN_KEYS = (
    *("scorer", "factory", "packages", "template", "scale", "checklist", "repeats"),
    *("checkpoint", "probes", "video", "frames"),
)


_PATHS = {"scorer", "factory", "template", "checkpoint"}


_CRITERION_ID = re.compile(r"[a-z][a-z0-9_]{0,39}")


CHANCE_CORRECTED = "_chance_corrected"
"""Ends the name of a probe's second metric, after the name of its first."""


class CriterionEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a checklist: what the judge model answers apart, and how much that counts.

    A criterion that is `optional` may not apply to a request; then the others share its weight. A
    sample may break it down into yes-or-no questions of its own: the list `targets.<metric>.<id>`.
    """

    id: str
    question: str
    weight: float = 1.0
    optional: bool = False


class JudgeFile(Struct, frozen=True, forbid_unknown_fields=True):
    """judge.yaml. `sees` names the modalities that the judge can perceive in a response.

    A `program` or `metric` has a `scorer` (file.py:function in the folder); a `metric` with a model
    of its own has a `factory` instead, which makes the scorer from the path that the user names.
    `packages` are the modules that their code imports beyond what the engine has. A `rubric` has a
    `template` (Jinja2) for a chat model, the `scale` of the grades that it is asked for, a
    `checklist` if it is to grade criteria apart (without a scale they are answered yes, partly or
    no), and how often it is asked about each response (`repeats`, 1 if left out; the mean counts); a
    `reward_model` has a `checkpoint`, a folder in its own, unless the user names one. A `probe` has a
    `template` for a chat model too, and the modality of the medium that its questions are about
    (`probes`). All that ask a chat model show it clips as `frames` pictures (4 if left out), or whole
    if `video` is `file`.
    """

    version: int
    kind: Kind
    title: str
    description: str
    metrics: dict[str, Metric]
    sees: list[Modality]
    scorer: str | None = None
    factory: str | None = None
    packages: list[str] | None = None
    template: str | None = None
    scale: tuple[float, float] | None = None
    checklist: list[CriterionEntry] | None = None
    repeats: int | None = None
    checkpoint: str | None = None
    probes: Literal["image", "audio", "video"] | None = None
    video: Literal["frames", "file"] | None = None
    frames: int | None = None


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
    problems = []
    for key in _OWN_KEYS:
        value = getattr(file, key)
        needed = key in _NEEDS[file.kind]
        if needed and value is None:
            problems.append(Problem(path, line_of(path, "kind"), f"a {file.kind} judge needs `{key}:`"))
        if value is not None and not needed and key not in _MAY.get(file.kind, ()):
            message = f"a {file.kind} judge has no {key}: remove it"
            problems.append(Problem(path, line_of(path, key), message))
        if key in _PATHS and value is not None and not (folder.path / value.partition(":")[0]).exists():
            problems.append(Problem(path, line_of(path, key), f"{key}: {value} does not exist"))
    if file.kind == "metric" and (file.scorer is None) == (file.factory is None):
        message = "a metric judge needs `scorer:`, or `factory:` if it has a model of its own; not both"
        problems.append(Problem(path, line_of(path, "kind"), message))
    if file.kind == "pairwise" and [m.range for m in file.metrics.values()] != [(0.0, 1.0)]:
        message = "a pairwise judge gives one metric, a win rate with the range [0, 1]"
        problems.append(Problem(path, line_of(path, "metrics"), message))
    if file.repeats is not None and file.repeats < 1:
        problems.append(Problem(path, line_of(path, "repeats"), "repeats must be at least 1"))
    if file.scale is not None and not file.scale[0] < file.scale[1]:
        problems.append(Problem(path, line_of(path, "scale"), "scale must rise: [low, high]"))
    if not file.metrics:
        problems.append(Problem(path, line_of(path, "metrics"), "metrics is empty: declare one"))
    if file.frames is not None and file.frames < 1:
        problems.append(Problem(path, line_of(path, "frames"), "frames must be at least 1"))
    if file.frames is not None and file.video == "file":
        message = "a clip that is shown as a file has all its frames: remove `frames:`"
        problems.append(Problem(path, line_of(path, "frames"), message))
    if file.kind == "rubric":
        problems += _rubric_problems(path, file)
    if file.kind == "probe":
        problems += _probe_problems(path, file)
    if problems:
        raise FileProblemsError(problems)
    return file


def _rubric_problems(path: Path, file: JudgeFile) -> list[Problem]:
    if file.checklist is None:
        if file.scale is None:
            message = "a rubric judge needs `scale:`, or a `checklist:` to be answered yes, partly or no"
            return [Problem(path, line_of(path, "kind"), message)]
        return []
    problems = []
    if not file.checklist:
        message = "checklist is empty: name a criterion, or remove it"
        problems.append(Problem(path, line_of(path, "checklist"), message))
    if len(file.metrics) > 1:
        message = "a checklist makes one metric: make a judge for each"
        problems.append(Problem(path, line_of(path, "metrics"), message))
    seen: set[str] = set()
    for i, criterion in enumerate(file.checklist):
        mistakes = {}
        if not _CRITERION_ID.fullmatch(criterion.id):
            mistakes["id"] = "must be small letters, digits and _, at most 40, and begin with a letter"
        elif criterion.id in seen:
            mistakes["id"] = f"{criterion.id!r} is given twice: rename one"
        if not criterion.question.strip():
            mistakes["question"] = "is empty: say what is to be answered"
        if not (math.isfinite(criterion.weight) and criterion.weight > 0):
            mistakes["weight"] = f"must be above 0, not {criterion.weight:g}: remove what does not count"
        seen.add(criterion.id)
        problems += [
            Problem(path, line_of(path, "checklist", i, key), f"{key} {message}")
            for key, message in mistakes.items()
        ]
    return problems


def _probe_problems(path: Path, file: JudgeFile) -> list[Problem]:
    problems = []
    names = list(file.metrics)
    if len(names) != 2 or names[1] != names[0] + CHANCE_CORRECTED:
        message = f"a probe judge has two metrics: NAME, then NAME{CHANCE_CORRECTED}"
        problems.append(Problem(path, line_of(path, "metrics"), message))
    elif file.metrics[names[1]].range != (-1, 1):
        message = f"{names[1]} must have the range [-1, 1]: 0 is chance"
        problems.append(Problem(path, line_of(path, "metrics"), message))
    if any(metric.better != "higher" for metric in file.metrics.values()):
        message = "more right answers are better: leave out `better:`"
        problems.append(Problem(path, line_of(path, "metrics"), message))
    if file.probes is not None and file.probes not in file.sees:
        message = f"the judge probes {file.probes}, so it must see it: add it to `sees:`"
        problems.append(Problem(path, line_of(path, "sees"), message))
    return problems
