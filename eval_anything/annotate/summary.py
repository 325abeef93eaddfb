"""How much is annotated, and how far annotators agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from eval_anything.annotate.log import Annotation, Kind
from eval_anything.statistics.agreement import krippendorff_alpha

# How two different answers differ: not at all alike; in their order (b, tie, a); as numbers.
_LEVELS: dict[Kind, Literal["nominal", "ordinal", "interval"]] = {
    "vote": "nominal",
    "preference": "ordinal",
    "grade": "interval",
}


_SIDES = {"b": -1.0, "tie": 0.0, "a": 1.0}


def summarize(annotations: Sequence[Annotation]) -> dict[str, Any]:
    """Of each kind: answers, questions, answers by annotator, how many questions have how many
    answers, the answers themselves, and Krippendorff's alpha with its level. `annotations` are those
    that stand."""
    kinds: dict[str, Any] = {}
    for kind in _LEVELS:
        own = [a for a in annotations if a.kind == kind]
        if own:
            kinds[kind] = _of_kind(kind, own)
    return {"n": len(annotations), "tasks": sorted({a.task for a in annotations}), "kinds": kinds}


def _of_kind(kind: Kind, annotations: Sequence[Annotation]) -> dict[str, Any]:
    per_question = Counter(a.key for a in annotations)
    values = Counter(_value(a) for a in annotations)
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


def _value(a: Annotation) -> str:
    return str(a.vote or a.preferred or a.grade)


def _ratings(
    kind: Kind, annotations: Sequence[Annotation]
) -> tuple[np.ndarray, Literal["nominal", "ordinal", "interval"], list[str]]:
    """(annotators, questions) of numbers, nan where there is no answer; the level; the clusters."""
    sources = {a.key: f"{a.task}\0{a.source_id}" for a in annotations}
    rows = {name: i for i, name in enumerate(sorted({a.annotator for a in annotations}))}
    columns = {key: i for i, key in enumerate(sources)}
    codes = {vote: float(i) for i, vote in enumerate(sorted({_value(a) for a in annotations}))}
    table = np.full((len(rows), len(columns)), np.nan)
    for a in annotations:
        numbers = {"vote": codes, "preference": _SIDES}.get(kind)
        value = numbers[_value(a)] if numbers is not None else float(a.grade or 0)
        table[rows[a.annotator], columns[a.key]] = value
    return table, _LEVELS[kind], list(sources.values())
