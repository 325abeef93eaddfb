"""Scorers of a task, from its judges and its own code."""

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

_NO_MODEL = "no model for this judge"


NO_FINGERPRINT = "no model"
"""The fingerprint of a judge whose model the run does not name."""


def awaits_a_judge(score: Score) -> bool:
    """Whether a score has no value because the run named no model for its judge."""
    return score.value is None and score.explanation.startswith(_NO_MODEL)


class NoModel(Scorer):
    """Scorer in place of a judge whose model the run does not name: all scores have the value None."""

    available = False

    def __init__(self, name: str, file: JudgeFile) -> None:
        self.name = name
        self.kind = file.kind
        self.judged = file.scorer_type.judged
        self.compares = file.scorer_type.compares
        self.metrics = file.metrics
        self.fingerprint = NO_FINGERPRINT
        self._reason = f"{_NO_MODEL}: add --judge {name}={file.model_form}"

    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        return self.unscored(self._reason)


class TaskScorers(NamedTuple):
    """Scorers of one task, and the function that computes controls from all its scores."""

    scorers: list[Scorer]
    controls: ControlFunction | None

    @property
    def metrics(self) -> dict[str, Metric]:
        """All metrics of the task by name, in the order of its judges."""
        return {name: metric for scorer in self.scorers for name, metric in scorer.metrics.items()}


def scorers_of(
    task: Task,
    judges: Mapping[str, JudgeFolder],
    allow_code: bool = False,
    models: Mapping[str, str] = {},
    arguments: Mapping[str, Mapping[str, str]] = {},
) -> TaskScorers:
    """Scorers of a task.

    Args:
        task: the task.
        judges: judge folders by name, including all judges of the task.
        allow_code: whether code in folders that are not bundled may be executed.
        models: SPEC or path of the model of a judge, by the judge's name.
        arguments: `--judge-arg` values of a judge, by the judge's name.

    Raises:
        UserError: for code that is not allowed or does not import, and for mistakes in a judge.yaml.
    """
    scorers = [
        make_judge(judges[name], allow_code, models.get(name), arguments.get(name, {}))
        for name in task.file.judges
    ]
    controls: ControlFunction | None = None
    if task.file.scorer is not None:
        allow(task.folder.trusted, allow_code, f"task {task.name}", task.folder.path)
        scorers.append(ProgramScorer(task.name, task.folder.path, task.file.scorer, task.file.metrics))
        if task.file.controls is not None:
            controls = load_function(task.folder.path, task.file.controls)
    return TaskScorers(scorers, controls)


def make_judge(
    folder: JudgeFolder, allow_code: bool, model: str | None, arguments: Mapping[str, str] = {}
) -> Scorer:
    """Scorer of a judge folder, with the model that the user names for it, if any, and the arguments of
    `--judge-arg`. UserError as in `scorers_of`."""
    file = read_judge_file(folder).with_arguments(folder.name, arguments)
    if model is None and file.needs_model:
        return NoModel(folder.name, file)
    return file.make(folder, model, allow_code)
