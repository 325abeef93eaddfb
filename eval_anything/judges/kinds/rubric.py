"""Kind `rubric`: a chat model on an OpenAI-compatible server scores a response against a rubric.

The rubric is the system message, with the checklist if there is one (`asking/checklist.py`). Request and
response are the user message, sanitized (`asking/guard.py`), with the response between lines with a
random fence, so that it cannot imitate the rubric. Answers to earlier turns are between such lines, too.
`asking/ask.py` sends the request and `asking/verdict.py` parses the reply; a reply that is no verdict
leaves the sample unscored.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from msgspec import to_builtins

from eval_anything.concurrency import all_of
from eval_anything.content import MODALITIES, NO_TOKENS, Response, Sample, Score, TextPart
from eval_anything.errors import UserError
from eval_anything.files.hashing import sha256_of
from eval_anything.files.mistakes import Mistakes
from eval_anything.judges.asking import guard
from eval_anything.judges.asking.ask import JudgeAnswer, JudgeQuestion, Messages
from eval_anything.judges.asking.chat_judge import ChatJudgeFile, ChatScorer
from eval_anything.judges.asking.checklist import (
    Criterion,
    CriterionEntry,
    check_checklist,
    criteria_for,
    listing,
    weighted_share,
)
from eval_anything.judges.asking.conversation import (
    Pieces,
    answer_of,
    fenced,
    pieces_of,
    request_content,
)
from eval_anything.judges.asking.present import Content, messages
from eval_anything.judges.asking.verdict import Verdict, instruction, read_verdict, response_format
from eval_anything.judges.folder import JudgeFolder
from eval_anything.media import MediaError
from eval_anything.tasks.task import Task


class _Material(NamedTuple):
    """Material of a request to the judge model, without fence and mark; `changed` has the labels of
    media that were scaled down or cut."""

    expected: Any
    criteria: list[Criterion]
    request: Pieces
    answer: Content
    changed: list[str]


def _is_text(sample: Sample, response: Response) -> bool:
    prompt_parts = (part for message in sample.messages for part in message.parts)
    return all(isinstance(part, TextPart) for part in (*prompt_parts, *response.parts))


class RubricScorer(ChatScorer):
    """Scorer by a rubric and a chat model that applies it."""

    kind = "rubric"

    def __init__(self, folder: JudgeFolder, file: RubricFile, spec: str) -> None:
        super().__init__(folder, file, spec)
        self.sees = tuple(file.sees)
        self.repeats = file.repeats
        criteria = self._judge_criteria = own_criteria(file)
        form = [listing(criteria, criteria), instruction("MARK", criteria)]
        self.fingerprint = sha256_of(
            [
                *(self._template.source, form, file.metrics, criteria, self._clips, self.repeats),
                *(self.server.model, guard.VERSION),
                *self.changes,
            ]
        )

    def check_task(self, task: Task) -> None:
        possible = {m for s in task.samples for m in (*s.contract.required, *s.contract.allowed)}
        unseen = [m for m in MODALITIES if m in possible and m not in self.sees]
        if unseen:
            raise UserError(
                f"judge {self.name} sees {', '.join(self.sees)}, and responses to {task.name} may "
                f"have {', '.join(unseen)}: take another judge, or another task"
            )
        for sample in task.samples:
            try:
                self._criteria(sample)
            except ValueError as error:
                raise UserError(f"{task.name}, sample {sample.id!r}: {error}") from None

    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        """Mean grades over all repeats, scaled to the ranges of the metrics; the worst score for a
        response without a required modality."""
        missing = [m for m in sample.contract.required if m not in response.modalities]
        if missing or not response.parts:
            reason = f"no {', '.join(missing) or 'response'}, which is required"
            return {name: Score(m.worst, explanation=reason) for name, m in self.metrics.items()}
        try:
            if _is_text(sample, response):
                material = self._material(sample, response)
            else:  # encoding media takes a while
                material = await asyncio.to_thread(self._material, sample, response)
        except MediaError as error:
            return self.unscored(f"the judge could not be shown the response: {error}")
        except ValueError as error:
            return self.unscored(str(error))
        try:
            answers = await all_of(self._judge(material, repeat) for repeat in range(self.repeats))
        except ValueError as error:
            return self.unscored(f"no usable verdict of {self.server.model}: {error}")
        return self._scores(answers, material)

    def asks(self, sample: Sample) -> int:
        return self.repeats

    def answers(self, sample: Sample) -> int:
        try:
            return len(self._criteria(sample))
        except ValueError:  # it will be unscored
            return 1

    def _expected(self, sample: Sample) -> Any:
        return sample.targets.get(next(iter(self.metrics)), {})

    def _criteria(self, sample: Sample) -> list[Criterion]:
        """Criteria for a sample. ValueError for a wrong target of the sample."""
        try:
            return criteria_for(self._judge_criteria, self._expected(sample))
        except ValueError as error:
            raise ValueError(f"targets.{next(iter(self.metrics))}.{error}") from None

    def _material(self, sample: Sample, response: Response) -> _Material:
        """Material of a response. ValueError for a wrong target, MediaError for a broken medium."""
        criteria = self._criteria(sample)
        request = pieces_of(sample.messages, response.turns, self._clips)
        answer, changed = answer_of(response.parts, self._clips)
        return _Material(self._expected(sample), criteria, request, answer, changed)

    def _messages(self, material: _Material, fence: str, mark: str) -> Messages:
        rubric = self._template.render(fence=fence, expected=material.expected).strip()
        criteria = material.criteria
        directions = [listing(self._judge_criteria, criteria), instruction(mark, criteria)]
        system = "\n\n".join(filter(None, [rubric, *directions]))
        content = [*request_content(material.request, fence), *fenced(material.answer, fence)]
        return messages(system, content)

    async def _judge(self, material: _Material, repeat: int) -> JudgeAnswer[Verdict]:
        """One verdict. ValueError if the model gives none; errors of the server are not caught."""
        question = JudgeQuestion(
            messages=lambda fence, mark: self._messages(material, fence, mark),
            read=lambda reply, mark: read_verdict(reply, mark, material.criteria),
            type_=Verdict,
            form=response_format(material.criteria),
            temperature=0.0 if self.repeats == 1 else 1.0,
            repeat=self.again * self.repeats + repeat,
        )
        return await self._asker.ask(question, self.spending, self.fresh_verdicts)

    def _scores(self, answers: list[JudgeAnswer[Verdict]], material: _Material) -> dict[str, Score]:
        usage = sum((answer.usage for answer in answers), NO_TOKENS)
        verdicts = [answer.verdict for answer in answers]
        scores: dict[str, Score] = {}
        for name, metric in self.metrics.items():
            criteria = [c for c in material.criteria if c.metric == name]
            low, high = metric.range
            values = [low + weighted_share(criteria, v.grades) * (high - low) for v in verdicts]
            details = {**_answers(criteria, verdicts), "model": self.server.model}
            if material.changed:
                details["media"] = material.changed
            if len(values) > 1:
                details["spread"] = statistics.stdev(values)
            if not scores:  # the tokens of a verdict are recorded once, with its first metric
                details["usage"] = to_builtins(usage)
            scores[name] = Score(
                statistics.fmean(values),
                explanation=verdicts[0].explanation,
                details=details,
            )
        return scores


def _answers(criteria: Sequence[Criterion], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Details of the verdicts of all repeats: the grades of a metric, or those of each criterion."""
    grades = [[verdict.grades[c.id] for verdict in verdicts] for c in criteria]
    if not any(c.question for c in criteria):
        return {"grades": grades[0]}
    return {
        "criteria": [
            {"id": c.id, "question": c.question, "weight": c.weight, "grades": criterion_grades}
            for c, criterion_grades in zip(criteria, grades, strict=True)
        ]
    }


class RubricFile(ChatJudgeFile, tag=RubricScorer.kind, frozen=True, kw_only=True):
    """judge.yaml of a rubric.

    Attributes:
        scale: lowest and highest grade; without it, criteria are answered yes, partly or no.
        checklist: criteria that the model answers one by one.
        repeats: number of verdicts for each response; the score is their mean.
    """

    scale: tuple[float, float] | None = None
    checklist: list[CriterionEntry] | None = None
    repeats: int = 1

    scorer_type = RubricScorer
    variables: ClassVar[Mapping[str, str]] = {
        **ChatJudgeFile.variables,
        "expected": "the target of the sample, `targets.<first metric of the judge>`; {} without one",
    }
    template_variables: ClassVar = (
        {"expected": {}},
        {"expected": {"text_image": "the picture shows what the text says"}},
    )

    def check(self, folder: Path, mistakes: Mistakes) -> None:
        super().check(folder, mistakes)
        if self.repeats < 1:
            mistakes.add("repeats must be at least 1", "repeats")
        if self.scale is not None and not self.scale[0] < self.scale[1]:
            mistakes.add("scale must rise: [low, high]", "scale")
        if self.checklist is not None:
            check_checklist(self.checklist, mistakes)
            if len(self.metrics) > 1:
                mistakes.add("a checklist makes one metric: make a judge for each", "metrics")
        elif self.scale is None:
            mistakes.add(
                "a rubric judge needs `scale:`, or a `checklist:` to be answered yes, partly or no",
                "kind",
            )


def own_criteria(file: RubricFile) -> list[Criterion]:
    """Criteria in a rubric's judge.yaml: its checklist, else one criterion for each metric."""
    if file.checklist is None:
        return [Criterion(name, name, "", 1.0, file.scale) for name in file.metrics]
    (metric,) = file.metrics
    return [
        Criterion(c.id, metric, c.question, c.weight, file.scale, c.optional) for c in file.checklist
    ]
