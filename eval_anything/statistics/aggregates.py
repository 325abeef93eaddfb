"""The aggregates of the Eval-Anything paper (Align Anything, arXiv 2412.15838, section 4 and table).

The text of the paper weighs each pair by its share of votes; the printed table does not. This is
what the table computes: 19 of its 21 derived cells come out to the printed digit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping


def amg(scores: Mapping[str, float]) -> float:
    """All-modality generation: Select * sum over pairs of (S_x + S_y) / 2 * S_xy, in 0..30.

    Args:
        scores: `select` (share of votes, 0..1); `t`, `v`, `a` (instruction following in text,
            vision and audio, 0..10); `tv`, `ta`, `va` (synergy of each pair, 0..1).
    """
    s = scores
    pairs = (s["t"] + s["v"]) * s["tv"] + (s["t"] + s["a"]) * s["ta"] + (s["v"] + s["a"]) * s["va"]
    return s["select"] * pairs / 2


def mean(scores: Mapping[str, float]) -> float:
    """The plain mean: AMU over its four dimensions (0..10), Overall over AMU and AMG."""
    return sum(scores.values()) / len(scores)


CHANCE = 1 / 7
"""The mean share of votes of a combination that is drawn from the seven with equal chances. The shares
of an item sum up to 1, so it is the same for all items."""


def chance_corrected(scores: Mapping[str, float]) -> float:
    """Selection so that guessing gives 0 and always taking what most people chose gives 1. Ours.

    Args:
        scores: `select` (mean share of votes for what was produced) and `best` (mean share of the
            combination with most votes), over the same items.
    """
    return (scores["select"] - CHANCE) / (scores["best"] - CHANCE)


Formula = Callable[[Mapping[str, float]], float]
"""A number from the inputs of an aggregate, by name. Inputs may be arrays of draws (2000,), for its
interval: a formula is arithmetic that numpy can do."""
