"""Figures of batches and rounds, gathered for a line of the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


MetricMeans = dict[str, tuple["float | torch.Tensor", float]]
"""Means by name, each with its weight in a mean over batches, rounds and processes. A tensor has no
gradient, and stays on its device until it is told."""


class Tally:
    """Figures since the last line of the log. `_sums` holds, by name, a weighted sum and the weights."""

    def __init__(self) -> None:
        self._sums: MetricMeans = {}

    def add(self, means: MetricMeans) -> None:
        """Some more figures."""
        self._take_in({name: (mean * weight, weight) for name, (mean, weight) in means.items()})

    def _take_in(self, sums: Mapping[str, tuple[float | torch.Tensor, float]]) -> None:
        """The sums of another."""
        for name, (total, weight) in sums.items():
            before = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = (before[0] + total, before[1] + weight)

    def means(self) -> dict[str, float]:
        """Weighted means by name over all processes since the last call (a collective one)."""
        from accelerate.utils import gather_object

        local_sums = {name: (float(total), weight) for name, (total, weight) in self._sums.items()}
        self._sums = {}
        total_tally = Tally()
        for sums in gather_object([local_sums]):
            total_tally._take_in(sums)
        return {
            name: float(total) / weight for name, (total, weight) in total_tally._sums.items() if weight
        }
