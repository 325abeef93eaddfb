"""Models and judges that the stages ask: the policy, the critic, a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from align_plugins.data.rows import Demonstration, Prompt, row_like
from align_plugins.evaluation.collect import SavedResponses, ask, task_of
from eval_anything.content import Message, Part, Record, Response, TextPart
from eval_anything.judges.scorer import Scorer
from eval_anything.models.base import Model, Sampling, check_settings
from eval_anything.models.spec import resolve
from eval_anything.output.progress import Progress


class ResponseSampler:
    """A model with its sampling settings."""

    def __init__(
        self, spec: str, arguments: Mapping[str, str], sampling: Sampling, progress: Progress
    ) -> None:
        self.model: Model = resolve(spec, arguments)
        self._sampling = sampling
        self._progress = progress
        names = sampling.values().keys() - {"temperature"}
        check_settings(self.model, {name: f"generation.{name}" for name in names})
        self.model.check_sampling(sampling)

    @property
    def inputs(self) -> dict[str, Any]:
        """Everything that decides its responses, for the hash of a stage."""
        return {
            "weights": self.model.weights(),
            "arguments": dict(self.model.arguments),
            **self._sampling.recorded(),
            "seed": self._sampling.seed,
        }

    def answers(self, name: str, prompts: Sequence[Prompt], folder: Path) -> dict[str, Record]:
        """Record of each prompt, by id."""
        return ask(task_of(name, prompts), self.model, folder, self._sampling, self._progress)


class CritiqueSource(Protocol):
    """A model or judge that criticises responses."""

    @property
    def inputs(self) -> dict[str, Any]:
        """Everything that decides its critiques, for the hash of a stage."""

    def critiques(self, rows: Sequence[Demonstration], folder: Path) -> dict[str, Record]:
        """Record of each row, by id."""

    def text(self, record: Record) -> str:
        """Critique in a record; empty if there is none."""


class ModelCritic:
    """A model that is asked a question after the prompt and the response."""

    def __init__(self, sampler: ResponseSampler, question: str) -> None:
        self._sampler = sampler
        self._question = question

    @property
    def inputs(self) -> dict[str, Any]:
        return {**self._sampler.inputs, "ask": self._question}

    def critiques(self, rows: Sequence[Demonstration], folder: Path) -> dict[str, Record]:
        prompts = [
            row_like(
                row, Prompt, messages=critique_conversation(row.messages, row.response, self._question)
            )
            for row in rows
        ]
        return self._sampler.answers("critique", prompts, folder)

    def text(self, record: Record) -> str:
        return Response(record.parts).text.strip() if record.error is None else ""


class JudgeCritic:
    """A judge whose explanation is the critique."""

    def __init__(self, scorer: Scorer, progress: Progress) -> None:
        self._scorer = scorer
        self._progress = progress

    @property
    def inputs(self) -> dict[str, Any]:
        return {"judge": self._scorer.fingerprint}

    def critiques(self, rows: Sequence[Demonstration], folder: Path) -> dict[str, Record]:
        answered = {row.id: row.response for row in rows}
        return judge_responses("critique", rows, answered, self._scorer, folder, self._progress)

    def text(self, record: Record) -> str:
        score = next((s for s in record.scores.values() if s.value is not None), None)
        return score.explanation.strip() if score is not None else ""


def critique_conversation(
    messages: Sequence[Message], response: Sequence[Part], question: str
) -> tuple[Message, ...]:
    """The conversation that a critic answers: prompt, response, question."""
    return (
        *messages,
        Message("assistant", tuple(response)),
        Message("user", (TextPart(question),)),
    )


def judge_responses(
    name: str,
    rows: Sequence[Prompt],
    answered: Mapping[str, Sequence[Part]],
    scorer: Scorer,
    folder: Path,
    progress: Progress,
) -> dict[str, Record]:
    """Records, by id, of a judge's scores of a response to each row's prompt."""
    task = task_of(name, rows)
    scorer.check_task(task)
    return ask(task, SavedResponses(answered), folder, Sampling(), progress, [scorer])
