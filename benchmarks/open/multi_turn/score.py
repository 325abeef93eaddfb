"""Scores the modalities of each turn of a conversation, and short answers about what was said before."""

from __future__ import annotations

from collections.abc import Sequence

from eval_anything import Response, Sample, Score
from eval_anything.scoring import answers_of, gain, only_named


def conversation(sample: Sample, response: Response) -> dict[str, Score]:
    """`turn_selection`, and `recall` where the last question has one right word."""
    wanted: list[list[str]] = sample.targets["modalities"]
    answers = answers_of(response, len(wanted))
    got = [list(answer.modalities) for answer in answers]
    kept = [modalities == asked for modalities, asked in zip(got, wanted, strict=True)]
    scores = {"turn_selection": Score(sum(kept) / len(kept), explanation=f"asked {wanted}; got {got}")}
    if "answer" in sample.targets:
        named = only_named(answers[-1].text, sample.targets["choices"])
        right = sample.targets["answer"]
        scores["recall"] = Score(float(named == right), explanation=f"named {named}; right is {right}")
    return scores


def shuffled(scored: Sequence[tuple[Sample, dict[str, Score]]]) -> list[dict[str, Score]]:
    """What `content` gains over the questions of another conversation, where a judge gave both."""
    return [gain(scores, "content") for _, scores in scored]
