"""Scores the modalities of each turn of a conversation, and short answers about earlier turns."""

from __future__ import annotations

from collections.abc import Sequence

from eval_anything import Response, Sample, Score
from eval_anything.scoring import answers_of, gain, only_named


def conversation(sample: Sample, response: Response) -> dict[str, Score]:
    """`turn_selection`, and `recall` where the last question has one right word."""
    expected: list[list[str]] = sample.targets["modalities"]
    answers = answers_of(response, len(expected))
    got = [list(answer.modalities) for answer in answers]
    matches = [produced == requested for produced, requested in zip(got, expected, strict=True)]
    scores = {
        "turn_selection": Score(sum(matches) / len(matches), explanation=f"asked {expected}; got {got}")
    }
    if "answer" in sample.targets:
        choice = only_named(answers[-1].text, sample.targets["choices"])
        right = sample.targets["answer"]
        scores["recall"] = Score(float(choice == right), explanation=f"named {choice}; right is {right}")
    return scores


def shuffled(scored: Sequence[tuple[Sample, dict[str, Score]]]) -> list[dict[str, Score]]:
    """Gain of `content` over the control with another conversation's questions, where a judge scored
    both."""
    return [gain(scores, "content") for _, scores in scored]
