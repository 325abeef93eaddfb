"""Scores whether a thing comes back from another modality, and whether a question has one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from eval_anything import Response, Sample, Score
from eval_anything.micro import normal_words, seen_in, share
from eval_anything.scoring import answers_of, mean, partners

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
        _same(named, named),
        explanation=f"answered {named}; right is {targets['answer']}",
        details={"named": named},
    )
    right = mean([float(name == targets["answer"]) for name in named])
    return {"across": score, "consistency": score, "right": Score(right)}


def _named(text: str, choices: Sequence[str]) -> str | None:
    """The one choice that a text names."""
    found = {word for word in normal_words(text) if word in choices}
    return found.pop() if len(found) == 1 else None


def _same(mine: Sequence[str | None], theirs: Sequence[str | None]) -> float:
    """Share of the pairs of turns in which mine and theirs name the same."""
    pairs = list(combinations(range(len(mine)), 2))
    return mean([float(mine[i] is not None and mine[i] == theirs[j]) for i, j in pairs])


def shuffled(scored: Sequence[tuple[Sample, dict[str, Score]]]) -> list[dict[str, Score]]:
    """The same with the last answers taken from another sample of the family: what chance would give."""
    partner = partners([sample for sample, _ in scored], CONTROL_SEED)
    out: list[dict[str, Score]] = []
    for number, (sample, scores) in enumerate(scored):
        own = scores["consistency"].value
        if number not in partner or own is None:
            out.append({})
            continue
        theirs = scored[partner[number]][1]["consistency"].details
        chance = _against(sample.targets, scores["consistency"].details, theirs)
        out.append({"consistency_shuffled": Score(chance), "consistency_gain": Score(own - chance)})
    return out


def _against(targets: Mapping[str, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    if "start" in targets:
        return share(targets["start"], theirs.get("end", {}))
    named: Sequence[str | None] = mine.get("named", ())
    other: Sequence[str | None] = theirs.get("named", ())
    return _same(named, other) if len(named) == len(other) else 0.0
