"""Kind `probe`: multiple-choice questions about a medium of the response, answered by a chat model.

After TIFA (arXiv 2303.11897): the content that a medium should have is divided into questions with one
right choice. They come with the sample (`targets.probe`) and are trusted. Each request has one question
about the first medium of the probed modality, sanitized (`asking/guard.py`) and between lines with a
random fence, and no other part of the response. A verdict repeats a mark that the medium cannot know, so
speech or text in the medium cannot be a verdict. A question without a usable answer leaves the sample
unscored; it never counts as wrong.
"""

from __future__ import annotations

import asyncio
import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct, to_builtins

from eval_anything.concurrency import all_of
from eval_anything.content import NO_TOKENS, Modality, Response, Sample, Score, Usage
from eval_anything.errors import UserError
from eval_anything.files.hashing import sha256_of
from eval_anything.files.mistakes import Mistakes
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
"""Key of a sample's targets with its questions."""


CHANCE_CORRECTED = "_chance_corrected"
"""Suffix of the second metric of a probe, after the name of the first one."""


_LETTERS = "ABCDEF"


_FORM = (
    "Answer with one JSON object and nothing else: "
    '{"mark": "MARK", "choice": "the letter of the choice that you take"}'
)


class ProbeQuestion(Struct, frozen=True, forbid_unknown_fields=True):
    """A question about a medium, its choices, and the right choice, word for word.

    ValueError for empty texts, equal choices, or an answer that is no choice.

    Example:
        >>> ProbeQuestion("Which shape is it?", ["a circle", "a square"], "a circle").answer
        'a circle'
    """

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


_LETTER = re.compile(r"\W*([A-Za-z])\W*|\W*([A-Z])[.):]\s.*", re.DOTALL)


class Choice(Marked, frozen=True):
    """Verdict on one question: the mark, and the letter of a choice."""

    choice: str

    @classmethod
    def tidied(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        choice = members.get("choice")
        letter = _LETTER.fullmatch(choice) if isinstance(choice, str) else None
        return {**members, "choice": (letter[1] or letter[2]).upper()} if letter else dict(members)


class _Answered(NamedTuple):
    """A question, its choices by letter, and the letter that the model chose.

    `chosen` is None, with the reason in `reason`, if the model gave no usable answer.
    """

    question: ProbeQuestion
    lettered: dict[str, str]
    chosen: str | None
    reason: str
    usage: Usage

    @property
    def right(self) -> str:
        """Letter of the right choice."""
        return next(k for k, choice in self.lettered.items() if choice == self.question.answer)


class ProbeScorer(ChatScorer):
    """Scorer by the answers of a chat model to the questions of a sample.

    Canaries are not used. A good model has to choose at random for a blank medium: with two choices its
    share of right answers may be above the middle of the range, and the chance-corrected value, which is
    0 on average, is above 0, the middle of its range, in about half of all cases. The model's errors are
    measured by calibration instead.
    """

    kind = "probe"
    canaries = False
    requires = f"a probe needs the questions of targets.{TARGET}"

    def __init__(self, folder: JudgeFolder, file: ProbeFile, spec: str) -> None:
        super().__init__(folder, file, spec)
        self.probes = Modality(file.probes)
        self.fingerprint = sha256_of(
            [
                *(self._template.source, _FORM, self.probes, file.metrics, self._clips),
                *(self.server.model, guard.VERSION),
                *self.changes,
            ]
        )

    def check_task(self, task: Task) -> None:
        if not any(TARGET in sample.targets for sample in task.samples):
            raise UserError(
                f"judge {self.name} asks the questions of targets.{TARGET}, and no sample of "
                f"{task.name} has any: take another judge, or another task"
            )

    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        """Share of the sample's questions that the model answers right, and this share corrected for
        chance; no scores for a sample without questions."""
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
        template = self._template.render(fence=fence).strip()
        choices = "\n".join(f"{letter}. {choice}" for letter, choice in lettered.items())
        content = [
            *fenced(medium, fence),
            text(f"The question:\n{question.question}\n\nThe choices:\n{choices}"),
        ]
        return messages(f"{template}\n\n{_FORM.replace('MARK', mark)}", content)

    async def _answer(self, sample_id: str, question: ProbeQuestion, medium: Content) -> _Answered:
        """Answer of the model to one question. Errors of the server and the user are not caught."""
        lettered = letter(sample_id, question)
        request = asking.JudgeQuestion(
            messages=lambda fence, mark: self._messages(question, lettered, medium, fence, mark),
            read=lambda reply, mark: _read(reply, mark, lettered),
            type_=Choice,
            form=marked_format({"choice": {"type": "string", "enum": list(lettered)}}),
            repeat=self.again,
        )
        try:
            verdict, usage = await self._asker.ask(request, self.spending, self.fresh_verdicts)
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
            # The other questions are paid for, so their usage is recorded anyway.
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
    """judge.yaml of a probe. There are two metrics, the share of right answers, and this share corrected
    for chance.

    Attributes:
        probes: modality of the medium that the questions are about.
    """

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
    """Questions of a sample. ValueError for a target that is no list of questions."""
    try:
        questions = msgspec.convert(sample.targets[TARGET], list[ProbeQuestion])
    except msgspec.ValidationError as error:
        raise ValueError(f"targets.{TARGET} of sample {sample.id!r}: {error}") from None
    if not questions:
        raise ValueError(f"targets.{TARGET} of sample {sample.id!r} holds no question")
    return questions


def letter(sample_id: str, question: ProbeQuestion) -> dict[str, str]:
    """Choices by letter, in an order that depends on sample and question alone.

    So a model's preference for a letter, or an author's habit to write the right choice first, has no
    effect, and all runs ask the same. The order is by hash, not by a random generator that may change.
    """
    order = sorted(question.choices, key=lambda c: sha256_of([sample_id, question.question, c]))
    return dict(zip(_LETTERS, order, strict=False))


def chance_corrected(share: float, chance: float) -> float:
    """Share of right answers rescaled so that 1 is all right, 0 the average of guessing; at least -1.

    The mean over many samples is 0 for guessing, whatever the numbers of choices; the value of a single
    sample varies.

    Example:
        >>> chance_corrected(1.0, chance=0.25), chance_corrected(0.25, chance=0.25)
        (1.0, 0.0)
    """
    return max(-1.0, (share - chance) / (1 - chance))


def _read(reply: str, mark: str, lettered: dict[str, str]) -> Choice:
    """Last verdict with the mark in a reply. ValueError if there is none, or it names no choice."""
    verdict = last_marked(reply, mark, Choice)
    if verdict.choice not in lettered:
        raise ValueError(f"{verdict.choice[:40]!r} is none of the letters {', '.join(lettered)}")
    return verdict
