"""Log-probabilities of responses by token: the input of the losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eval_anything.content import MODALITIES

if TYPE_CHECKING:
    import torch


class TokenLogprobs(NamedTuple):
    """Log-probabilities that a model assigns to the responses of a batch.

    Attributes:
        values: natural log-probability of each token, float32 (rows, columns), 0 outside of the mask.
        mask: whether a position is a token of a response, bool (rows, columns).
        modalities: index in MODALITIES, int64 (rows, columns); undefined outside of the mask.
    """

    values: torch.Tensor
    mask: torch.Tensor
    modalities: torch.Tensor

    def sums(self) -> torch.Tensor:
        """Sum over each modality's tokens, float32 (rows, 4)."""
        return self._by_modality(self.values * self.mask)

    def counts(self) -> torch.Tensor:
        """Number of each modality's tokens, float32 (rows, 4)."""
        return self._by_modality(self.mask.to(self.values.dtype))

    def _by_modality(self, values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(len(values), len(MODALITIES)).scatter_add(1, self.modalities, values)
