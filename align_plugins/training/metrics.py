"""Metrics of batches and rounds, collected for a line of the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


MetricMeans = dict[str, tuple["float | torch.Tensor", float]]
"""Means by name, each with its weight in a mean over batches, rounds and processes. Tensors have no
gradient and stay on their device until the log is written."""


class Tally:
    """Weighted means of metrics since the last line of the log."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float | torch.Tensor, float]] = {}  # weighted sum, sum of weights

    def add(self, means: MetricMeans) -> None:
        """Adds means of a batch or round."""
        self._add_sums({name: (mean * weight, weight) for name, (mean, weight) in means.items()})

    def _add_sums(self, sums: Mapping[str, tuple[float | torch.Tensor, float]]) -> None:
        """Adds weighted sums and weights by name."""
        for name, (total, weight) in sums.items():
            before = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = (before[0] + total, before[1] + weight)

    def means(self) -> dict[str, float]:
        """Weighted means by name over all processes since the last call. A collective call: every
        process must make it."""
        from accelerate.utils import gather_object

        local_sums = {name: (float(total), weight) for name, (total, weight) in self._sums.items()}
        self._sums = {}
        total_tally = Tally()
        for sums in gather_object([local_sums]):
            total_tally._add_sums(sums)
        return {
            name: float(total) / weight for name, (total, weight) in total_tally._sums.items() if weight
        }
