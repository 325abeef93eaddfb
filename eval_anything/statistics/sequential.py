"""Confidence sequences: bounds of a mean that hold at every look at once, and tests to match.

A bet against "the mean is at most m" multiplies its wealth by 1 + lambda (x - m) at each observation x.
Under that hypothesis wealth is a supermartingale, so it ever reaches 1 / alpha with probability at most
alpha (Ville 1939). The values of m against which it has reached that are excluded, whenever one stops.
The bet is a mixture of constant ones, of all sizes (Waudby-Smith and Ramdas 2023, the grid of their
section 5.6): it needs no guess of the effect, and adapts to the variance.

An observation is a *unit*: the sum over all samples of a cluster, so correlation inside of clusters
needs no model. Units come in *steps*, each with units of every task. With a bet that is constant in a
step, the expected product of the 1 + lambda (x - m) is at most that of their mean (the geometric mean is
the smaller one): wealth at the ends of steps tests the weighted mean over tasks with means of their own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from eval_anything.statistics.intervals import Floats, Ints

_BETS = np.geomspace(0.02, 0.95, 16)
"""Sizes of the bets, as shares of the largest one with which wealth cannot become negative."""


_BISECTIONS = 20


class Units(NamedTuple):
    """Units of a mean in the order of their steps.

    Attributes:
        values: sums (U,) of the values of each unit's samples, each value from -1 to 1, times a weight:
            so that the expected sum over a step's units is their number times the mean.
        sizes: sums (U,) of ones in place of the values.
        reach: the largest size (U,) of a unit in the same step; alike in a step.
        steps: the number (U,) of each unit's step.
        step_count: the number of steps, of which some may have no unit.
    """

    values: Floats
    sizes: Floats
    reach: Floats
    steps: Ints
    step_count: int

    @property
    def ends(self) -> Ints:
        """Number of units (S,) up to the end of each step."""
        return np.searchsorted(self.steps, np.arange(self.step_count), side="right")

    def until(self, steps: int) -> Units:
        """The units of the first steps."""
        end = int(np.searchsorted(self.steps, steps))
        return Units(self.values[:end], self.sizes[:end], self.reach[:end], self.steps[:end], steps)

    @property
    def means(self) -> Floats:
        """The mean of all values (S,) up to the end of each step; 0 before the first one."""
        sums, sizes = (np.append(0.0, column.cumsum())[self.ends] for column in self[:2])
        means: Floats = np.divide(sums, sizes, out=np.zeros(self.step_count), where=sizes > 0)
        return means


def evidence(units: Units, mean: float, side: int) -> Floats:
    """Logarithm of the largest wealth so far, at the end of each step (S,), of bets that the true mean
    is above (side 1) or below (side -1) this one. An anytime-valid p-value is its exp(-x)."""
    gains = side * (units.values - mean * units.sizes)
    most = units.reach * max(1 + side * mean, 1e-12)
    logs = np.log1p(np.outer(gains / most, _BETS)).cumsum(axis=0)
    logs = np.vstack([np.zeros(len(_BETS)), logs])[units.ends]
    highest = logs.max(axis=1)
    wealth = highest + np.log(np.exp(logs - highest[:, None]).mean(axis=1))
    running: Floats = np.maximum.accumulate(wealth)
    return np.maximum(running, 0.0)


def bound(units: Units, error: float, side: int) -> float:
    """The lower (side 1) or upper end (side -1) of the mean that holds at all looks at once, but for a
    share `error` of sequences.

    Example:
        >>> import numpy as np
        >>> ones = np.ones(60)
        >>> round(bound(Units(ones, ones, ones, np.arange(60), 60), 0.05, 1), 2)
        0.82
    """
    needed = math.log(1 / error)
    low, high = -float(side), float(side)  # excluded, or the end of the range; not excluded
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if evidence(units, middle, side)[-1] >= needed:
            low = middle
        else:
            high = middle
    return low
