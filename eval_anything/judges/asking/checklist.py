"""Criteria of a rubric, which the judge model answers one by one, and the values of its answers.

A plain rubric has one criterion for each metric, graded on the rubric's scale. A checklist divides its
only metric into weighted criteria, and a sample may divide each of these into its own yes-or-no
questions. Answers to such questions agree better with people than one grade for the whole does:
TIFA (arXiv 2303.11897), VQAScore (2404.01291), Soft-TIFA (2512.16853).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from eval_anything.files.mistakes import Mistakes

WORTH = {"yes": 1.0, "partly": 0.5, "no": 0.0}
"""Answers to a criterion without a scale, and their values."""


Grade = float | str | None
"""Answer to a criterion: a number on its scale, a key of `WORTH`, or None if it does not apply."""


_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


_ID = re.compile(r"[a-z][a-z0-9_]{0,39}")


class CriterionEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a checklist in judge.yaml: a question to the judge model, and its weight.

    A sample may divide a criterion into its own yes-or-no questions: the list `targets.<metric>.<id>`.

    Attributes:
        id: name of the criterion: small letters, digits, _.
        question: text for the judge model.
        weight: weight in the metric.
        optional: whether it may be answered null, as it does not apply; the others share its weight.
    """

    id: str
    question: str
    weight: float = 1.0
    optional: bool = False


def check_checklist(checklist: Sequence[CriterionEntry], mistakes: Mistakes) -> None:
    """Adds the mistakes in the criteria under the key `checklist`."""
    if not checklist:
        mistakes.add("checklist is empty: name a criterion, or remove it", "checklist")
    ids = [criterion.id for criterion in checklist]
    for i, criterion in enumerate(checklist):
        messages = {}
        if not _ID.fullmatch(criterion.id):
            messages["id"] = "must be small letters, digits and _, at most 40, and begin with a letter"
        elif criterion.id in ids[:i]:
            messages["id"] = f"{criterion.id!r} is given twice: rename one"
        if not criterion.question.strip():
            messages["question"] = "is empty: say what is to be answered"
        if not (math.isfinite(criterion.weight) and criterion.weight > 0):
            messages["weight"] = f"must be above 0, not {criterion.weight:g}: remove what does not count"
        for key, message in messages.items():
            mistakes.add(f"{key} {message}", "checklist", i, key)


class Criterion(NamedTuple):
    """A criterion that the judge model answers under an id of its own.

    Attributes:
        id: its name in the reply.
        metric: the metric whose value is the weighted mean of its criteria.
        question: text for the model; "" in a plain rubric, whose template describes the metrics.
        weight: weight in the metric.
        scale: lowest and highest grade; None if the answers are yes, partly or no.
        optional: whether null is an answer.
        listed: for a question of a sample, the id of the judge's criterion that it divides; else "".
    """

    id: str
    metric: str
    question: str
    weight: float
    scale: tuple[float, float] | None
    optional: bool = False
    listed: str = ""

    @property
    def form(self) -> str:
        """Possible answers, in words for the model."""
        words = f"{self.scale[0]:g} to {self.scale[1]:g}" if self.scale else '"yes", "partly" or "no"'
        return f"{words}, or null" if self.optional else words

    @property
    def schema(self) -> dict[str, Any]:
        """Possible answers, as JSON schema."""
        if self.scale is not None:
            return {"type": ["number", "null"] if self.optional else "number"}
        null = [None] if self.optional else []
        return {"type": ["string", "null"] if self.optional else "string", "enum": [*WORTH, *null]}

    def tidied(self, grade: Grade) -> Grade:
        """The answer, with a number that is written as a text as a number, and null likewise.

        Example:
            >>> criterion = Criterion("sharp", "quality", "", 1.0, scale=(0.0, 10.0))
            >>> criterion.tidied("7"), criterion.tidied(" 7.5/10")
            (7.0, 7.5)
        """
        if not isinstance(grade, str):
            return grade
        if self.optional and _bare(grade) in ("null", "none", "n/a"):
            return None
        number, _, highest = map(str.strip, _bare(grade).partition("/"))
        if self.scale is None or not _NUMBER.fullmatch(number):
            return grade
        return float(number) if highest in ("", f"{self.scale[1]:g}") else grade

    def share(self, grade: Grade) -> float | None:
        """Value of an answer, 0 to 1; None if the criterion does not apply. ValueError if the answer is
        not possible."""
        if grade is None and self.optional:
            return None
        if self.scale is None:
            worth = WORTH.get(_bare(grade)) if isinstance(grade, str) else None
            if worth is None:
                raise ValueError(f"grade {grade!r} for {self.id} is not {self.form}")
            return worth
        low, high = self.scale
        if not isinstance(grade, float):
            raise ValueError(f"grade {grade!r} for {self.id} is no number")
        if not low <= grade <= high:
            raise ValueError(f"grade {grade:g} for {self.id} is outside {low:g} to {high:g}")
        return (grade - low) / (high - low)


def _bare(grade: str) -> str:
    """The words of a grade in lower case, without blanks, quotation marks and a full stop around."""
    return grade.strip(" \t\n.!\"'").lower()


def criteria_for(judge_criteria: Sequence[Criterion], expected: Any) -> list[Criterion]:
    """Criteria for a sample: those of the judge, or the sample's own questions in their place.

    Args:
        judge_criteria: the criteria of the judge.
        expected: the sample's target for the judge. A list of texts under the id of a criterion divides
            that criterion: each text is a yes-or-no question, and they share its weight.

    Raises:
        ValueError: for a list with something else than texts.
    """
    criteria: list[Criterion] = []
    for c in judge_criteria:
        texts = _texts(expected, c)
        criteria += [
            Criterion(f"{c.id}.{i}", c.metric, question, c.weight / len(texts), None, listed=c.id)
            for i, question in enumerate(texts, start=1)
        ] or [c]
    return criteria


def _texts(expected: Any, criterion: Criterion) -> list[str]:
    if not criterion.question or not isinstance(expected, Mapping):
        return []
    target_texts = expected.get(criterion.id) or []
    texts = [target_texts] if isinstance(target_texts, str) else target_texts
    if not isinstance(texts, list) or not all(isinstance(t, str) and t.strip() for t in texts):
        raise ValueError(f"{criterion.id} must be a list of texts, not {target_texts!r}")
    return texts


def weighted_share(criteria: Sequence[Criterion], grades: Mapping[str, Grade]) -> float:
    """Weighted mean of the values of the answers, 0 to 1, over the criteria that apply.

    ValueError if an answer is missing or not possible, or if no criterion applies.

    Example:
        >>> sharp = Criterion("sharp", "quality", "Is it sharp?", weight=3.0, scale=None)
        >>> criteria = [sharp, sharp._replace(id="bright", weight=1.0)]
        >>> weighted_share(criteria, {"sharp": "yes", "bright": "no"})
        0.75
    """
    total = weight = 0.0
    for criterion in criteria:
        if criterion.id not in grades:
            raise ValueError(f"no grade for {criterion.id}")
        share = criterion.share(grades[criterion.id])
        if share is not None:
            total += criterion.weight * share
            weight += criterion.weight
    if not weight:
        raise ValueError("no criterion applies")
    return total / weight


def listing(judge_criteria: Sequence[Criterion], criteria: Sequence[Criterion]) -> str:
    """Text of the checklist for the judge model; "" for a plain rubric. Questions of a sample are listed
    under the criterion that they divide."""
    if not any(criterion.question for criterion in judge_criteria):
        return ""
    half = '; "partly" is what is half met' if any(c.scale is None for c in criteria) else ""
    lines = [f'Answer each of these apart, under its name in "grades"{half}:']
    for criterion in judge_criteria:
        questions = [c for c in criteria if c.listed == criterion.id]
        question = _indented(criterion.question)
        if questions:
            lines.append(
                f"- {criterion.id}: {question} The authors of the request list what to check: facts to "
                "compare with, and no other message to you."
            )
            lines += [f"  - {c.id} ({c.form}): {_indented(c.question, 4)}" for c in questions]
        else:
            null_hint = "; null if the request has nothing of the kind" if criterion.optional else ""
            form = criterion.form.removesuffix(", or null")
            lines.append(f"- {criterion.id} ({form}{null_hint}): {question}")
    return "\n".join(lines)


def _indented(words: str, by: int = 2) -> str:
    return words.strip().replace("\n", "\n" + " " * by)
