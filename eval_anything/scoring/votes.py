"""Votes of people on which modalities an answer should have (arXiv 2412.15838, section 4).

A combination is named by its letters: t for text, i for image, a for audio.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval_anything.content import Modality

LETTERS = {"t": Modality.TEXT, "i": Modality.IMAGE, "a": Modality.AUDIO}


COMBINATIONS = ("t", "i", "a", "ti", "ta", "ia", "tia")
"""All that can be voted for."""


SUM_TOLERANCE = 0.01
"""How far from 1 the shares of an item may sum up. The paper's shares are 25ths, which two decimals
hold exactly."""


WORST_BRIER = 2.0
"""Of an answer that nobody chose where all chose the same one; and of no answer at all."""


def checked_votes(votes: Any) -> dict[str, float]:
    """Shares by combination, all seven of them; one that is left out or null has none.

    ValueError if a combination is unknown, a share is no number in 0..1, or the sum is not 1.
    """
    if not isinstance(votes, Mapping):
        raise ValueError(f"the votes must be shares by combination, not {votes!r:.60}")
    names = {frozenset(name): name for name in COMBINATIONS}
    found = dict.fromkeys(COMBINATIONS, 0.0)
    for key, share in votes.items():
        name = names.get(frozenset(str(key)))
        if name is None or len(str(key)) != len(name):
            raise ValueError(f"votes for {key!r}, which is none of {', '.join(COMBINATIONS)}")
        if share is not None:
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
                raise ValueError(
                    f"the share of the votes for {key!r} must be in 0..1, not {share!r:.40}"
                )
            found[name] = float(share)
    total = sum(found.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise ValueError(f"the votes sum up to {total:.4g}, not to 1 (within {SUM_TOLERANCE})")
    return found


def most_voted(votes: Mapping[str, float]) -> list[Modality]:
    """The modalities of the combination with most votes; of several, the one with fewest modalities."""
    best = max(COMBINATIONS, key=lambda name: votes[name])
    return [LETTERS[letter] for letter in best]


def brier(votes: Mapping[str, float], produced: str) -> float:
    """The Brier score of the one combination that was produced against the shares of the votes, 0..2:
    the sum of squared differences between "this one" and the shares. Lower is better. Nothing produced
    is the worst."""
    if not produced:
        return WORST_BRIER
    same = {name: frozenset(name) == frozenset(produced) for name in votes}
    strange = not any(same.values())  # such as one with video, which nobody could vote for
    return float(strange) + sum((share - same[name]) ** 2 for name, share in votes.items())
