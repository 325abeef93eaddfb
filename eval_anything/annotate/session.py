"""One annotator at work: the next question, answers taken, replaced and withdrawn. Safe in threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct

from eval_anything.annotate.log import Annotation, Log, Shown, standing
from eval_anything.annotate.questions import Question
from eval_anything.content import MODALITIES, MediaPart, Modality, Part, TextPart
from eval_anything.errors import UserError
from eval_anything.jsonl import MessageJson, parts_to_json
from eval_anything.tasks.task import Task

LONGEST_CRITIQUE = 20_000
"""Characters of a critique."""


class RefusedError(ValueError):
    """An answer that cannot be taken; the message is for the annotator."""


class AnnotatorAnswer(Struct, forbid_unknown_fields=True):
    """What the page sends: the question, and the answer in the form of its kind."""

    key: str
    vote: list[Modality] | None = None
    preferred: Literal["first", "second", "tie"] | None = None
    grade: int | None = None
    critique: str = ""


class Session:
    """The questions of one annotator, and the file that keeps the answers."""

    def __init__(
        self, task: Task, questions: list[Question], log: Log, annotator: str, scale: int
    ) -> None:
        self._task = task
        self._log = log
        self._annotator = annotator
        self._scale = scale
        self._questions = {question.key: question for question in questions}
        self._order = list(self._questions)
        self._lock = threading.Lock()
        other = next((a for a in log.before if a.scale not in (None, scale)), None)
        if other is not None:
            raise UserError(
                f"{log.path} has grades from 1 to {other.scale}: use --scale {other.scale}, or another "
                "file with --out"
            )
        mine = [a for a in standing(log.before) if a.annotator == annotator]
        self._answers = {a.key: a for a in mine if a.key in self._questions}
        self.media = self._media()

    @property
    def done(self) -> int:
        """How many of the questions are answered."""
        return len(self._answers)

    @property
    def total(self) -> int:
        """How many questions there are."""
        return len(self._questions)

    def state(self) -> dict[str, Any]:
        """What the page shows: progress and the next question."""
        with self._lock:
            return self._state()

    def submit(self, answer: AnnotatorAnswer) -> dict[str, Any]:
        """Keeps an answer, in place of an earlier one to the same question; the state after it.

        RefusedError if it is partial or of another form. InfrastructureError if the disk fails.
        """
        with self._lock:
            question = self._known(answer.key)
            given = self._checked(question, answer)
            annotation = self._annotation(question, **given)
            self._log.append(annotation)
            self._answers.pop(question.key, None)
            self._answers[question.key] = annotation
            return self._state()

    def skip(self, key: str) -> dict[str, Any]:
        """Puts a question off until all others are answered; the state after it."""
        with self._lock:
            question = self._known(key)
            self._order.remove(question.key)
            self._order.append(question.key)
            return self._state()

    def undo(self) -> dict[str, Any]:
        """Withdraws the last answer and asks that question again. RefusedError if there is none."""
        with self._lock:
            if not self._answers:
                raise RefusedError("There is no answer to take back.")
            key, earlier = next(reversed(self._answers.items()))
            self._log.append(self._annotation(self._questions[key], withdrawn=True))
            del self._answers[key]
            self._order.remove(key)
            self._order.insert(0, key)
            return self._state(earlier)

    def _known(self, key: str) -> Question:
        question = self._questions.get(key)
        if question is None:
            raise RefusedError("This question is not asked here: load the page again.")
        return question

    def _checked(self, question: Question, answer: AnnotatorAnswer) -> dict[str, Any]:
        """The fields of the annotation. RefusedError says what is missing or wrong."""
        forms = {"vote": answer.vote, "preference": answer.preferred, "grade": answer.grade}
        if any(value is not None for kind, value in forms.items() if kind != question.kind):
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

    def _annotation(self, question: Question, **given: Any) -> Annotation:
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
            responses=[Shown(r.name, parts_to_json(r.parts, root)) for r in question.responses],
            **given,
        )

    def _state(self, earlier: Annotation | None = None) -> dict[str, Any]:
        """As `state`; `earlier` is what was withdrawn."""
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
        """All media that may be shown, by sha256."""
        shown: list[Part] = []
        for question in self._questions.values():
            shown += (part for m in question.sample.messages for part in m.parts)
            shown += (part for response in question.responses for part in response.parts)
        return {part.sha256: part for part in shown if isinstance(part, MediaPart)}


def _page_form(question: Question) -> dict[str, Any]:
    """A question for the page. Names of runs are not in it: annotators do not see whose it is."""
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
    """An answer as the page sends it."""
    sides = {annotation.shown_first: "first", "tie": "tie", None: None}
    letters = annotation.vote or ""
    return {
        "vote": [m for m in MODALITIES if m.value[0] in letters],
        "preferred": sides.get(annotation.preferred, "second"),
        "grade": annotation.grade,
        "critique": annotation.critique,
    }
