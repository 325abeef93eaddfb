"""Which scorers a task needs, made from its judges and its own code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from eval_anything.content import Response, Sample, Score
from eval_anything.errors import UserError, near
from eval_anything.judges import JudgeFolder, read_judge_file
from eval_anything.scorers.base import Scorer
from eval_anything.scorers.program import ControlFunction, ProgramScorer, allow, load_function
from eval_anything.scorers.rubric import RubricScorer
from eval_anything.tasks.task import Metric, Task
from eval_anything.yamlfile import FileProblemsError, Problem, line_of


class NoModel(Scorer):
    """A judge that needs a model, in a run that names none: everything stays unscored."""

    available = False

    def __init__(self, name: str, kind: str, metrics: Mapping[str, Metric]) -> None:
        self.name = name
        self.kind = kind
        self.metrics = metrics
        self.fingerprint = "no model"

    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        return self.unscored(f"no model for this judge: add --judge {self.name}=SPEC")


class TaskScorers(NamedTuple):
    """All that scores one task: its scorers, and what computes controls over all its scores."""

    scorers: list[Scorer]
    controls: ControlFunction | None

    @property
    def metrics(self) -> dict[str, Metric]:
        """All metrics of the task, in the order of its judges."""
        return {name: metric for scorer in self.scorers for name, metric in scorer.metrics.items()}


def scorers_of(
    task: Task,
    judges: Mapping[str, JudgeFolder],
    allow_code: bool = False,
    models: Mapping[str, str] = {},
) -> TaskScorers:
    """The scorers of a task; `models` names the model behind a judge. UserError for unknown judges,
    clashing metrics, code not allowed."""
    check_scorers(task, judges)
    scorers = [make_judge(judges[name], allow_code, models.get(name)) for name in task.file.judges]
    controls: ControlFunction | None = None
    if task.file.scorer is not None:
        allow(task.folder.trusted, allow_code, f"task {task.name}", task.folder.path)
        scorers.append(ProgramScorer(task.name, task.folder.path, task.file.scorer, task.file.metrics))
        if task.file.controls is not None:
            controls = load_function(task.folder.path, task.file.controls)
    return TaskScorers(scorers, controls)


def check_scorers(task: Task, judges: Mapping[str, JudgeFolder]) -> None:
    """Whether judges, metrics and primary of a task fit together; runs no code of its folder."""
    path = task.folder.path / "task.yaml"
    problems = []
    given_by: dict[str, str] = {}
    declared = [(task.name, task.file.metrics)]
    for i, name in enumerate(task.file.judges):
        if name in judges:
            declared.append((name, read_judge_file(judges[name]).metrics))
        else:
            message = (
                f"unknown judge {name!r}.{near(name, judges)} `eval-anything judges list` shows all"
            )
            problems.append(Problem(path, line_of(path, "judges", i), message))
    for scorer, metrics in declared:
        for metric in metrics:
            if metric in given_by:
                message = (
                    f"metric {metric!r} is given by both {given_by[metric]} and {scorer}: rename one"
                )
                problems.append(Problem(path, line_of(path, "judges"), message))
            given_by[metric] = scorer
    primary = task.file.primary
    if primary not in given_by and not problems:
        message = f"primary {primary!r} is given by no judge.{near(primary, given_by)}"
        problems.append(Problem(path, line_of(path, "primary"), message))
    if problems:
        raise FileProblemsError(problems)


def make_judge(folder: JudgeFolder, allow_code: bool, model: str | None) -> Scorer:
    """The scorer of a judge folder, with the model that the user names for it, if any."""
    file = read_judge_file(folder)
    if file.kind == "program":
        allow(folder.trusted, allow_code, f"judge {folder.name}", folder.path)
        assert file.scorer is not None
        if model is not None:
            raise UserError(f"--judge {folder.name}: this judge is a program and takes no model")
        return ProgramScorer(folder.name, folder.path, file.scorer, file.metrics)
    if model is None:
        return NoModel(folder.name, file.kind, file.metrics)
    return RubricScorer(folder, file, model)
