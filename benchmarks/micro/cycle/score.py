"""Scores whether a thing comes back from another modality, and whether a question has one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval_anything import Response, Sample, Score
from eval_anything.micro import normal_words, seen_in, share
from eval_anything.scoring import answers_of, mean, same_pairs, with_partners

CONTROL_SEED = "micro-cycle-control"


def consistency(sample: Sample, response: Response) -> dict[str, Score]:
    """`cycle` or `across`, again as `consistency`, and `right`."""
    targets = sample.targets
    answers = answers_of(response, len(targets["gold_turns"]) + 1)
    if "start" in targets:
        middle = targets["middle"]
        end = seen_in(answers[-1], targets["end"])
        between = seen_in(answers[0], middle["modality"])
        value = share(targets["start"], end)
        score = Score(
            value,
            explanation=f"began with {targets['start']}, in between {between}, ended with {end}",
            details={"end": end},
        )
        return {
            "cycle": score,
            "consistency": score,
            "right": Score(share(middle["asked"], between)),
        }
    named = [_named(answer.text, targets["choices"]) for answer in answers]
    score = Score(
        same_pairs(named, named),
        explanation=f"answered {named}; right is {targets['answer']}",
        details={"named": named},
    )
    right = mean([float(name == targets["answer"]) for name in named])
    return {"across": score, "consistency": score, "right": Score(right)}


def _named(text: str, choices: Sequence[str]) -> str | None:
    """The one choice that a text names."""
    found = {word for word in normal_words(text) if word in choices}
    return found.pop() if len(found) == 1 else None


def shuffled(scored: Sequence[tuple[Sample, dict[str, Score]]]) -> list[dict[str, Score]]:
    """The same with the last answers taken from another sample of the family: what chance would give."""
    return with_partners(scored, "consistency", CONTROL_SEED, _chance)


def _chance(sample: Sample, scores: Mapping[str, Score], partner: Mapping[str, Score]) -> float:
    mine, theirs = scores["consistency"].details, partner["consistency"].details
    if "start" in sample.targets:
        return share(sample.targets["start"], theirs.get("end", {}))
    named, other = mine.get("named", ()), theirs.get("named", ())
    return same_pairs(named, other) if len(named) == len(other) else 0.0
