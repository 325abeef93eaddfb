"""Supervised fine-tuning: the mean negative log-likelihood of the tokens of responses.

    L = - (1 / N) * sum over responses, sum over their tokens, log p(token | prompt, tokens before it)

N counts the tokens of all responses of an optimisation step, so that every token weighs the same,
whatever the length of its response and however the step is cut into batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from align_plugins.losses.token_logprobs import TokenLogprobs

if TYPE_CHECKING:
    import torch


def sft_loss(tokens: TokenLogprobs, count: torch.Tensor | float | None = None) -> torch.Tensor:
    """The loss, a scalar. `count` is N if the optimiser step has more batches than this one.

    Example:
        >>> import torch
        >>> row = torch.tensor([[-1.0, -3.0, 0.0]])
        >>> tokens = TokenLogprobs(row, row < 0, torch.zeros(1, 3, dtype=torch.int64))
        >>> sft_loss(tokens).item()
        2.0
    """
    if count is None:
        count = tokens.mask.sum()
    return -tokens.values.sum() / count
