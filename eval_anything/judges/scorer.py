"""The interface of a scorer, and how one task's scorers work on one response."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import msgspec

from eval_anything.content import Metric, Part, Record, Response, Sample, Score
from eval_anything.servers.prices import Spending
from eval_anything.tasks.task import Task


class Scorer(ABC):
    """Gives some metrics to a response. Made once a run, used on all its samples at the same time.

    Attributes:
        kind: of the judge: program, rubric ...
        judged: whether a model decides the scores, so that it can err or be deceived.
        exact: whether the scores are right by definition, so that there is nothing to calibrate.
        compares: whether the scores say how a response compares with another one; such a scorer has
            `against` and `compare`.
        requires: words on what a sample must have for the judge to apply to it; "" if nothing.
        name: of the judge, or of the task for a task's own code.
        metrics: the declared metrics, by name.
        fingerprint: sha256 of what decides its scores: rubric or code, and the model behind it.
        available: False for a judge whose model the run does not name; it scores nothing.
        paid_as: the name under which its model's tokens are priced; None if it asks no server.
        spending: counts what the run pays; set by the engine.
        again: how often the same was asked before; set by calibration, which asks twice. A verdict
            that is kept from another time is no answer.
        canaries: whether a judge that gives a response without content more than half of its range
            must be wrong. False where chance alone may give it that.
    """

    kind: str
    judged: bool = True
    exact: bool = False
    compares: bool = False
    requires: str = ""
    name: str
    metrics: Mapping[str, Metric]
    fingerprint: str
    available: bool = True
    paid_as: str | None = None
    spending: Spending | None = None
    again: int = 0
    canaries: bool = True

    @property
    def weights(self) -> str | None:
        """sha256 of the weights of the checkpoint behind it; None if there is none on this machine."""
        return None

    @property
    def calibrated_as(self) -> str:
        """The fingerprint under which this judge's calibrations are kept."""
        return self.fingerprint

    @abstractmethod
    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        """Scores by metric; a metric that does not apply to the sample is left out.

        A judge that fails gives a score without a value, and says why in the explanation.
        """

    def against(self, task: Task, others: Mapping[str, Record], run: str) -> None:
        """Takes the records of a task, by sample id, that responses are compared with; `run` is where
        they come from. UserError if they are of another version of the task."""
        raise NotImplementedError(f"a {self.kind} judge compares nothing")

    async def compare(
        self, sample: Sample, parts: Sequence[Part], others: Sequence[Part]
    ) -> dict[str, Score]:
        """Scores of the first of two responses to the sample's messages; both have content."""
        raise NotImplementedError(f"a {self.kind} judge compares nothing")

    def check_task(self, task: Task) -> None:
        """UserError if this judge cannot judge the task; asked before anything is spent."""

    def asks(self, sample: Sample) -> int:
        """How many requests to a server one response to the sample takes, for an estimate."""
        return 1

    def answers(self, sample: Sample) -> int:
        """How many answers each of the replies holds, for an estimate."""
        return 1

    async def close(self) -> None:
        """Called once when nothing more is scored, in the event loop that scored."""

    def unscored(self, reason: str) -> dict[str, Score]:
        """All metrics without a value."""
        return {metric: Score(None, explanation=reason) for metric in self.metrics}


async def score_response(
    scorers: Sequence[Scorer], sample: Sample, response: Response
) -> dict[str, Score]:
    """All scores of one response, each with its judge, range and direction.

    A sample that the model failed scores the floor of every metric that applies to it. Which ones
    apply is what the scorer says of an empty response, about which no judge asks its model.
    """
    scores: dict[str, Score] = {}
    for scorer in scorers:
        given = await scorer.score(sample, response if response.error is None else Response())
        for metric, score in given.items():
            failed = response.error is not None and scorer.available
            scores[metric] = _declared(scorer, metric, score, failed)
    return scores


def _declared(scorer: Scorer, metric: str, score: Score, failed: bool) -> Score:
    """The score with what its metric declares; out of range or undeclared is the judge's failure."""
    declared = scorer.metrics[metric]
    low, high = declared.range
    value, explanation = score.value, score.explanation
    if failed:
        value, explanation = declared.worst, "the model failed: floor"
    elif value is not None and not low <= value <= high:
        explanation = f"{scorer.name} gave {value} for {metric}, outside {low}..{high}"
        value = None
    return msgspec.structs.replace(
        score,
        value=value,
        explanation=explanation,
        judge=scorer.name,
        range=declared.range,
        better=declared.better,
    )
