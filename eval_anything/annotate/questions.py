"""Questions for annotators: modalities that suit a prompt, preferences between two responses, grades."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from eval_anything.annotate.log import Kind
from eval_anything.content import MediaPart, Message, Part, Response, Sample
from eval_anything.errors import UserError
from eval_anything.files.hashing import sha256_of
from eval_anything.media import MediaError, MediaStore, medium_bytes
from eval_anything.models.base import Request, Sampling
from eval_anything.models.replay.model import ReplayModel
from eval_anything.models.turns import converse
from eval_anything.runs.directory import is_run, read_outlines
from eval_anything.tasks.task import Task


class Candidate(NamedTuple):
    """A response to annotate, and the name of its run or file."""

    name: str
    parts: tuple[Part, ...]


class Question(Struct, frozen=True):
    """One question about a sample. The sample's messages are those that the responses answer; with
    `swapped` the second response is shown first."""

    kind: Kind
    key: str
    sample: Sample
    item: str
    responses: tuple[Candidate, ...] = ()
    swapped: bool = False

    @property
    def shown(self) -> tuple[Candidate, ...]:
        """The responses in the order of the page."""
        return self.responses[::-1] if self.swapped else self.responses


class QuestionList(NamedTuple):
    """Questions in the order of an annotator, and the number of those left out because a response is
    missing or failed."""

    questions: list[Question]
    left_out: int


def make_questions(
    task: Task,
    samples: Sequence[Sample],
    outputs: Sequence[Path],
    against: Path | None,
    store: MediaStore,
    annotator: str,
    seed: int,
) -> QuestionList:
    """Makes votes if there are no outputs, preferences if there is `against`, else grades.

    All media are put into the store. The order of the questions and of the sides depends on the seed
    and the annotator alone.

    Args:
        task: the task of the samples.
        samples: the samples to ask about.
        outputs: runs or files with responses.
        against: a run or file whose responses the others are compared to.
        store: receives the media, for the page.
        annotator: the annotator's name.
        seed: the seed of the orders.

    Raises:
        UserError: outputs belong to another version of the task, or two responses answer different
            messages.
    """
    stored_samples = [_with_stored_media(sample, task.question(sample), store) for sample in samples]
    questions = [] if outputs else [_question("vote", task, sample, sample) for sample in stored_samples]
    missing = 0
    rivals = [] if against is None else [_answers(task, stored_samples, against, store)]
    kind: Kind = "preference" if rivals else "grade"
    for path in outputs:
        for answers in zip(_answers(task, stored_samples, path, store), *rivals, strict=True):
            present = [answer for answer in answers if answer is not None]
            if len(present) < len(answers):
                missing += 1
                continue
            if len({sha256_of([m.key for m in a.sample.messages]) for a in present}) > 1:
                raise UserError(
                    f"{path} and {against} were asked different things in sample "
                    f"{present[0].sample.id!r}, whose later questions show earlier answers: grade them "
                    "one by one, without --against"
                )
            original = task.by_id[present[0].sample.id]
            candidates = tuple(answer.candidate for answer in present)
            questions.append(_question(kind, task, original, present[0].sample, candidates))
    unique = list({question.key: question for question in questions}.values())
    random.Random(f"{seed}\0{annotator}").shuffle(unique)
    return QuestionList([_sided(question, annotator, seed) for question in unique], missing)


class _Answer(NamedTuple):
    sample: Sample
    candidate: Candidate


def _question(
    kind: Kind, task: Task, original: Sample, shown_sample: Sample, responses: tuple[Candidate, ...] = ()
) -> Question:
    item_id = task.item(original)
    part_keys = [[[part.key for part in response.parts]] for response in responses]
    key = sha256_of([kind, task.name, original.id, item_id, part_keys])
    return Question(kind, key, shown_sample, item_id, responses)


def _sided(question: Question, annotator: str, seed: int) -> Question:
    if question.kind != "preference":
        return question
    swapped = random.Random(f"{seed}\0{annotator}\0{question.key}").random() < 0.5
    return msgspec.structs.replace(question, swapped=swapped)


def _with_stored_media(sample: Sample, messages: Sequence[Message], store: MediaStore) -> Sample:
    """The sample with these messages, the media of which are put into the store."""
    stored = tuple(Message(m.role, _stored(m.parts, store)) for m in messages)
    return msgspec.structs.replace(sample, messages=stored)


def _stored(parts: Sequence[Part], store: MediaStore) -> tuple[Part, ...]:
    try:
        return tuple(
            store.put(medium_bytes(part.path), part.modality) if isinstance(part, MediaPart) else part
            for part in parts
        )
    except (OSError, MediaError) as error:
        raise UserError(f"a medium of the task cannot be shown: {error}") from None


def _answers(
    task: Task, samples: Sequence[Sample], path: Path, store: MediaStore
) -> list[_Answer | None]:
    """The response to each sample at its first repeat, with the messages of its last turn; None where
    it is missing or has failed."""
    if is_run(path):
        _check_items(task, path)
    model = ReplayModel.from_spec(str(path), path, {"allow_missing": "1"})
    model.prepare([task], [(task.name, sample.id, 0) for sample in samples], [task.name])
    requests = [Request(task.name, s.id, 0, s.messages, Sampling()) for s in samples]
    by_key = {(task.name, sample.id): sample for sample in samples}

    async def ask() -> list[tuple[Request, Response]]:
        return await converse(
            requests, by_key, lambda turn: model.generate(turn, store), lambda response: response
        )

    answers: list[_Answer | None] = []
    for sample, (request, response) in zip(samples, asyncio.run(ask()), strict=True):
        if response.error is not None or not response.parts:
            answers.append(None)
            continue
        shown_sample = _with_stored_media(sample, request.messages, store)
        answers.append(_Answer(shown_sample, Candidate(path.resolve().stem, response.parts)))
    if not any(answers):
        raise UserError(f"{path} has no response to {task.name} that can be shown")
    return answers


def _check_items(task: Task, run: Path) -> None:
    items = {sample.id: task.item(sample) for sample in task.samples}
    changed = [r.sample_id for r in read_outlines(run, task.name) if items.get(r.sample_id) != r.item]
    if changed:
        raise UserError(
            f"{run} answered another version of {task.name}: {len(changed)} of its samples, first "
            f"{changed[0]!r}, have changed since. Run the model again."
        )
