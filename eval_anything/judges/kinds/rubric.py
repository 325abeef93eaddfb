"""Kind `rubric`: a chat model on an OpenAI-compatible server scores a response against a rubric.

The rubric is the system message, with the checklist if it has one (`asking/checklist.py`). Request and
response are the user message, the response between lines marked with a random fence, so that it cannot
pass for the rubric, and all of it cleaned (`asking/guard.py`). What the answering model itself gave in
earlier turns stands between such lines too. The model is asked by `asking/ask.py` and its answer read by
`asking/verdict.py`; an answer that is no verdict leaves the sample unscored.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from msgspec import to_builtins

from eval_anything.concurrency import all_of
from eval_anything.content import MODALITIES, NO_TOKENS, Response, Sample, Score, TextPart
from eval_anything.errors import UserError
from eval_anything.files.hashing import sha256_of
from eval_anything.files.mistakes import Mistakes
from eval_anything.files.templates import render_template
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


class _Shown(NamedTuple):
    """What one request to the judge is made of, but for its nonces; `changed` names the media that
    were scaled down or cut for it."""

    expected: Any
    criteria: list[Criterion]
    request: Pieces
    answer: Content
    changed: list[str]


def _is_text(sample: Sample, response: Response) -> bool:
    asked = (part for message in sample.messages for part in message.parts)
    return all(isinstance(part, TextPart) for part in (*asked, *response.parts))


class RubricScorer(ChatScorer):
    """A rubric with the model that applies it."""

    kind = "rubric"

    def __init__(self, folder: JudgeFolder, file: RubricFile, spec: str) -> None:
        super().__init__(folder, file, spec)
        self.sees = tuple(file.sees)
        self.repeats = file.repeats
        self._own = own_criteria(file)
        form = [listing(self._own, self._own), instruction("MARK", self._own)]
        self.fingerprint = sha256_of(
            [
                *(self._template, form, file.metrics, self._own, self._clips, self.repeats),
                *(self.server.model, guard.VERSION),
            ]
        )

    def check_task(self, task: Task) -> None:
        wanted = {m for s in task.samples for m in (*s.contract.required, *s.contract.allowed)}
        unseen = [m for m in MODALITIES if m in wanted and m not in self.sees]
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
        missing = [m for m in sample.contract.required if m not in response.modalities]
        if missing or not response.parts:
            reason = f"no {', '.join(missing) or 'response'}, which is required"
            return {name: Score(m.worst, explanation=reason) for name, m in self.metrics.items()}
        try:
            if _is_text(sample, response):
                what = self._show(sample, response)
            else:  # making media fit for the judge takes a while
                what = await asyncio.to_thread(self._show, sample, response)
        except MediaError as error:
            return self.unscored(f"the judge could not be shown the response: {error}")
        except ValueError as error:
            return self.unscored(str(error))
        try:
            judged = await all_of(self._judge(what, repeat) for repeat in range(self.repeats))
        except ValueError as error:
            return self.unscored(f"no usable verdict of {self.server.model}: {error}")
        return self._scores(judged, what)

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
        """What is answered of a response to the sample. ValueError names the target that is wrong."""
        try:
            return criteria_for(self._own, self._expected(sample))
        except ValueError as error:
            raise ValueError(f"targets.{next(iter(self.metrics))}.{error}") from None

    def _show(self, sample: Sample, response: Response) -> _Shown:
        """ValueError if the sample's target is no checklist, MediaError for a broken medium."""
        criteria = self._criteria(sample)
        request = pieces_of(sample.messages, response.turns, self._clips)
        answer, changed = answer_of(response.parts, self._clips)
        return _Shown(self._expected(sample), criteria, request, answer, changed)

    def _messages(self, what: _Shown, fence: str, mark: str) -> Messages:
        rubric = render_template(self._template, fence=fence, expected=what.expected).strip()
        asked = [listing(self._own, what.criteria), instruction(mark, what.criteria)]
        system = "\n\n".join(filter(None, [rubric, *asked]))
        content = [*request_content(what.request, fence), *fenced(what.answer, fence)]
        return messages(system, content)

    async def _judge(self, what: _Shown, repeat: int) -> JudgeAnswer[Verdict]:
        """One verdict. ValueError if the model gives none; other errors go on up."""
        question = JudgeQuestion(
            messages=lambda fence, mark: self._messages(what, fence, mark),
            read=lambda reply, mark: read_verdict(reply, mark, what.criteria),
            type_=Verdict,
            form=response_format(what.criteria),
            temperature=0.0 if self.repeats == 1 else 1.0,
            repeat=self.again * self.repeats + repeat,
        )
        return await self._asker.ask(question, self.spending)

    def _scores(self, judged: list[JudgeAnswer[Verdict]], what: _Shown) -> dict[str, Score]:
        usage = sum((j.usage for j in judged), NO_TOKENS)
        scores: dict[str, Score] = {}
        for name, metric in self.metrics.items():
            criteria = [c for c in what.criteria if c.metric == name]
            low, high = metric.range
            values = [low + weighted_share(criteria, j.verdict.grades) * (high - low) for j in judged]
            details = {**_answers(criteria, [j.verdict for j in judged]), "model": self.server.model}
            if what.changed:
                details["media"] = what.changed
            if len(values) > 1:
                details["spread"] = statistics.stdev(values)
            if not scores:  # the tokens of a verdict are noted once, however many metrics it has
                details["usage"] = to_builtins(usage)
            scores[name] = Score(
                statistics.fmean(values),
                explanation=judged[0].verdict.explanation,
                details=details,
            )
        return scores


def _answers(criteria: Sequence[Criterion], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """What was answered in each repeat: the grades of a metric, or those of each criterion."""
    grades = [[verdict.grades[c.id] for verdict in verdicts] for c in criteria]
    if not any(c.question for c in criteria):
        return {"grades": grades[0]}
    return {
        "criteria": [
            {"id": c.id, "question": c.question, "weight": c.weight, "grades": given}
            for c, given in zip(criteria, grades, strict=True)
        ]
    }


class RubricFile(ChatJudgeFile, tag=RubricScorer.kind, frozen=True, kw_only=True):
    """judge.yaml of a rubric: the `scale` of the grades that the model is asked for, a `checklist` if it
    is to grade criteria apart (without a scale they are answered yes, partly or no), and how often it
    is asked about each response (`repeats`; the mean counts)."""

    scale: tuple[float, float] | None = None
    checklist: list[CriterionEntry] | None = None
    repeats: int = 1

    scorer_type = RubricScorer
    # `expected` is what a sample expects of the parts, or nothing.
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
    """The criteria of a rubric's judge.yaml: its checklist, else one for each metric."""
    if file.checklist is None:
        return [Criterion(name, name, "", 1.0, file.scale) for name in file.metrics]
    (metric,) = file.metrics
    return [
        Criterion(c.id, metric, c.question, c.weight, file.scale, c.optional) for c in file.checklist
    ]
