"""From logits to the log-probabilities of tokens, with little memory beside the logits."""

from __future__ import annotations

from typing import Any

import torch


class _ChosenLogSoftmax(torch.autograd.Function):  # type: ignore[misc]  # its types are not read
    """x[target] - log sum exp x, whose gradient by x is 1[target] - softmax x.

    PyTorch's own way through `gather` and `logsumexp` holds four tensors of the logits' size at once in
    its backward pass, this two: with a vocabulary of 150,000 they are most of what a step takes.
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
    """Natural log-probability of each target, float32 (rows, columns), from float32 logits (rows,
    columns, vocabulary) and int64 targets (rows, columns)."""
    logprobs: torch.Tensor = _ChosenLogSoftmax.apply(logits, targets)
    return logprobs
