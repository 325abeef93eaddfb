"""Scores each turn of a conversation against what was said up to then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval_anything import Response, Sample, Score
from eval_anything.micro import names_only, seen_in, share
from eval_anything.scoring import answers_of, mean, with_partners

CONTROL_SEED = "micro-multi-turn-control"


def multi_turn(sample: Sample, response: Response) -> dict[str, Score]:
    """The mean over the turns, the first, later and last ones apart, and the modalities."""
    turns: list[dict[str, Any]] = sample.targets["turns"]
    answers = answers_of(response, len(turns))
    seen = [_seen(turn, answer) for turn, answer in zip(turns, answers, strict=True)]
    values = [_value(turn, found) for turn, found in zip(turns, seen, strict=True)]
    modalities = [
        answer.modalities == (turn["modality"],) for turn, answer in zip(turns, answers, strict=True)
    ]
    remarks = [
        f"{number}: {turn.get('asked') or turn['answer']}, got {found}"
        for number, (turn, found) in enumerate(zip(turns, seen, strict=True), start=1)
    ]
    return {
        "multi_turn": Score(mean(values), explanation="; ".join(remarks), details={"seen": seen}),
        "first": Score(values[0]),
        "later": Score(mean(values[1:])),
        "last": Score(values[-1]),
        "exact": Score(mean([float(value == 1.0) for value in values])),
        "perfect": Score(float(min(values) == 1.0)),
        "selection": Score(mean([float(right) for right in modalities])),
    }


def _seen(turn: Mapping[str, Any], answer: Response) -> dict[str, str | None]:
    """What an answer shows in the modality that is asked for: attributes, or a text as it is."""
    if "answer" in turn:
        return {"text": answer.text}
    return seen_in(answer, turn["modality"])


def _value(turn: Mapping[str, Any], seen: Mapping[str, str | None]) -> float:
    if "answer" in turn:
        return float(names_only(seen.get("text") or "", turn["answer"], turn["choices"]))
    return share(turn["asked"], seen)


def shuffled(scored: Sequence[tuple[Sample, dict[str, Score]]]) -> list[dict[str, Score]]:
    """The later turns with the answers of another conversation of the family: what chance would give."""
    return with_partners(scored, "later", CONTROL_SEED, _chance)


def _chance(sample: Sample, _: Mapping[str, Score], partner: Mapping[str, Score]) -> float:
    turns: list[dict[str, Any]] = sample.targets["turns"]
    seen = partner["multi_turn"].details.get("seen") or [{}] * len(turns)
    return mean([_value(*pair) for pair in zip(turns[1:], seen[1:], strict=True)])
