"""Kind `pairwise`: a chat model decides which of two responses to the same sample is better.

The other response comes from another run (`--against RUN`). The model is asked twice, with the responses
in both orders: a model that follows the position contradicts itself, which counts as a tie. The value is
1 for a win of the response under evaluation, 0.5 for a tie, 0 for a loss, so its mean is the win rate.
Fences, marks, sanitization and the cache of verdicts are those of the other kinds. For a sample with
several turns, each response is shown with its own conversation.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from msgspec import to_builtins

from eval_anything.concurrency import all_of
from eval_anything.content import NO_TOKENS, Message, Part, Record, Response, Sample, Score
from eval_anything.errors import UserError
from eval_anything.files.hashing import sha256_of
from eval_anything.files.mistakes import Mistakes
from eval_anything.judges.asking import guard
from eval_anything.judges.asking.ask import JudgeAnswer, JudgeQuestion, Messages
from eval_anything.judges.asking.chat_judge import ChatJudgeFile, ChatScorer
from eval_anything.judges.asking.conversation import (
    Pieces,
    answer_of,
    fenced,
    pieces_of,
    request_content,
)
from eval_anything.judges.asking.present import Content, messages
from eval_anything.judges.asking.verdict import Marked, as_words, last_marked, marked_format
from eval_anything.judges.folder import JudgeFolder
from eval_anything.judges.scorer import ComparingScorer
from eval_anything.media import MediaError
from eval_anything.models.turns import messages_before
from eval_anything.tasks.task import Task

_FORM = (
    "Answer with one JSON object and nothing else: "
    '{"mark": "MARK", "explanation": "one or two sentences", "better": "first, second or tie"}'
)


_PROPERTIES = {
    "explanation": {"type": "string"},
    "better": {"type": "string", "enum": ["first", "second", "tie"]},
}


_BETTER = re.compile(r"\W*(?:the )?(first|second|tie)(?: (?:one|answer|response))?\W*")


class PairwiseVerdict(Marked, frozen=True):
    """Verdict on two responses in one order."""

    explanation: str
    better: Literal["first", "second", "tie"]

    @classmethod
    def tidied(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        side = members.get("better")
        better = _BETTER.fullmatch(side.casefold()) if isinstance(side, str) else None
        tidy = {**members, "explanation": as_words(members.get("explanation"))}
        return {**tidy, "better": better[1]} if better else tidy


class _Candidate(NamedTuple):
    """A response, the messages before it, and the answers to earlier turns."""

    parts: Sequence[Part]
    messages: Sequence[Message]
    turns: Sequence[Sequence[Part]] = ()


class _Side(NamedTuple):
    """Content of one of the two responses, and of its request, for the judge model."""

    request: Pieces
    answer: Content


class PairwiseScorer(ChatScorer, ComparingScorer):
    """Scorer by comparisons of a chat model with a rubric; `against` sets the other responses."""

    kind = "pairwise"

    def __init__(self, folder: JudgeFolder, file: PairwiseFile, spec: str) -> None:
        super().__init__(folder, file, spec)
        self._metric = next(iter(file.metrics))
        self._base_fingerprint = sha256_of(
            [self._template.source, _FORM, self._clips, self.server.model, guard.VERSION, *self.changes]
        )
        self.fingerprint = self._base_fingerprint
        self._opponents: Mapping[str, Record] = {}
        self._samples: Mapping[str, Sample] = {}

    @property
    def calibrated_as(self) -> str:
        """Fingerprint of the judge alone, without the responses that a run compares with."""
        return self._base_fingerprint

    def against(self, task: Task, opponents: Mapping[str, Record], run: str) -> None:
        for sample_id, record in opponents.items():
            sample = task.by_id.get(sample_id)
            if sample is not None and task.item(sample) != record.item:
                raise UserError(
                    f"--against {run}: its {task.name} is another version of the task ({sample_id} "
                    "differs): run it again"
                )
        self._opponents = opponents
        self._samples = task.by_id
        responses = [
            [r.item, r.error, *([part.key for part in parts] for parts in (r.parts, *r.turns))]
            for r in opponents.values()
        ]
        self.fingerprint = sha256_of([self._base_fingerprint, responses])

    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        """Score of a response against that of the other run: 1 win, 0.5 tie, 0 loss."""
        if not response.parts:
            return {self._metric: Score(0.0, explanation="there is no response")}
        opponent = self._opponents.get(sample.id)
        if opponent is None:
            return self.unscored("the other run has no response to this sample")
        if opponent.error is not None and not opponent.error.of_model:
            return self.unscored("the other run skipped this sample, which a server failed")
        if opponent.error is not None:
            return {self._metric: Score(1.0, explanation="the other model failed")}
        opponent_messages = sample.messages
        if opponent.turns:
            opponent_messages = messages_before(self._samples[sample.id], opponent.turns)
        return await self._compared(
            _Candidate(response.parts, sample.messages, response.turns),
            _Candidate(opponent.parts, opponent_messages, opponent.turns),
        )

    async def compare(
        self, sample: Sample, first: Sequence[Part], second: Sequence[Part]
    ) -> dict[str, Score]:
        return await self._compared(
            _Candidate(first, sample.messages), _Candidate(second, sample.messages)
        )

    async def _compared(self, candidate: _Candidate, opponent: _Candidate) -> dict[str, Score]:
        try:
            sides = await asyncio.to_thread(self._sides, candidate, opponent)
        except MediaError as error:
            return self.unscored(f"the judge could not be shown a response: {error}")
        try:
            first, second = await all_of(self._ask(*order) for order in (sides, sides[::-1]))
        except ValueError as error:
            return self.unscored(f"no usable verdict of {self.server.model}: {error}")
        return {self._metric: self._score_of(first, second)}

    def asks(self, sample: Sample) -> int:
        return 2

    def _sides(self, candidate: _Candidate, opponent: _Candidate) -> list[_Side]:
        clips = self._clips
        request = opponent_request = pieces_of(candidate.messages, candidate.turns, clips)
        if (opponent.messages, opponent.turns) != (candidate.messages, candidate.turns):
            opponent_request = pieces_of(opponent.messages, opponent.turns, clips)
        answers = (answer_of(response.parts, clips)[0] for response in (candidate, opponent))
        return [_Side(*side) for side in zip((request, opponent_request), answers, strict=True)]

    def _messages(self, first: _Side, second: _Side, fence: str, mark: str) -> Messages:
        rubric = self._template.render(fence=fence).strip()
        shared = first.request == second.request
        content = request_content(first.request, fence) if shared else []
        for name, side in (("first", first), ("second", second)):
            if not shared:
                content += request_content(side.request, fence, name)
            content += fenced(side.answer, fence, side=name)
        return messages(f"{rubric}\n\n{_FORM.replace('MARK', mark)}", content)

    async def _ask(self, first: _Side, second: _Side) -> JudgeAnswer[PairwiseVerdict]:
        question = JudgeQuestion(
            messages=lambda fence, mark: self._messages(first, second, fence, mark),
            read=lambda reply, mark: last_marked(reply, mark, PairwiseVerdict),
            type_=PairwiseVerdict,
            form=marked_format(_PROPERTIES),
            repeat=self.again,
        )
        return await self._asker.ask(question, self.spending, self.fresh_verdicts)

    def _score_of(
        self, first: JudgeAnswer[PairwiseVerdict], second: JudgeAnswer[PairwiseVerdict]
    ) -> Score:
        """Score of the response under evaluation, which has the first position in the first verdict, and
        the second position in the second."""
        orders = (first.verdict.better, second.verdict.better)
        win = {("first", "second"): 1.0, ("second", "first"): 0.0}.get(orders, 0.5)
        return Score(
            win,
            explanation=first.verdict.explanation,
            details={
                "orders": list(orders),
                "model": self.server.model,
                "usage": to_builtins(NO_TOKENS + first.usage + second.usage),
            },
        )


class PairwiseFile(ChatJudgeFile, tag=PairwiseScorer.kind, frozen=True, kw_only=True):
    """judge.yaml of a comparison of two responses; it has one metric, a win rate."""

    scorer_type = PairwiseScorer

    def check(self, folder: Path, mistakes: Mistakes) -> None:
        super().check(folder, mistakes)
        if [metric.range for metric in self.metrics.values()] != [(0.0, 1.0)]:
            mistakes.add(
                "a pairwise judge gives one metric, a win rate with the range [0, 1]", "metrics"
            )
