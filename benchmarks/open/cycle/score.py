"""Scores whether the same question gets the same answer in words, in a picture and in a sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval_anything import Response, Sample, Score
from eval_anything.scoring import answers_of, gain, only_named, same_pairs, with_partners

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
            same_pairs(named, named),
            explanation=f"answered {named}; right is {right}",
            details={"named": named},
        ),
        "right": Score(sum(name == right for name in named) / len(named)),
    }


def shuffled(scored: Sequence[tuple[Sample, dict[str, Score]]]) -> list[dict[str, Score]]:
    """`across` with the answers to another sample with the same choices, and what both controls leave.

    Samples that have failed show no answers: nothing of theirs is the same as anything.
    """
    controls = with_partners(scored, "across", CONTROL_SEED, _chance)
    return [
        gain(scores, "content") | control for (_, scores), control in zip(scored, controls, strict=True)
    ]


def _chance(_: Sample, scores: Mapping[str, Score], partner: Mapping[str, Score]) -> float:
    mine, theirs = _named(scores), _named(partner)
    return same_pairs(mine, theirs) if len(mine) == len(theirs) > 1 else 0.0


def _named(scores: Mapping[str, Score]) -> list[str | None]:
    named: list[str | None] = scores["across"].details.get("named", [])
    return named
