"""Scores whether content survives a way through another modality, and whether a question gets the same
answer in all modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval_anything import Response, Sample, Score
from eval_anything.micro import normal_words, seen_in, share
from eval_anything.scoring import answers_of, mean, same_pairs, with_partners

CONTROL_SEED = "micro-cycle-control"


def consistency(sample: Sample, response: Response) -> dict[str, Score]:
    """`cycle` or `across`, the same number as `consistency`, and `right`."""
    targets = sample.targets
    answers = answers_of(response, len(targets["gold_turns"]) + 1)
    if "start" in targets:
        middle = targets["middle"]
        end = seen_in(answers[-1], targets["end"])
        between = seen_in(answers[0], middle["modality"])
        similarity = share(targets["start"], end)
        score = Score(
            similarity,
            explanation=f"began with {targets['start']}, in between {between}, ended with {end}",
            details={"end": end},
        )
        return {
            "cycle": score,
            "consistency": score,
            "right": Score(share(middle["asked"], between)),
        }
    choices = [_named(answer.text, targets["choices"]) for answer in answers]
    score = Score(
        same_pairs(choices, choices),
        explanation=f"answered {choices}; right is {targets['answer']}",
        details={"named": choices},
    )
    right = mean([float(name == targets["answer"]) for name in choices])
    return {"across": score, "consistency": score, "right": Score(right)}


def _named(text: str, choices: Sequence[str]) -> str | None:
    """The choice that a text names; None for none or several."""
    matches = {word for word in normal_words(text) if word in choices}
    return matches.pop() if len(matches) == 1 else None


def shuffled(scored: Sequence[tuple[Sample, dict[str, Score]]]) -> list[dict[str, Score]]:
    """A control for `consistency`: the last answers come from another sample of the family."""
    return with_partners(scored, "consistency", CONTROL_SEED, _chance)


def _chance(sample: Sample, scores: Mapping[str, Score], partner: Mapping[str, Score]) -> float:
    details, partner_details = scores["consistency"].details, partner["consistency"].details
    if "start" in sample.targets:
        return share(sample.targets["start"], partner_details.get("end", {}))
    choices, partner_choices = details.get("named", ()), partner_details.get("named", ())
    return same_pairs(choices, partner_choices) if len(choices) == len(partner_choices) else 0.0
