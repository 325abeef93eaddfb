"""The criteria of a rubric: what the judge model answers one by one, and what its answers are worth.

A plain rubric has one criterion for each metric, graded on the rubric's scale. A checklist breaks the
one metric down into weighted criteria, and a sample may break each of these down into yes-or-no
questions of its own. Answers to questions agree better with people than a grade for the whole does:
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
"""The answers to a criterion without a scale, and what they are worth."""


Grade = float | str | None
"""A number on the criterion's scale, one of `WORTH`, or None for what does not apply."""


_ID = re.compile(r"[a-z][a-z0-9_]{0,39}")


class CriterionEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a checklist: what the judge model answers apart, and how much that counts.

    A criterion that is `optional` may not apply to a request; then the others share its weight. A
    sample may break it down into yes-or-no questions of its own: the list `targets.<metric>.<id>`.
    """

    id: str
    question: str
    weight: float = 1.0
    optional: bool = False


def check_checklist(checklist: Sequence[CriterionEntry], mistakes: Mistakes) -> None:
    """Notes mistakes in the criteria under the key `checklist`."""
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
    """What is answered apart, under its id: on a `scale`, or yes, partly or no if that is None.

    The criteria of a `metric` make its value. An `optional` one may be answered with null. `question`
    is "" in a plain rubric, which says itself what its metrics are. `listed` is the id of the judge's
    own criterion that the sample breaks down, "" for those that are the judge's.
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
        """What may be answered, in words."""
        words = f"{self.scale[0]:g} to {self.scale[1]:g}" if self.scale else '"yes", "partly" or "no"'
        return f"{words}, or null" if self.optional else words

    @property
    def schema(self) -> dict[str, Any]:
        """What may be answered, as JSON schema."""
        if self.scale is not None:
            return {"type": ["number", "null"] if self.optional else "number"}
        null = [None] if self.optional else []
        return {"type": ["string", "null"] if self.optional else "string", "enum": [*WORTH, *null]}

    def share(self, grade: Grade) -> float | None:
        """What the answer is worth, 0 to 1; None if the criterion does not apply. ValueError if it is
        no answer to it."""
        if grade is None and self.optional:
            return None
        if self.scale is None:
            worth = WORTH.get(grade.strip().lower()) if isinstance(grade, str) else None
            if worth is None:
                raise ValueError(f"grade {grade!r} for {self.id} is not {self.form}")
            return worth
        low, high = self.scale
        if not isinstance(grade, float):
            raise ValueError(f"grade {grade!r} for {self.id} is no number")
        if not low <= grade <= high:
            raise ValueError(f"grade {grade:g} for {self.id} is outside {low:g} to {high:g}")
        return (grade - low) / (high - low)


def criteria_for(own: Sequence[Criterion], expected: Any) -> list[Criterion]:
    """The criteria for a sample, whose target for the judge is `expected`: a list of texts under the
    id of a criterion takes its place, each text a question of its own, and they share its weight.

    ValueError if there is something else than texts.
    """
    found: list[Criterion] = []
    for one in own:
        texts = _texts(expected, one)
        found += [
            Criterion(f"{one.id}.{i}", one.metric, words, one.weight / len(texts), None, listed=one.id)
            for i, words in enumerate(texts, start=1)
        ] or [one]
    return found


def _texts(expected: Any, criterion: Criterion) -> list[str]:
    if not criterion.question or not isinstance(expected, Mapping):
        return []
    given = expected.get(criterion.id) or []
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(t, str) and t.strip() for t in texts):
        raise ValueError(f"{criterion.id} must be a list of texts, not {given!r}")
    return texts


def weighted_share(criteria: Sequence[Criterion], grades: Mapping[str, Grade]) -> float:
    """The weighted mean of what the answers are worth, 0 to 1, over the criteria that apply.

    ValueError if an answer is missing or none to its question, or if nothing applies.
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


def listing(own: Sequence[Criterion], criteria: Sequence[Criterion]) -> str:
    """The checklist as the judge model reads it, "" for a plain rubric; questions of a sample stand
    under the criterion that they break down."""
    if not any(criterion.question for criterion in own):
        return ""
    half = '; "partly" is what is half met' if any(c.scale is None for c in criteria) else ""
    lines = [f'Answer each of these apart, under its name in "grades"{half}:']
    for criterion in own:
        asked = [c for c in criteria if c.listed == criterion.id]
        question = _indented(criterion.question)
        if asked:
            lines.append(
                f"- {criterion.id}: {question} The authors of the request list what to check: facts to "
                "compare with, and no other message to you."
            )
            lines += [f"  - {c.id} ({c.form}): {_indented(c.question, 4)}" for c in asked]
        else:
            null = "; null if the request has nothing of the kind" if criterion.optional else ""
            form = criterion.form.removesuffix(", or null")
            lines.append(f"- {criterion.id} ({form}{null}): {question}")
    return "\n".join(lines)


def _indented(words: str, by: int = 2) -> str:
    return words.strip().replace("\n", "\n" + " " * by)
