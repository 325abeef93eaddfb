"""Scores order and number of the parts of interleaved answers, with random orders as a control."""

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
    """All metrics; unscored for several parts whose source does not preserve their order."""
    patterns: list[str] = sample.targets["patterns"]
    produced = "".join(part.modality[0] for part in merged_texts(response.parts))
    if not response.order_known and len(produced) > 1:
        reason = "the source of the response does not tell the order of its parts"
        return {name: Score(None, explanation=reason) for name in METRICS}
    rng = random.Random(f"{CONTROL_SEED}-{sample.id}")
    orders = [rng.sample(produced, len(produced)) for _ in range(SHUFFLES)]
    structure = _structure(patterns, produced)
    chance = sum(_structure(patterns, order) for order in orders) / SHUFFLES
    values = {
        "structure": structure,
        "exact": float(structure == 1.0),
        "count": float(any(Counter(produced) == Counter(pattern) for pattern in patterns)),
        "structure_shuffled": chance,
        "structure_gain": structure - chance,
    }
    explanation = f"asked for {' or '.join(patterns)}; got {produced or 'nothing'}"
    return {name: Score(values[name], explanation=explanation) for name in METRICS}


def _structure(patterns: Sequence[str], parts: Sequence[str]) -> float:
    """Similarity of the parts to the nearest of the patterns."""
    return max(likeness(pattern, parts) for pattern in patterns)


def shuffled(scored: Sequence[tuple[Sample, dict[str, Score]]]) -> list[dict[str, Score]]:
    """Gain of `content` over the control with another sample's questions, where a judge scored both."""
    return [gain(scores, "content") for _, scores in scored]
