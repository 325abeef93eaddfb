"""Scores whether the same question gets the same answer in words, in a picture and in a sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval_anything import Response, Sample, Score
from eval_anything.scoring import answers_of, gain, only_named, same_pairs, with_partners

CONTROL_SEED = "open-cycle-control"


def across(sample: Sample, response: Response) -> dict[str, Score]:
    """`across` and `right` for questions that are asked in several modalities; nothing for cycles, which
    only a judge can compare."""
    choices = sample.targets.get("choices")
    if choices is None:
        return {}
    answers = answers_of(response, len(sample.turns) + 1)
    answered = [only_named(answer.text, choices) for answer in answers]
    right = sample.targets["answer"]
    return {
        "across": Score(
            same_pairs(answered, answered),
            explanation=f"answered {answered}; right is {right}",
            details={"named": answered},
        ),
        "right": Score(sum(name == right for name in answered) / len(answered)),
    }


def shuffled(scored: Sequence[tuple[Sample, dict[str, Score]]]) -> list[dict[str, Score]]:
    """Controls for `across` (answers to another sample with the same choices) and for `content`.

    Samples that have failed have no answers: they agree with nothing.
    """
    controls = with_partners(scored, "across", CONTROL_SEED, _chance)
    return [
        gain(scores, "content") | control for (_, scores), control in zip(scored, controls, strict=True)
    ]


def _chance(_: Sample, scores: Mapping[str, Score], partner: Mapping[str, Score]) -> float:
    answers, partner_answers = _named(scores), _named(partner)
    return same_pairs(answers, partner_answers) if len(answers) == len(partner_answers) > 1 else 0.0


def _named(scores: Mapping[str, Score]) -> list[str | None]:
    answers: list[str | None] = scores["across"].details.get("named", [])
    return answers
