"""Kind `probe`: multiple-choice questions about a medium of the response, answered by a chat model.

After TIFA: whether a medium shows what was asked for is broken down into questions with one right
choice. They come with the sample (`targets.probe`) and are trusted. One request asks one question about
the first medium of the probed modality, cleaned (`asking/guard.py`) and between lines with a random
fence; nothing else of the response is shown. A verdict repeats a mark that the medium cannot know, so
that what is spoken or written in it is no verdict. A question without a usable answer leaves the sample
unscored; it never counts as wrong.
"""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct, to_builtins

from eval_anything.concurrency import all_of
from eval_anything.content import NO_TOKENS, Modality, Response, Sample, Score, Usage
from eval_anything.errors import UserError
from eval_anything.files.hashing import sha256_of
from eval_anything.files.mistakes import Mistakes
from eval_anything.files.templates import render_template
from eval_anything.judges.asking import ask as asking
from eval_anything.judges.asking import guard
from eval_anything.judges.asking.chat_judge import ChatJudgeFile, ChatScorer
from eval_anything.judges.asking.conversation import answer_of, fenced
from eval_anything.judges.asking.present import Content, messages, text
from eval_anything.judges.asking.verdict import Marked, last_marked, marked_format
from eval_anything.judges.folder import JudgeFolder
from eval_anything.media import MediaError
from eval_anything.tasks.task import Task

TARGET = "probe"
"""The target of a sample that holds its questions."""


CHANCE_CORRECTED = "_chance_corrected"
"""Ends the name of a probe's second metric, after the name of its first."""


_LETTERS = "ABCDEF"


_FORM = (
    "Answer with one JSON object and nothing else: "
    '{"mark": "MARK", "choice": "the letter of the choice that you take"}'
)


class ProbeQuestion(Struct, frozen=True, forbid_unknown_fields=True):
    """A question about a medium, its choices, and which of them is right, word for word."""

    question: str
    choices: list[str]
    answer: str

    def __post_init__(self) -> None:
        if not self.question.strip() or not all(choice.strip() for choice in self.choices):
            raise ValueError("a question and its choices cannot be empty")
        if not 2 <= len(self.choices) <= len(_LETTERS):
            raise ValueError(f"a question has 2 to {len(_LETTERS)} choices, not {len(self.choices)}")
        if len({choice.strip() for choice in self.choices}) < len(self.choices):
            raise ValueError("two choices are the same")
        if self.answer not in self.choices:
            raise ValueError(f"the answer {self.answer!r} is none of the choices")


class Choice(Marked, frozen=True):
    """The verdict on one question: the mark, and the letter of a choice."""

    choice: str


class _Answered(NamedTuple):
    """A question with its choices as they were lettered, and the letter that the model took.

    `chosen` is None, and `reason` says why, if the model gave no usable answer.
    """

    question: ProbeQuestion
    lettered: dict[str, str]
    chosen: str | None
    reason: str
    usage: Usage

    @property
    def right(self) -> str:
        return next(k for k, choice in self.lettered.items() if choice == self.question.answer)


class ProbeScorer(ChatScorer):
    """Questions with the model that answers them.

    Canaries mean nothing here. A fair model has to take some choice, so it is right about a blank
    medium as often as chance has it: that may be more than half of the range with two choices, and the
    chance-corrected value is 0, the middle of its range, on average, so it lies above in about half of
    all draws. How often the model is right is measured by calibration instead.
    """

    kind = "probe"
    canaries = False
    requires = f"a probe needs the questions of targets.{TARGET}"

    def __init__(self, folder: JudgeFolder, file: ProbeFile, spec: str) -> None:
        super().__init__(folder, file, spec)
        self.probes = Modality(file.probes)
        self.fingerprint = sha256_of(
            [
                *(self._template, _FORM, self.probes, file.metrics, self._clips),
                *(self.server.model, guard.VERSION),
            ]
        )

    def check_task(self, task: Task) -> None:
        if not any(TARGET in sample.targets for sample in task.samples):
            raise UserError(
                f"judge {self.name} asks the questions of targets.{TARGET}, and no sample of "
                f"{task.name} has any: take another judge, or another task"
            )

    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        if TARGET not in sample.targets:
            return {}
        try:
            questions = questions_of(sample)
        except ValueError as error:
            return self.unscored(str(error))
        medium = response.first(self.probes)
        if medium is None:
            reason = f"no {self.probes}, which the questions are about"
            return {name: Score(m.worst, explanation=reason) for name, m in self.metrics.items()}
        try:
            content, _ = await asyncio.to_thread(answer_of, [medium], self._clips)
        except MediaError as error:
            return self.unscored(f"the judge could not be shown the response: {error}")
        return self._scores(await all_of(self._answer(sample.id, q, content) for q in questions))

    def asks(self, sample: Sample) -> int:
        return len(sample.targets.get(TARGET, ()))

    def _messages(
        self, question: ProbeQuestion, lettered: dict[str, str], medium: Content, fence: str, mark: str
    ) -> asking.Messages:
        template = render_template(self._template, fence=fence).strip()
        choices = "\n".join(f"{letter}. {choice}" for letter, choice in lettered.items())
        content = [
            *fenced(medium, fence),
            text(f"The question:\n{question.question}\n\nThe choices:\n{choices}"),
        ]
        return messages(f"{template}\n\n{_FORM.replace('MARK', mark)}", content)

    async def _answer(self, sample_id: str, question: ProbeQuestion, medium: Content) -> _Answered:
        """What the model takes for the answer; errors of the server and the user go on up."""
        lettered = letter(sample_id, question)
        asked = asking.JudgeQuestion(
            messages=lambda fence, mark: self._messages(question, lettered, medium, fence, mark),
            read=lambda reply, mark: _read(reply, mark, lettered),
            type_=Choice,
            form=marked_format({"choice": {"type": "string", "enum": list(lettered)}}),
            repeat=self.again,
        )
        try:
            verdict, usage = await self._asker.ask(asked, self.spending)
        except ValueError as error:
            return _Answered(question, lettered, None, str(error), Usage())
        return _Answered(question, lettered, verdict.choice, "", usage)

    def _scores(self, answers: list[_Answered]) -> dict[str, Score]:
        details = {
            "answers": [
                {
                    "question": a.question.question,
                    "choices": list(a.lettered.values()),
                    "chosen": a.chosen,
                    "right": a.right,
                }
                for a in answers
            ],
            "model": self.server.model,
            "usage": to_builtins(sum((a.usage for a in answers), NO_TOKENS)),
        }
        name, corrected = self.metrics
        failed = [a for a in answers if a.chosen is None]
        if failed:
            scores = self.unscored(
                f"no usable answer of {self.server.model} to {len(failed)} of {len(answers)} questions, "
                f"such as {failed[0].question.question!r}: {failed[0].reason}"
            )
            # What the other questions took is paid, so it is noted all the same.
            return {**scores, name: msgspec.structs.replace(scores[name], details=details)}
        share = statistics.fmean(a.chosen == a.right for a in answers)
        chance = statistics.fmean(1 / len(a.lettered) for a in answers)
        low, high = self.metrics[name].range
        right = f"{sum(a.chosen == a.right for a in answers)} of {len(answers)} answers are right"
        return {
            name: Score(low + share * (high - low), explanation=right, details=details),
            corrected: Score(
                chance_corrected(share, chance),
                explanation=f"{right}; guessing gives {chance:.0%} on average",
                details={"share": share, "chance": chance},
            ),
        }


class ProbeFile(ChatJudgeFile, tag=ProbeScorer.kind, frozen=True, kw_only=True):
    """judge.yaml of a probe: `probes` is the modality of the medium that its questions are about. It has
    two metrics, the share of right answers and the same corrected for chance."""

    probes: Literal["image", "audio", "video"]

    scorer_type = ProbeScorer

    def check(self, folder: Path, mistakes: Mistakes) -> None:
        super().check(folder, mistakes)
        names = list(self.metrics)
        if len(names) != 2 or names[1] != names[0] + CHANCE_CORRECTED:
            mistakes.add(f"a probe judge has two metrics: NAME, then NAME{CHANCE_CORRECTED}", "metrics")
        elif self.metrics[names[1]].range != (-1, 1):
            mistakes.add(f"{names[1]} must have the range [-1, 1]: 0 is chance", "metrics")
        if any(metric.better != "higher" for metric in self.metrics.values()):
            mistakes.add("more right answers are better: leave out `better:`", "metrics")
        if self.probes not in self.sees:
            mistakes.add(f"the judge probes {self.probes}, so it must see it: add it to `sees:`", "sees")


def questions_of(sample: Sample) -> list[ProbeQuestion]:
    """The questions of a sample. ValueError names its target and what is wrong with it."""
    try:
        questions = msgspec.convert(sample.targets[TARGET], list[ProbeQuestion])
    except msgspec.ValidationError as error:
        raise ValueError(f"targets.{TARGET} of sample {sample.id!r}: {error}") from None
    if not questions:
        raise ValueError(f"targets.{TARGET} of sample {sample.id!r} holds no question")
    return questions


def letter(sample_id: str, question: ProbeQuestion) -> dict[str, str]:
    """The choices by letter, in an order that depends on sample and question alone.

    So a model that prefers a letter, or authors who put the right choice first, cannot matter, and
    all runs ask the same. Ordered by hash, they do not depend on how a generator shuffles either.
    """
    order = sorted(question.choices, key=lambda c: sha256_of([sample_id, question.question, c]))
    return dict(zip(_LETTERS, order, strict=False))


def chance_corrected(share: float, chance: float) -> float:
    """1 if all answers are right, 0 for what guessing gives on average, below 0 for less than that.

    A guesser is at 0 over many samples, whatever the numbers of choices; one sample scatters.
    """
    return max(-1.0, (share - chance) / (1 - chance))


def _read(reply: str, mark: str, lettered: dict[str, str]) -> Choice:
    """The last verdict with the mark. ValueError if there is none, or it names no choice."""
    verdict = last_marked(reply, mark, Choice)
    if verdict.choice not in lettered:
        raise ValueError(f"{verdict.choice[:40]!r} is none of the letters {', '.join(lettered)}")
    return verdict
