"""The aggregates of the Eval-Anything paper (Align Anything, arXiv 2412.15838, section 4 and table).

The text of the paper weighs each pair by its share of votes; the printed table does not. These formulas
follow the table: they reproduce 19 of its 21 derived cells to the printed digit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping


def amg(scores: Mapping[str, float]) -> float:
    """All-modality generation: Select * sum over pairs of (S_x + S_y) / 2 * S_xy, in 0..30.

    Args:
        scores: `select` (share of votes, 0..1); `t`, `v`, `a` (instruction following in text,
            vision and audio, 0..10); `tv`, `ta`, `va` (synergy of each pair, 0..1).

    Example:
        >>> amg({"select": 0.5, "t": 6, "v": 5, "a": 4, "tv": 0.5, "ta": 0.5, "va": 1.0})
        4.875
    """
    s = scores
    pairs = (s["t"] + s["v"]) * s["tv"] + (s["t"] + s["a"]) * s["ta"] + (s["v"] + s["a"]) * s["va"]
    return s["select"] * pairs / 2


def mean(scores: Mapping[str, float]) -> float:
    """The plain mean: AMU over its four dimensions (0..10), Overall over AMU and AMG."""
    return sum(scores.values()) / len(scores)


CHANCE = 1 / 7
"""Mean share of votes of a combination chosen uniformly among the seven. The shares of an item sum to 1,
so it is the same for all items."""


def chance_corrected(scores: Mapping[str, float]) -> float:
    """Selection rescaled so that guessing scores 0 and always choosing the majority's combination scores
    1. The paper does not define it.

    Args:
        scores: `select` (mean share of votes for what was produced) and `best` (mean share of the
            combination with most votes), over the same items.

    Example:
        >>> round(chance_corrected({"select": 1 / 7, "best": 0.6}), 6)
        0.0
    """
    return (scores["select"] - CHANCE) / (scores["best"] - CHANCE)


Formula = Callable[[Mapping[str, float]], float]
"""From the inputs of an aggregate, by name, to its number. For the interval the inputs are arrays of
bootstrap draws (2000,), so a formula must be arithmetic that numpy can do."""
