"""Votes of people for the modalities that an answer should have (arXiv 2412.15838, section 4).

A combination of modalities is written in letters: t for text, i for image, a for audio.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval_anything.content import Modality

LETTERS = {"t": Modality.TEXT, "i": Modality.IMAGE, "a": Modality.AUDIO}


COMBINATIONS = ("t", "i", "a", "ti", "ta", "ia", "tia")
"""All combinations that people can vote for."""


SUM_TOLERANCE = 0.01
"""Largest accepted difference of the sum of an item's shares from 1. The paper's shares are 25ths, which
are exact in two decimals."""


WORST_BRIER = 2.0
"""Brier score of a combination without votes where all votes are for one other, and of no answer."""


def checked_votes(votes: Any) -> dict[str, float]:
    """Shares (0..1) of all seven combinations; one that is missing or null has the share 0.

    Args:
        votes: shares by combination, from a file; the letters of a combination may be in any order.

    Raises:
        ValueError: for an unknown combination, a share outside of 0..1, or a sum that is not 1.

    Example:
        >>> votes = checked_votes({"t": 0.25, "it": 0.75})
        >>> votes["ti"], votes["a"]
        (0.75, 0.0)
    """
    if not isinstance(votes, Mapping):
        raise ValueError(f"the votes must be shares by combination, not {votes!r:.60}")
    names = {frozenset(name): name for name in COMBINATIONS}
    shares = dict.fromkeys(COMBINATIONS, 0.0)
    for key, share in votes.items():
        name = names.get(frozenset(str(key)))
        if name is None or len(str(key)) != len(name):
            raise ValueError(f"votes for {key!r}, which is none of {', '.join(COMBINATIONS)}")
        if share is not None:
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
                raise ValueError(
                    f"the share of the votes for {key!r} must be in 0..1, not {share!r:.40}"
                )
            shares[name] = float(share)
    total = sum(shares.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise ValueError(f"the votes sum up to {total:.4g}, not to 1 (within {SUM_TOLERANCE})")
    return shares


def most_voted(votes: Mapping[str, float]) -> list[Modality]:
    """Modalities of the combination with most votes; in a tie, the one with the fewest modalities.

    Example:
        >>> [str(modality) for modality in most_voted(checked_votes({"t": 0.4, "ti": 0.6}))]
        ['text', 'image']
    """
    best = max(COMBINATIONS, key=lambda name: votes[name])
    return [LETTERS[letter] for letter in best]


def brier(votes: Mapping[str, float], produced: str) -> float:
    """Brier score, 0..2, of the produced combination as a forecast of the votes; lower is better.

    It is the sum over all combinations of the squared difference between the share and 1 for the
    produced combination, 0 for the others.

    Args:
        votes: the shares of all combinations, as `checked_votes` returns them.
        produced: letters of the modalities of the answer in any order; the worst score if empty.

    Example:
        >>> votes = checked_votes({"t": 0.5, "ti": 0.5})
        >>> brier(votes, "t"), brier(votes, "a"), brier(votes, "")
        (0.5, 1.5, 2.0)
    """
    if not produced:
        return WORST_BRIER
    same = {name: frozenset(name) == frozenset(produced) for name in votes}
    unlisted = not any(same.values())  # such as one with video, which nobody could vote for
    return float(unlisted) + sum((share - same[name]) ** 2 for name, share in votes.items())
