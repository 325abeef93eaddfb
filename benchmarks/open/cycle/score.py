"""Scores whether the same question gets the same answer in words, in a picture and in a sound."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from eval_anything import Response, Sample, Score
from eval_anything.scoring import answers_of, gain, only_named, partners

CONTROL_SEED = "open-cycle-control"


def across(sample: Sample, response: Response) -> dict[str, Score]:
    """`across` and `right` for questions that are put in several modalities; nothing for cycles, which
    only a judge can compare."""
    choices = sample.targets.get("choices")
    if choices is None:
        return {}
    answers = answers_of(response, len(sample.turns) + 1)
    named = [only_named(answer.text, choices) for answer in answers]
    right = sample.targets["answer"]
    return {
        "across": Score(
            _same(named, named),
            explanation=f"answered {named}; right is {right}",
            details={"named": named},
        ),
        "right": Score(sum(name == right for name in named) / len(named)),
    }


def _same(mine: Sequence[str | None], theirs: Sequence[str | None]) -> float:
    """Share of the pairs of turns in which mine and theirs name the same."""
    pairs = list(combinations(range(len(mine)), 2))
    return sum(mine[i] is not None and mine[i] == theirs[j] for i, j in pairs) / len(pairs)


def shuffled(scored: Sequence[tuple[Sample, dict[str, Score]]]) -> list[dict[str, Score]]:
    """`across` with the answers to another sample with the same choices, and what both controls leave.

    Samples that have failed show no answers: nothing of theirs is the same as anything.
    """
    partner = partners([sample for sample, _ in scored], CONTROL_SEED)
    out: list[dict[str, Score]] = []
    for number, (_, scores) in enumerate(scored):
        found = gain(scores, "content")
        own = scores["across"].value if "across" in scores else None
        if own is not None and number in partner:
            mine, theirs = (_named(scored[i][1]) for i in (number, partner[number]))
            chance = _same(mine, theirs) if len(mine) == len(theirs) > 1 else 0.0
            found |= {"across_shuffled": Score(chance), "across_gain": Score(own - chance)}
        out.append(found)
    return out


def _named(scores: dict[str, Score]) -> list[str | None]:
    named: list[str | None] = scores["across"].details.get("named", [])
    return named
