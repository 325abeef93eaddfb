"""Scores an answer for its choice of modalities together with the quality of its parts and pairs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from eval_anything import Response, Sample, Score
from eval_anything.scoring import checked_votes

PARTS = {"t": "text", "i": "image", "a": "audio"}


def best_share(sample: Sample, response: Response) -> dict[str, Score]:
    """`best_share`: the share of votes for the most popular choice."""
    return {"best_share": Score(max(checked_votes(sample.targets["votes"]).values()))}


def per_prompt(scored: Sequence[tuple[Sample, dict[str, Score]]]) -> list[dict[str, Score]]:
    """`amg_per_prompt` for each answer; for none if no judge of parts and pairs scored anything."""
    per_answer = [_value(scores) for _, scores in scored]
    judged = [s for _, scores in scored for name, s in scores.items() if name.startswith("if_")]
    if all(score.value is None for score in judged):
        return [{} for _ in scored]
    return [{"amg_per_prompt": score} for score in per_answer]


def _value(scores: dict[str, Score]) -> Score:
    share, best = scores["vote_share"].value, scores["best_share"].value
    if not share or not best:
        return Score(0.0, explanation="nobody chose this combination")
    letters = scores["vote_share"].details["produced"]
    following = {letter: scores[f"if_{PARTS[letter]}"].value for letter in letters}
    pairs = {(x, y): scores[f"{PARTS[x]}_{PARTS[y]}"].value for x, y in combinations(letters, 2)}
    if any(grade is None for grade in (*following.values(), *pairs.values())):
        return Score(None, explanation="a judge gave no grade")
    parts = {letter: grade or 0.0 for letter, grade in following.items()}
    terms = [(parts[x] + parts[y]) / 2 * (synergy or 0.0) for (x, y), synergy in pairs.items()]
    quality = sum(terms) / len(terms) if terms else parts[letters]
    return Score(share / best * quality, details={"quality": quality})
