"""Log-probabilities of tokens from logits, with little memory beyond the logits."""

from __future__ import annotations

from typing import Any

import torch


class _ChosenLogSoftmax(torch.autograd.Function):  # type: ignore[misc]  # its types are not read
    """x[target] - log sum exp x, with the gradient 1[target] - softmax x.

    PyTorch's own backward pass of `gather` and `logsumexp` needs four tensors of the logits' size at
    once, this one two: with a vocabulary of 150,000 they take most of the memory of a step.
    """

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        # A row at a time: logsumexp takes a copy of what it is given.
        total = torch.stack([row.logsumexp(-1) for row in logits])
        ctx.save_for_backward(logits, targets, total)
        return logits.gather(-1, targets[..., None])[..., 0] - total

    @staticmethod
    def backward(ctx: Any, above: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits, targets, total = ctx.saved_tensors
        slope = (logits - total[..., None]).exp_().mul_(-above[..., None])
        slope.scatter_add_(-1, targets[..., None], above[..., None])
        return slope, None


def chosen_logprobs(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Natural log-probability of each target, float32 (rows, columns).

    Args:
        logits: float32 (rows, columns, vocabulary).
        targets: int64 (rows, columns).
    """
    logprobs: torch.Tensor = _ChosenLogSoftmax.apply(logits, targets)
    return logprobs
