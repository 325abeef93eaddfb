"""Interface of a scorer, and the scores of a response by the scorers of its task."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from eval_anything.content import Failure, Metric, Part, Record, Response, Sample, Score
from eval_anything.errors import ServerError
from eval_anything.models.replicas.engine import ReplicaEngine
from eval_anything.servers.prices import Spending
from eval_anything.tasks.task import Task


class Scorer(ABC):
    """Computes one or more metrics of a response. There is one instance per run and judge, and it scores
    many samples concurrently.

    Attributes:
        kind: kind of the judge: program, rubric ...
        judged: whether a model decides the scores, so that they can be wrong or manipulated.
        exact: whether the scores are right by definition, so that no calibration is needed.
        compares: whether a score compares the response with another one: see `ComparingScorer`.
        requires: for messages, what a sample must have for the judge to apply; "" if nothing.
        name: name of the judge, or of the task for a task's own code.
        metrics: the declared metrics, by name.
        fingerprint: sha256 of all that determines its scores: rubric or code, and its model.
        available: False for a judge that needs a model which the run does not name; its scores have no
            value.
        paid_as: name of its model in the price file; None if it asks no server.
        arguments: `--judge-arg` values; a resumed run must repeat them.
        spending: counter of the run's expenses; set by the engine.
        again: number of the pass over the same responses, from 0; set by calibration, which asks twice.
            A cached verdict of another pass must not be used.
        fresh_verdicts: whether its model is asked also where a verdict is kept from earlier; set by the
            engine.
        canaries: whether a judge must be wrong if it gives a response without content more than half of
            its range. False if that may happen by chance.
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
    arguments: Mapping[str, Any] = {}
    spending: Spending | None = None
    again: int = 0
    fresh_verdicts: bool = False
    canaries: bool = True

    @property
    def weights(self) -> str | None:
        """sha256 of the weights of its checkpoint; None if it has none on this machine."""
        return None

    @property
    def kept_verdicts(self) -> int:
        """Number of verdicts that were kept from earlier, so that its model was not asked for them."""
        return 0

    @property
    def calibrated_as(self) -> str:
        """Fingerprint under which calibrations of this judge are stored."""
        return self.fingerprint

    @abstractmethod
    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        """Scores by metric; a metric that does not apply to the sample is left out.

        A judge that fails returns a score with the value None and the reason as explanation. For a
        response without parts, the scores show which metrics apply; no model is asked about it.
        """

    def answered_before(self) -> None:
        """Notes that the run has scores of this judge on record."""

    def run_on(self, engine: ReplicaEngine) -> None:
        """Moves its model, if it has one that it loads, to the machines of an engine."""

    def check_task(self, task: Task) -> None:
        """Raises UserError if this judge cannot judge the task; called before anything is spent."""

    def asks(self, sample: Sample) -> int:
        """Number of requests to a server for one response to the sample, for an estimate of costs."""
        return 1

    def answers(self, sample: Sample) -> int:
        """Number of criteria that each reply answers, for an estimate of costs."""
        return 1

    async def close(self) -> None:
        """Releases connections; called once after the last score, in the event loop of the scores."""

    def unscored(self, reason: str) -> dict[str, Score]:
        """Scores of all metrics with the value None, and a reason as explanation."""
        return {metric: Score(None, explanation=reason) for metric in self.metrics}


class ComparingScorer(Scorer):
    """A scorer whose scores compare a response with that of another run to the same sample."""

    compares = True

    @abstractmethod
    def against(self, task: Task, opponents: Mapping[str, Record], run: str) -> None:
        """Sets the responses that those of a task are compared with.

        Args:
            task: the task.
            opponents: records of another run on the task, by sample id.
            run: that run, for messages.

        Raises:
            UserError: if the records are of another version of the task.
        """

    @abstractmethod
    async def compare(
        self, sample: Sample, first: Sequence[Part], second: Sequence[Part]
    ) -> dict[str, Score]:
        """Scores of the first of two responses to the messages of a sample. Both have parts."""


async def score_response(
    scorers: Sequence[Scorer], sample: Sample, response: Response, forgiving: bool = False
) -> dict[str, Score]:
    """Scores of one response by all scorers, each with its judge, range and direction.

    A failed response scores the floor of every metric that applies to the sample, and a skipped one has
    no value. These are the metrics that a scorer returns for a response without parts, about which no
    judge asks its model. With `forgiving`, scores of a judge whose server fails have no value; without,
    the ServerError is raised.
    """
    failure = response.error
    scores: dict[str, Score] = {}
    for scorer in scorers:
        try:
            metric_scores = await scorer.score(sample, response if failure is None else Response())
        except ServerError as error:
            if not forgiving:
                raise
            applying = await scorer.score(sample, Response())
            metric_scores = {metric: Score(None, explanation=str(error)) for metric in applying}
        for metric, score in metric_scores.items():
            scores[metric] = _declared(scorer, metric, score, failure)
    return scores


_ROUNDING = 1e-9  # of the range: a mean of floats may be so far outside of it


def _declared(scorer: Scorer, metric: str, score: Score, failure: Failure | None) -> Score:
    """The score with judge, range and direction.

    A value outside of the range is a failure of the judge, unless that is float rounding: then it is the
    end of the range. With a `failure` of the model the score is the floor.
    """
    declared = scorer.metrics[metric]
    low, high = declared.range
    slack = _ROUNDING * (high - low) if math.isfinite(high - low) else 0.0
    number, explanation = score.value, score.explanation
    if failure is not None and not failure.of_model:
        number, explanation = None, "skipped: a server failed"
    elif failure is not None and scorer.available:
        number, explanation = declared.worst, "the model failed: floor"
    elif number is not None and low - slack <= number <= high + slack:
        number = min(max(number, low), high)
    elif number is not None:
        explanation = f"{scorer.name} gave {number} for {metric}, outside {low}..{high}"
        number = None
    return msgspec.structs.replace(
        score,
        value=number,
        explanation=explanation,
        judge=scorer.name,
        range=declared.range,
        better=declared.better,
    )
