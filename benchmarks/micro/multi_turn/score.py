"""Scores each turn of a conversation against the turns before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval_anything import Response, Sample, Score
from eval_anything.micro import names_only, seen_in, share
from eval_anything.scoring import answers_of, mean, with_partners

CONTROL_SEED = "micro-multi-turn-control"


def multi_turn(sample: Sample, response: Response) -> dict[str, Score]:
    """The mean over all turns; the first, later and last turns separately; and the modalities."""
    turns: list[dict[str, Any]] = sample.targets["turns"]
    answers = answers_of(response, len(turns))
    percepts = [_percept(turn, answer) for turn, answer in zip(turns, answers, strict=True)]
    values = [_value(turn, percept) for turn, percept in zip(turns, percepts, strict=True)]
    modalities = [
        answer.modalities == (turn["modality"],) for turn, answer in zip(turns, answers, strict=True)
    ]
    remarks = [
        f"{number}: {turn.get('asked') or turn['answer']}, got {percept}"
        for number, (turn, percept) in enumerate(zip(turns, percepts, strict=True), start=1)
    ]
    return {
        "multi_turn": Score(mean(values), explanation="; ".join(remarks), details={"seen": percepts}),
        "first": Score(values[0]),
        "later": Score(mean(values[1:])),
        "last": Score(values[-1]),
        "exact": Score(mean([float(score == 1.0) for score in values])),
        "perfect": Score(float(min(values) == 1.0)),
        "selection": Score(mean([float(right) for right in modalities])),
    }


def _percept(turn: Mapping[str, Any], answer: Response) -> dict[str, str | None]:
    """The attributes that an answer shows in the requested modality; or its text, if a text answers."""
    if "answer" in turn:
        return {"text": answer.text}
    return seen_in(answer, turn["modality"])


def _value(turn: Mapping[str, Any], percept: Mapping[str, str | None]) -> float:
    if "answer" in turn:
        return float(names_only(percept.get("text") or "", turn["answer"], turn["choices"]))
    return share(turn["asked"], percept)


def shuffled(scored: Sequence[tuple[Sample, dict[str, Score]]]) -> list[dict[str, Score]]:
    """A control for `later`: the answers come from another conversation of the family."""
    return with_partners(scored, "later", CONTROL_SEED, _chance)


def _chance(sample: Sample, _: Mapping[str, Score], partner: Mapping[str, Score]) -> float:
    turns: list[dict[str, Any]] = sample.targets["turns"]
    percepts = partner["multi_turn"].details.get("seen") or [{}] * len(turns)
    return mean([_value(*pair) for pair in zip(turns[1:], percepts[1:], strict=True)])
