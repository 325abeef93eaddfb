"""Scores order and structure of interleaved answers, and what the same parts score in random order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from eval_anything import Part, Response, Sample, Score
from eval_anything.micro import seen_in, share
from eval_anything.scoring import likeness, mean, merged_texts

SHUFFLES = 20
CONTROL_SEED = "micro-interleaved-control"


class _Seen(NamedTuple):
    """A part by its modality, and the share of each slot's attributes that it shows."""

    modality: str
    shares: list[float]


def interleaved(sample: Sample, response: Response) -> dict[str, Score]:
    """All metrics; unscored where there are several parts and their source does not tell the order."""
    slots: list[dict[str, Any]] = sample.targets["slots"]
    wanted = [slot["modality"] for slot in slots]
    seen = [_seen(part, slots) for part in merged_texts(response.parts)]
    if not response.order_known and len(seen) > 1:
        reason = "the source of the response does not tell the order of its parts"
        return {name: Score(None, explanation=reason) for name in _METRICS}
    structure, content = _structure(wanted, seen), _content(wanted, seen)
    rng = random.Random(f"{CONTROL_SEED}-{sample.id}")
    mixed = [rng.sample(seen, len(seen)) for _ in range(SHUFFLES)]
    chance = mean([_structure(wanted, parts) for parts in mixed])
    got = ", ".join(part.modality for part in seen) or "nothing"
    explanation = f"asked for {', '.join(wanted)}; got {got}"
    values = {
        "structure": structure,
        "exact": float(structure == 1.0),
        "content": content,
        "redundant": _redundant(wanted, seen, structure + content),
        "structure_shuffled": chance,
        "content_shuffled": mean([_content(wanted, parts) for parts in mixed]),
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


def _seen(part: Part, slots: Sequence[dict[str, Any]]) -> _Seen:
    attributes = seen_in(Response((part,)), part.modality)
    shares = [
        share(slot["asked"], attributes) if slot["modality"] == part.modality else 0.0 for slot in slots
    ]
    return _Seen(str(part.modality), shares)


def _structure(wanted: Sequence[str], seen: Sequence[_Seen]) -> float:
    return likeness(wanted, [part.modality for part in seen])


def _content(wanted: Sequence[str], seen: Sequence[_Seen]) -> float:
    """The mean over the slots of what the part at the same place shows of them."""
    return sum(part.shares[i] for i, part in enumerate(seen[: len(wanted)])) / len(wanted)


def _redundant(wanted: Sequence[str], seen: Sequence[_Seen], whole: float) -> float:
    """Share of the parts without which the rest scores no less; 1 of no parts."""
    rests = [[*seen[:i], *seen[i + 1 :]] for i in range(len(seen))]
    if not rests:
        return 1.0
    return mean([float(_structure(wanted, r) + _content(wanted, r) >= whole) for r in rests])
