"""Kind `rubric`: a chat model on an OpenAI-compatible server scores a response against a rubric.

The rubric is the system message. Request and response are the user message, the response between
lines marked with a random fence, so that it cannot pass for the rubric, and all of it cleaned
(`guard.py`). The model is asked by `asking.py` and its answer read by `verdict.py`; an answer that is
no verdict leaves the sample unscored.
"""

from __future__ import annotations

import asyncio
import statistics
from typing import Any, NamedTuple

from eval_anything.chat import parse_server
from eval_anything.content import MODALITIES, Response, Sample, Score
from eval_anything.errors import UserError
from eval_anything.judges import JudgeFile, JudgeFolder
from eval_anything.media import MediaError
from eval_anything.scorers import guard
from eval_anything.scorers.asking import Answer, Asker, Messages, Question, all_of
from eval_anything.scorers.base import Scorer
from eval_anything.scorers.shown import Content, shown, text
from eval_anything.scorers.verdict import Verdict, instruction, read_verdict, response_format
from eval_anything.tasks.task import Task, render_template, sha256_of


class _Shown(NamedTuple):
    """What one request to the judge is made of, but for its nonces; `changed` names the media that
    were scaled down or cut for it."""

    expected: Any
    request: Content
    answer: Content
    changed: list[str]


class RubricScorer(Scorer):
    """A rubric with the model that applies it."""

    kind = "rubric"

    def __init__(self, folder: JudgeFolder, file: JudgeFile, spec: str) -> None:
        assert file.template is not None
        assert file.scale is not None
        self.name = folder.name
        self.metrics = file.metrics
        self.scale = file.scale
        self.sees = tuple(file.sees)
        self.server = parse_server(spec, f"--judge {folder.name}={spec}")
        self.paid_as = self.server.model
        self.repeats = file.repeats or 1
        self._rubric = (folder.path / file.template).read_text("utf-8")
        self.fingerprint = sha256_of(
            [self._rubric, file.metrics, file.scale, self.repeats, self.server.model, guard.VERSION]
        )
        self._asker = Asker(f"judge {self.name}", self.server)

    def check_task(self, task: Task) -> None:
        wanted = {m for s in task.samples for m in (*s.contract.required, *s.contract.allowed)}
        unseen = [m for m in MODALITIES if m in wanted and m not in self.sees]
        if unseen:
            raise UserError(
                f"judge {self.name} sees {', '.join(self.sees)}, and responses to {task.name} may "
                f"have {', '.join(unseen)}: take another judge, or another task"
            )

    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        missing = [m for m in sample.contract.required if m not in response.modalities]
        if missing or not response.parts:
            reason = f"no {', '.join(missing) or 'response'}, which is required"
            return {name: Score(m.worst, explanation=reason) for name, m in self.metrics.items()}
        try:
            what = await asyncio.to_thread(self._show, sample, response)
        except MediaError as error:
            return self.unscored(f"the judge could not be shown the response: {error}")
        try:
            judged = await all_of(self._judge(what, repeat) for repeat in range(self.repeats))
        except ValueError as error:
            return self.unscored(f"no usable verdict of {self.server.model}: {error}")
        return self._scores(judged, what.changed)

    def asks(self, sample: Sample) -> int:
        return self.repeats

    async def close(self) -> None:
        await self._asker.close()

    def _show(self, sample: Sample, response: Response) -> _Shown:
        request = [c for m in sample.messages for part in m.parts for c in shown(part)[1]]
        answer: Content = []
        changed = []
        for part in response.parts:
            label, content = shown(part)
            answer += [text(label), *content]
            if label != f"[{part.modality}]":
                changed.append(label.strip("[]"))
        expected = sample.targets.get(next(iter(self.metrics)), {})
        return _Shown(expected, request, answer, changed)

    def _messages(self, what: _Shown, fence: str, mark: str) -> Messages:
        rubric = render_template(self._rubric, fence=fence, expected=what.expected).strip()
        system = f"{rubric}\n\n{instruction(mark, self.metrics, self.scale)}"
        content = [
            text("The request:"),
            *what.request,
            text(f"--- begin answer {fence} ---"),
            *what.answer,
            text(f"--- end answer {fence} ---"),
        ]
        return [{"role": "system", "content": system}, {"role": "user", "content": content}]

    async def _judge(self, what: _Shown, repeat: int) -> Answer[Verdict]:
        """One verdict. ValueError if the model gives none; other errors go on up."""
        question = Question(
            messages=lambda fence, mark: self._messages(what, fence, mark),
            read=lambda reply, mark: read_verdict(reply, mark, self.metrics, self.scale),
            type_=Verdict,
            form=response_format(self.metrics),
            temperature=0.0 if self.repeats == 1 else 1.0,
            repeat=repeat,
        )
        return await self._asker.ask(question, self.spending)

    def _scores(self, judged: list[Answer[Verdict]], changed: list[str]) -> dict[str, Score]:
        low, high = self.scale
        usage = {k: sum(j.usage.get(k, 0) for j in judged) for k in ("input", "output")}
        scores: dict[str, Score] = {}
        for name, metric in self.metrics.items():
            grades = [j.verdict.grades[name] for j in judged]
            share = (statistics.fmean(grades) - low) / (high - low)
            details: dict[str, Any] = {"grades": grades, "model": self.server.model}
            if changed:
                details["media"] = changed
            if len(grades) > 1:
                details["spread"] = statistics.stdev(grades)
            if not scores:  # the tokens of a verdict are noted once, however many metrics it has
                details["usage"] = usage
            scores[name] = Score(
                metric.range[0] + share * (metric.range[1] - metric.range[0]),
                explanation=judged[0].verdict.explanation,
                details=details,
            )
        return scores


def make(folder: JudgeFolder, file: JudgeFile, model: str | None, allow_code: bool) -> Scorer:
    """The scorer of a judge folder of kind rubric; it runs no code of the folder."""
    assert model is not None
    return RubricScorer(folder, file, model)
