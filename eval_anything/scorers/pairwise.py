"""Kind `pairwise`: a chat model says which of two responses to the same sample is better.

The other response comes from another run (`--against RUN`). The model is asked twice, with the
responses in both orders: a model that follows the position contradicts itself, and that is a tie. The
value is 1 for a win of the response under evaluation, 0.5 for a tie, 0 for a loss: its mean is the win
rate. Fences, marks, cleaning and kept verdicts are those of the other kinds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal

from eval_anything.chat import parse_server
from eval_anything.content import Part, Record, Response, Sample, Score, TextPart
from eval_anything.errors import UserError
from eval_anything.judges import JudgeFile, JudgeFolder
from eval_anything.media import MediaError
from eval_anything.scorers import guard
from eval_anything.scorers.asking import Answer, Asker, Messages, Question, all_of
from eval_anything.scorers.base import Scorer
from eval_anything.scorers.shown import Content, clips_of, shown, text
from eval_anything.scorers.verdict import Marked, last_marked, marked_format
from eval_anything.tasks.task import Task, render_template, sha256_of

_FORM = (
    "Answer with one JSON object and nothing else: "
    '{"mark": "MARK", "explanation": "one or two sentences", "better": "first, second or tie"}'
)
_PROPERTIES = {
    "explanation": {"type": "string"},
    "better": {"type": "string", "enum": ["first", "second", "tie"]},
}


class Preference(Marked, frozen=True):
    """The verdict on two responses in one order."""

    explanation: str
    better: Literal["first", "second", "tie"]


class PairwiseScorer(Scorer):
    """A rubric for comparing with the model that applies it; `against` gives it the other responses."""

    kind = "pairwise"

    def __init__(self, folder: JudgeFolder, file: JudgeFile, spec: str) -> None:
        assert file.template is not None
        self.name = folder.name
        self.metrics = file.metrics
        self.server = parse_server(spec, f"--judge {folder.name}={spec}")
        self.paid_as = self.server.model
        self._metric = next(iter(file.metrics))
        self._rubric = (folder.path / file.template).read_text("utf-8")
        self._clips = clips_of(file)
        self._own = sha256_of([self._rubric, _FORM, self._clips, self.server.model, guard.VERSION])
        self.fingerprint = self._own
        self._asker = Asker(f"judge {self.name}", self.server)
        self._others: Mapping[str, Record] = {}

    @property
    def calibrated_as(self) -> str:
        """Without the responses that a run compares with: they are no part of what the judge is."""
        return self._own

    def against(self, task: Task, others: Mapping[str, Record], run: str) -> None:
        """Takes the other run's records of a task, by sample id. UserError if it was another task."""
        for sample_id, record in others.items():
            sample = task.by_id.get(sample_id)
            if sample is not None and task.item(sample) != record.item:
                raise UserError(
                    f"--against {run}: its {task.name} is another version of the task ({sample_id} "
                    "differs): run it again"
                )
        self._others = others
        said = [
            [r.item, r.error, [p.text if isinstance(p, TextPart) else p.sha256 for p in r.parts]]
            for r in others.values()
        ]
        self.fingerprint = sha256_of([self._own, said])

    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        if not response.parts:
            return {self._metric: Score(0.0, explanation="there is no response")}
        other = self._others.get(sample.id)
        if other is None:
            return self.unscored("the other run has no response to this sample")
        if other.error is not None:
            return {self._metric: Score(1.0, explanation="the other model failed")}
        return await self.compare(sample, response.parts, other.parts)

    async def compare(
        self, sample: Sample, parts: Sequence[Part], others: Sequence[Part]
    ) -> dict[str, Score]:
        """Whether the first of two responses to the sample is better; both have content."""
        try:
            mine, theirs, request = await asyncio.to_thread(self._shown, sample, parts, others)
        except MediaError as error:
            return self.unscored(f"the judge could not be shown a response: {error}")
        try:
            orders = ((mine, theirs), (theirs, mine))
            first, second = await all_of(self._ask(request, *order) for order in orders)
        except ValueError as error:
            return self.unscored(f"no usable verdict of {self.server.model}: {error}")
        return {self._metric: self._value(first, second)}

    def asks(self, sample: Sample) -> int:
        return 2

    async def close(self) -> None:
        await self._asker.close()

    def _shown(
        self, sample: Sample, parts: Sequence[Part], others: Sequence[Part]
    ) -> tuple[Content, Content, Content]:
        clips = self._clips
        request = [c for m in sample.messages for part in m.parts for c in shown(part, clips)[1]]
        both: list[Content] = []
        for answer in (parts, others):
            content: Content = []
            for label, shown_part in (shown(part, clips) for part in answer):
                content += [text(label), *shown_part]
            both.append(content)
        return both[0], both[1], request

    def _messages(
        self, request: Content, first: Content, second: Content, fence: str, mark: str
    ) -> Messages:
        rubric = render_template(self._rubric, fence=fence).strip()
        content = [text("The request:"), *request]
        for name, answer in (("first", first), ("second", second)):
            begin, end = (f"--- {word} answer {fence} ({name}) ---" for word in ("begin", "end"))
            content += [text(begin), *answer, text(end)]
        return [
            {"role": "system", "content": f"{rubric}\n\n{_FORM.replace('MARK', mark)}"},
            {"role": "user", "content": content},
        ]

    async def _ask(self, request: Content, first: Content, second: Content) -> Answer[Preference]:
        question = Question(
            messages=lambda fence, mark: self._messages(request, first, second, fence, mark),
            read=lambda reply, mark: last_marked(reply, mark, Preference),
            type_=Preference,
            form=marked_format(_PROPERTIES),
            repeat=self.again,
        )
        return await self._asker.ask(question, self.spending)

    def _value(self, first: Answer[Preference], second: Answer[Preference]) -> Score:
        """`first` saw the response in the first place, `second` in the second."""
        orders = (first.verdict.better, second.verdict.better)
        value = {("first", "second"): 1.0, ("second", "first"): 0.0}.get(orders, 0.5)
        return Score(
            value,
            explanation=first.verdict.explanation,
            details={
                "orders": list(orders),
                "model": self.server.model,
                "usage": {
                    key: first.usage.get(key, 0) + second.usage.get(key, 0)
                    for key in ("input", "output")
                },
            },
        )


def make(folder: JudgeFolder, file: JudgeFile, model: str | None, allow_code: bool) -> Scorer:
    """The scorer of a judge folder of kind pairwise; it runs no code of the folder."""
    assert model is not None
    return PairwiseScorer(folder, file, model)
