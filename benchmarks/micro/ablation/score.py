"""Scores answers to the same question with all inputs and without each of them."""

from __future__ import annotations

import re
from typing import Any

from eval_anything import Response, Sample, Score
from eval_anything.micro import names_only, normal_words
from eval_anything.scoring import answers_of, mean

_CANNOT_TELL = re.compile(
    r"\b(cannot|can't|can not|unable|unclear|unknown|impossible|not possible|missing|"
    r"(don't|not) (know|known|sure|enough|given|see|hear|have)|"
    r"no (picture|image|sound|audio|clip|video))\b"
)


def ablation(sample: Sample, response: Response) -> dict[str, Score]:
    """The mean over all variants of the question, the mean of each kind, and the gap to guessing."""
    targets = sample.targets
    variants: list[dict[str, Any]] = targets["variants"]
    answers = [answer.text for answer in answers_of(response, len(variants))]
    names_answers = [names_only(text, targets["answer"], targets["choices"]) for text in answers]
    right: dict[str, list[float]] = {}
    guesses: list[float] = []
    for variant, text, names_answer in zip(variants, answers, names_answers, strict=True):
        needed = variant["kind"] == "needed"
        correct = _cannot_tell(text, targets["choices"]) if needed else names_answer
        right.setdefault(variant["kind"], []).append(float(correct))
        if needed:
            guesses.append(float(names_answer))
    remarks = [
        f"{v.get('removed', 'nothing')} removed: {t!r}" for v, t in zip(variants, answers, strict=True)
    ]
    every = [correct for values in right.values() for correct in values]
    explanation = f"right is {targets['answer']!r}; {'; '.join(remarks)}"
    scores = {"ablation": Score(mean(every), explanation=explanation)}
    scores |= {kind: Score(mean(values)) for kind, values in right.items()}
    if guesses:
        scores["guessed"] = Score(mean(guesses))
        scores["gap"] = Score(mean(right["full"]) - mean(guesses))
    return scores


def _cannot_tell(text: str, choices: list[str]) -> bool:
    """Whether a text says that the answer is not known, and names no choice."""
    plain = text.lower().replace("\u2019", "'")
    without_phrase = _CANNOT_TELL.sub(" ", plain)
    return without_phrase != plain and not set(normal_words(without_phrase)) & set(choices)
