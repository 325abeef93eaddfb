"""Scores order and structure of interleaved answers; the parts in random order are a control."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from eval_anything import Part, Response, Sample, Score
from eval_anything.micro import seen_in, share
from eval_anything.scoring import likeness, mean, merged_texts

SHUFFLES = 20
CONTROL_SEED = "micro-interleaved-control"


class _PerceivedPart(NamedTuple):
    """A part's modality, and the share of each slot's attributes that it shows."""

    modality: str
    shares: list[float]


def interleaved(sample: Sample, response: Response) -> dict[str, Score]:
    """All metrics; unscored for several parts whose source does not preserve their order."""
    slots: list[dict[str, Any]] = sample.targets["slots"]
    modalities = [slot["modality"] for slot in slots]
    parts = [_perceived(part, slots) for part in merged_texts(response.parts)]
    if not response.order_known and len(parts) > 1:
        reason = "the source of the response does not tell the order of its parts"
        return {name: Score(None, explanation=reason) for name in _METRICS}
    structure, content = _structure(modalities, parts), _content(modalities, parts)
    rng = random.Random(f"{CONTROL_SEED}-{sample.id}")
    mixed = [rng.sample(parts, len(parts)) for _ in range(SHUFFLES)]
    chance = mean([_structure(modalities, order) for order in mixed])
    got = ", ".join(part.modality for part in parts) or "nothing"
    explanation = f"asked for {', '.join(modalities)}; got {got}"
    values = {
        "structure": structure,
        "exact": float(structure == 1.0),
        "content": content,
        "redundant": _redundant(modalities, parts, structure + content),
        "structure_shuffled": chance,
        "content_shuffled": mean([_content(modalities, order) for order in mixed]),
        "structure_gain": structure - chance,
    }
    return {name: Score(values[name], explanation=explanation) for name in _METRICS}


_METRICS = (
    "structure",
    "exact",
    "content",
    "redundant",
    "structure_shuffled",
    "content_shuffled",
    "structure_gain",
)


def _perceived(part: Part, slots: Sequence[dict[str, Any]]) -> _PerceivedPart:
    attributes = seen_in(Response((part,)), part.modality)
    shares = [
        share(slot["asked"], attributes) if slot["modality"] == part.modality else 0.0 for slot in slots
    ]
    return _PerceivedPart(str(part.modality), shares)


def _structure(modalities: Sequence[str], parts: Sequence[_PerceivedPart]) -> float:
    return likeness(modalities, [part.modality for part in parts])


def _content(modalities: Sequence[str], parts: Sequence[_PerceivedPart]) -> float:
    """Mean share of a slot's attributes that the part at the same position shows."""
    return sum(part.shares[i] for i, part in enumerate(parts[: len(modalities)])) / len(modalities)


def _redundant(modalities: Sequence[str], parts: Sequence[_PerceivedPart], total: float) -> float:
    """Share of the parts that can be left out without a lower score; 1 for no parts."""
    rests = [[*parts[:i], *parts[i + 1 :]] for i in range(len(parts))]
    if not rests:
        return 1.0
    return mean([float(_structure(modalities, r) + _content(modalities, r) >= total) for r in rests])
