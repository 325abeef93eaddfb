"""Session of one annotator: the next question; answers accepted, replaced, withdrawn. Thread-safe."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct

from eval_anything.annotate.log import AnnotatedResponse, Annotation, Chosen, Log, latest_answers
from eval_anything.annotate.questions import Question
from eval_anything.content import MODALITIES, MediaPart, Modality, Part, TextPart
from eval_anything.errors import UserError
from eval_anything.jsonl import MessageJson, parts_to_json
from eval_anything.tasks.task import Task

LONGEST_CRITIQUE = 20_000
"""Largest number of characters in a critique."""


class RefusedError(ValueError):
    """An answer that is incomplete or invalid; the message is for the annotator."""


class AnnotatorAnswer(Struct, forbid_unknown_fields=True):
    """An answer as the page sends it: the key of the question, and the field of its kind."""

    key: str
    vote: list[Modality] | None = None
    preferred: Literal["first", "second", "tie"] | None = None
    grade: int | None = None
    critique: str = ""


class Session:
    """The questions of one annotator, and the file that stores the answers; with the stratum of each
    sample that `--next` has chosen."""

    def __init__(
        self,
        task: Task,
        questions: list[Question],
        log: Log,
        annotator: str,
        scale: int,
        chosen: Mapping[str, Chosen] | None = None,
    ) -> None:
        self._task = task
        self._log = log
        self._annotator = annotator
        self._scale = scale
        self._chosen = chosen or {}
        self._questions = {question.key: question for question in questions}
        self._order = list(self._questions)
        self._lock = threading.Lock()
        other = next((a for a in log.before if a.scale not in (None, scale)), None)
        if other is not None:
            raise UserError(
                f"{log.path} has grades from 1 to {other.scale}: use --scale {other.scale}, or another "
                "file with --out"
            )
        own_answers = [a for a in latest_answers(log.before) if a.annotator == annotator]
        self._answers = {a.key: a for a in own_answers if a.key in self._questions}
        self.media = self._media()

    @property
    def done(self) -> int:
        """Number of questions answered."""
        return len(self._answers)

    @property
    def total(self) -> int:
        """Number of questions."""
        return len(self._questions)

    def state(self) -> dict[str, Any]:
        """Data for the page: progress and the next question."""
        with self._lock:
            return self._state()

    def submit(self, answer: AnnotatorAnswer) -> dict[str, Any]:
        """Stores an answer, in place of an earlier one to the same question; returns the new state.

        Raises:
            RefusedError: the answer is incomplete, or of another form than the question.
            InfrastructureError: the disk fails.
        """
        with self._lock:
            question = self._question(answer.key)
            fields = self._answer_fields(question, answer)
            annotation = self._annotation(question, **fields)
            self._log.append(annotation)
            self._answers.pop(question.key, None)
            self._answers[question.key] = annotation
            return self._state()

    def skip(self, key: str) -> dict[str, Any]:
        """Moves a question behind all others; returns the new state."""
        with self._lock:
            question = self._question(key)
            self._order.remove(question.key)
            self._order.append(question.key)
            return self._state()

    def undo(self) -> dict[str, Any]:
        """Withdraws the last answer and asks its question again; returns the new state. RefusedError if
        there is no answer."""
        with self._lock:
            if not self._answers:
                raise RefusedError("There is no answer to take back.")
            key, earlier = next(reversed(self._answers.items()))
            self._log.append(self._annotation(self._questions[key], withdrawn=True))
            del self._answers[key]
            self._order.remove(key)
            self._order.insert(0, key)
            return self._state(earlier)

    def _question(self, key: str) -> Question:
        question = self._questions.get(key)
        if question is None:
            raise RefusedError("This question is not asked here: load the page again.")
        return question

    def _answer_fields(self, question: Question, answer: AnnotatorAnswer) -> dict[str, Any]:
        """Fields of the annotation, checked. RefusedError if one is missing or wrong."""
        forms = {"vote": answer.vote, "preference": answer.preferred, "grade": answer.grade}
        if any(chosen_form is not None for kind, chosen_form in forms.items() if kind != question.kind):
            raise RefusedError("The answer belongs to another kind of question.")
        critique = answer.critique.strip()
        if critique and question.kind != "grade":
            raise RefusedError("A critique belongs to a single response.")
        if question.kind == "vote":
            chosen = answer.vote or []
            if not chosen:
                raise RefusedError("Choose at least one modality.")
            if len(set(chosen)) < len(chosen) or not set(chosen) <= set(self._task.file.outputs):
                raise RefusedError("Choose each modality once, of those that are offered.")
            return {"vote": "".join(m.value[0] for m in MODALITIES if m in chosen)}
        if question.kind == "preference":
            if answer.preferred is None:
                raise RefusedError("Choose the first response, the second, or a tie.")
            first, second = ("b", "a") if question.swapped else ("a", "b")
            names = {"first": first, "second": second, "tie": "tie"}
            return {"preferred": names[answer.preferred], "shown_first": first}
        if answer.grade is None:
            raise RefusedError(
                f"Choose a grade from 1 to {self._scale}; a critique alone is not enough."
            )
        if not 1 <= answer.grade <= self._scale:
            raise RefusedError(f"The grade must be from 1 to {self._scale}.")
        if len(critique) > LONGEST_CRITIQUE:
            raise RefusedError(f"The critique has more than {LONGEST_CRITIQUE} characters: shorten it.")
        return {"grade": answer.grade, "scale": self._scale, "critique": critique}

    def _annotation(self, question: Question, **answer_fields: Any) -> Annotation:
        root = self._log.path.resolve().parent
        sample = question.sample
        return Annotation(
            kind=question.kind,
            key=question.key,
            annotator=self._annotator,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            task=self._task.name,
            sample_id=sample.id,
            source_id=sample.source_id,
            item=question.item,
            messages=[MessageJson(m.role, parts_to_json(m.parts, root)) for m in sample.messages],
            contract=sample.contract,
            targets=sample.targets,
            metadata=sample.metadata,
            responses=[
                AnnotatedResponse(r.name, parts_to_json(r.parts, root)) for r in question.responses
            ],
            chosen=self._chosen.get(sample.id),
            **answer_fields,
        )

    def _state(self, earlier: Annotation | None = None) -> dict[str, Any]:
        """Data for the page, without the lock; `earlier` is the answer that was withdrawn."""
        key = next((key for key in self._order if key not in self._answers), None)
        return {
            "task": self._task.name,
            "title": self._task.file.title,
            "annotator": self._annotator,
            "file": self._log.path.name,
            "modalities": [m for m in MODALITIES if m in self._task.file.outputs],
            "scale": self._scale,
            "done": self.done,
            "total": self.total,
            "question": None if key is None else _page_form(self._questions[key]),
            "earlier": None if earlier is None else _earlier(earlier),
        }

    def _media(self) -> Mapping[str, MediaPart]:
        """Media of all questions by sha256: the server sends no others."""
        parts: list[Part] = []
        for question in self._questions.values():
            parts += (part for m in question.sample.messages for part in m.parts)
            parts += (part for response in question.responses for part in response.parts)
        return {part.sha256: part for part in parts if isinstance(part, MediaPart)}


def _page_form(question: Question) -> dict[str, Any]:
    """A question for the page, without names of runs: annotators must not know the models."""
    return {
        "kind": question.kind,
        "key": question.key,
        "sample": question.sample.id,
        "messages": [[m.role, [_part(p) for p in m.parts]] for m in question.sample.messages],
        "responses": [[_part(p) for p in response.parts] for response in question.shown],
    }


def _part(part: Part) -> dict[str, str]:
    if isinstance(part, TextPart):
        return {"modality": "text", "text": part.text}
    return {"modality": part.modality.value, "media": part.sha256}


def _earlier(annotation: Annotation) -> dict[str, Any]:
    """An answer in the form in which the page sends it."""
    sides = {annotation.shown_first: "first", "tie": "tie", None: None}
    letters = annotation.vote or ""
    return {
        "vote": [m for m in MODALITIES if m.value[0] in letters],
        "preferred": sides.get(annotation.preferred, "second"),
        "grade": annotation.grade,
        "critique": annotation.critique,
    }
