"""Counts of annotations, and agreement between annotators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from eval_anything.annotate.log import Annotation, Kind
from eval_anything.statistics.agreement import krippendorff_alpha

# Scales of the answers: without order; ordered (b, tie, a); numbers.
_LEVELS: dict[Kind, Literal["nominal", "ordinal", "interval"]] = {
    "vote": "nominal",
    "preference": "ordinal",
    "grade": "interval",
}


_SIDES = {"b": -1.0, "tie": 0.0, "a": 1.0}


def summarize(annotations: Sequence[Annotation]) -> dict[str, Any]:
    """Counts for each kind of question: answers, questions, answers by annotator, questions by their
    number of answers, answers by their value; and Krippendorff's alpha with its level of measurement.
    `annotations` are the latest ones, without those withdrawn."""
    kinds: dict[str, Any] = {}
    for kind in _LEVELS:
        of_kind = [a for a in annotations if a.kind == kind]
        if of_kind:
            kinds[kind] = _summary(kind, of_kind)
    return {"n": len(annotations), "tasks": sorted({a.task for a in annotations}), "kinds": kinds}


def _summary(kind: Kind, annotations: Sequence[Annotation]) -> dict[str, Any]:
    per_question = Counter(a.key for a in annotations)
    values = Counter(_answer_text(a) for a in annotations)
    return {
        "n": len(annotations),
        "questions": len(per_question),
        "annotators": dict(sorted(Counter(a.annotator for a in annotations).items())),
        "answers_per_question": {
            str(n): count for n, count in sorted(Counter(per_question.values()).items())
        },
        "answers": dict(sorted(values.items())),
        "critiques": sum(bool(a.critique) for a in annotations),
        "alpha": krippendorff_alpha(*_ratings(kind, annotations)),
        "level": _LEVELS[kind],
    }


def _answer_text(a: Annotation) -> str:
    return str(a.vote or a.preferred or a.grade)


def _ratings(
    kind: Kind, annotations: Sequence[Annotation]
) -> tuple[np.ndarray, Literal["nominal", "ordinal", "interval"], list[str]]:
    """Ratings (annotators, questions), nan where there is no answer; their level; the clusters."""
    sources = {a.key: f"{a.task}\0{a.source_id}" for a in annotations}
    rows = {name: i for i, name in enumerate(sorted({a.annotator for a in annotations}))}
    columns = {key: i for i, key in enumerate(sources)}
    codes = {vote: float(i) for i, vote in enumerate(sorted({_answer_text(a) for a in annotations}))}
    table = np.full((len(rows), len(columns)), np.nan)
    for a in annotations:
        numbers = {"vote": codes, "preference": _SIDES}.get(kind)
        rating = numbers[_answer_text(a)] if numbers is not None else float(a.grade or 0)
        table[rows[a.annotator], columns[a.key]] = rating
    return table, _LEVELS[kind], list(sources.values())
