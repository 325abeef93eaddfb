"""Two one-sided tests: is a mean difference smaller than a margin, whichever its sign?

"No significant change" proves nothing. Here each direction is tested on its own (Schuirmann 1987): equal
within a margin is shown where the loss and the gain are both shown to be smaller, which is where the
interval at the level 1 - 2 alpha lies inside of the margin. Both must be shown, so each is tested at
alpha.
"""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct

from eval_anything.statistics.intervals import Floats, Ints
from eval_anything.statistics.paired import change_interval, samples_that_settle

EquivalenceVerdict = Literal["equivalent", "different", "not known"]


class Equivalence(Struct, frozen=True):
    """The verdict on a mean difference over n samples in clusters.

    "different" means that the difference is shown to be larger than the margin. `interval` is at the
    level 1 - 2 alpha; None for fewer than two clusters. `needed` is the number of samples that would
    settle what is not known, if they went on like these; None if no number would.
    """

    verdict: EquivalenceVerdict
    difference: float
    interval: tuple[float, float] | None
    n: int
    clusters: int
    needed: int | None


def equivalence(
    differences: Floats,
    clusters: Ints,
    margin: float,
    largest: float | Floats = 1.0,
    strata: Ints | None = None,
    alpha: float = 0.05,
) -> Equivalence:
    """Tests whether a mean difference is within a margin on both sides.

    Args:
        differences: paired differences (n,), such as shares of the range of a score.
        clusters: codes (n,) of their clusters.
        margin: the difference that does not matter, in the same unit, above 0.
        largest: as in `paired`.
        strata: as in `paired`.
        alpha: the error rate of each side, and so of the verdict "equivalent".

    Example:
        >>> import numpy as np
        >>> same = equivalence(np.zeros(100), np.arange(100), 0.05)
        >>> same.verdict, [round(end, 3) for end in same.interval]
        ('equivalent', [-0.03, 0.03])
        >>> equivalence(np.zeros(100), np.arange(100), 0.01).verdict
        'not known'
    """
    n, groups = len(differences), int(clusters.max()) + 1
    difference = math.fsum(differences.tolist()) / n
    interval = change_interval(differences, clusters, largest, alpha, strata, sides=1)
    if interval is None:
        return Equivalence("not known", difference, None, n, groups, None)
    low, high = interval
    if -margin < low and high < margin:
        return Equivalence("equivalent", difference, interval, n, groups, n)
    if low > margin or high < -margin:
        return Equivalence("different", difference, interval, n, groups, n)
    if abs(difference) < margin:
        sides = [(difference - low, difference + margin), (high - difference, margin - difference)]
    elif difference > 0:
        sides = [(difference - low, difference - margin)]
    else:
        sides = [(high - difference, -margin - difference)]
    multiples = [samples_that_settle(half, room) for half, room in sides]
    needed = None if None in multiples else math.ceil(n * max(m for m in multiples if m is not None))
    return Equivalence("not known", difference, interval, n, groups, needed)
