"""Scores order and number of the parts of interleaved answers, and what random orders of them score."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from eval_anything import Response, Sample, Score
from eval_anything.scoring import gain, likeness, merged_texts

SHUFFLES = 20
CONTROL_SEED = "open-interleaved-control"
METRICS = ("structure", "exact", "count", "structure_shuffled", "structure_gain")


def interleaved(sample: Sample, response: Response) -> dict[str, Score]:
    """All metrics; unscored where there are several parts and their source does not tell the order."""
    patterns: list[str] = sample.targets["patterns"]
    seen = "".join(part.modality[0] for part in merged_texts(response.parts))
    if not response.order_known and len(seen) > 1:
        reason = "the source of the response does not tell the order of its parts"
        return {name: Score(None, explanation=reason) for name in METRICS}
    rng = random.Random(f"{CONTROL_SEED}-{sample.id}")
    orders = [rng.sample(seen, len(seen)) for _ in range(SHUFFLES)]
    structure = _structure(patterns, seen)
    chance = sum(_structure(patterns, order) for order in orders) / SHUFFLES
    values = {
        "structure": structure,
        "exact": float(structure == 1.0),
        "count": float(any(Counter(seen) == Counter(pattern) for pattern in patterns)),
        "structure_shuffled": chance,
        "structure_gain": structure - chance,
    }
    explanation = f"asked for {' or '.join(patterns)}; got {seen or 'nothing'}"
    return {name: Score(values[name], explanation=explanation) for name in METRICS}


def _structure(patterns: Sequence[str], seen: Sequence[str]) -> float:
    """How near the parts come to the nearest of the patterns."""
    return max(likeness(pattern, seen) for pattern in patterns)


def shuffled(scored: Sequence[tuple[Sample, dict[str, Score]]]) -> list[dict[str, Score]]:
    """What `content` gains over the questions of another sample, where a judge gave both."""
    return [gain(scores, "content") for _, scores in scored]
