"""Scorers of a task, made from its judges and its own code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from eval_anything.content import Metric, Response, Sample, Score
from eval_anything.files.code import allow, load_function
from eval_anything.judges.folder import JudgeFolder
from eval_anything.judges.kind import JudgeFile
from eval_anything.judges.kinds.program import ProgramScorer
from eval_anything.judges.registry import read_judge_file
from eval_anything.judges.scorer import Scorer
from eval_anything.scoring.functions import ControlFunction
from eval_anything.tasks.task import Task


class NoModel(Scorer):
    """A judge that needs a model, in a run that names none: everything stays unscored."""

    available = False

    def __init__(self, name: str, file: JudgeFile) -> None:
        self.name = name
        self.kind = file.kind
        self.judged = file.scorer_type.judged
        self.compares = file.scorer_type.compares
        self.metrics = file.metrics
        self.fingerprint = "no model"
        self._reason = f"no model for this judge: add --judge {name}={file.model_form}"

    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        return self.unscored(self._reason)


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
    """The scorers of a task, whose judges are among `judges`; `models` names the model behind a
    judge. UserError for code that is not allowed, or does not import."""
    scorers = [make_judge(judges[name], allow_code, models.get(name)) for name in task.file.judges]
    controls: ControlFunction | None = None
    if task.file.scorer is not None:
        allow(task.folder.trusted, allow_code, f"task {task.name}", task.folder.path)
        scorers.append(ProgramScorer(task.name, task.folder.path, task.file.scorer, task.file.metrics))
        if task.file.controls is not None:
            controls = load_function(task.folder.path, task.file.controls)
    return TaskScorers(scorers, controls)


def make_judge(folder: JudgeFolder, allow_code: bool, model: str | None) -> Scorer:
    """The scorer of a judge folder, with the model that the user names for it, if any."""
    file = read_judge_file(folder)
    if model is None and file.needs_model:
        return NoModel(folder.name, file)
    return file.make(folder, model, allow_code)
