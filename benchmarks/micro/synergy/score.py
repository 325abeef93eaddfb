"""Scores the agreement between the parts of a response; parts of other responses are a control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eval_anything import Modality, Response, Sample, Score
from eval_anything.micro import (
    agreement,
    attributes_seen,
    gold_items,
    name_of,
    pairs_of,
    perceive_response,
    read,
    shared_names,
)
from eval_anything.scoring import mean, partners

CONTROL_SEED = "micro-synergy-control"


def synergy(sample: Sample, response: Response) -> dict[str, Score]:
    """A score (0..1) for every pair of modalities that is required or present, and their mean."""
    percepts = perceive_response(response)
    attributes = attributes_seen(percepts)
    gold_text = next((read(gold) for gold in gold_items(sample) if isinstance(gold, str)), None)
    required = pairs_of(sample.contract.required)
    scores: dict[str, Score] = {}
    for pair in dict.fromkeys((*required, *pairs_of(tuple(percepts)))):
        names = shared_names(pair, gold_text if pair in required else None)
        first, second = (dict(attributes[modality]) for modality in pair)
        remarks = [
            f"{m}: {percepts[m].problem or percepts[m].attributes}" for m in pair if m in percepts
        ]
        remarks += [f"{m} is missing" for m in pair if m not in percepts]
        scores[name_of(pair)] = Score(
            agreement(first, second, names),
            explanation="; ".join(remarks),
            details={"first": first, "second": second, "names": list(names)},
        )
    scores["synergy"] = Score(mean([score.value or 0.0 for score in scores.values()]))
    return scores


def shuffled(scored: Sequence[tuple[Sample, dict[str, Score]]]) -> list[dict[str, Score]]:
    """A control for the agreement: the second part comes from another sample of the family."""
    partner = partners([sample for sample, _ in scored], CONTROL_SEED)
    return [
        _against(scores, scored[partner[number]][1]) if number in partner else {}
        for number, (_, scores) in enumerate(scored)
    ]


def _against(scores: dict[str, Score], partner: dict[str, Score]) -> dict[str, Score]:
    values: dict[str, float] = {}
    for name in (name_of(pair) for pair in pairs_of(tuple(Modality))):
        if name in scores:
            details = scores[name].details
            partner_details: dict[str, Any] = partner[name].details if name in partner else {}
            values[name] = agreement(
                details.get("first", {}), partner_details.get("second", {}), details.get("names", ())
            )
    if not values or scores["synergy"].value is None:
        return {}
    chance = mean(list(values.values()))
    return {
        **{f"{name}_shuffled": Score(agreed) for name, agreed in values.items()},
        "synergy_shuffled": Score(chance),
        "synergy_gain": Score(scores["synergy"].value - chance),
    }
