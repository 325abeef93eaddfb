"""Figures of batches and rounds, gathered for a line of the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Figures = dict[str, tuple["float | torch.Tensor", float]]
"""Means by name, each with its weight in a mean over batches, rounds and processes. A tensor has no
gradient, and stays on its device until it is told."""


class Tally:
    """Figures since the last line of the log. `sums` holds, by name, a weighted sum and the weights."""

    def __init__(self) -> None:
        self.sums: Figures = {}

    def add(self, figures: Figures) -> None:
        """Some more figures."""
        self.take_in({name: (value * weight, weight) for name, (value, weight) in figures.items()})

    def take_in(self, sums: Mapping[str, tuple[float | torch.Tensor, float]]) -> None:
        """The sums of another."""
        for name, (total, weight) in sums.items():
            before = self.sums.get(name, (0.0, 0.0))
            self.sums[name] = (before[0] + total, before[1] + weight)

    def means(self) -> dict[str, float]:
        """By name."""
        return {name: float(total) / weight for name, (total, weight) in self.sums.items() if weight}
