"""The pairwise ranking loss of reward models.

    L = - log sigmoid(r(chosen) - r(rejected) - margin) + c * mean of r^2 over both

Bradley and Terry 1952; the margin as in Llama 2 (Touvron et al. 2023, arXiv 2307.09288, eq. 2). The last
term keeps rewards near 0, which differences leave open: c = .001 in align-anything's reward models.

Aspects (clarity, safety ...) have heads of their own, and the same loss without a margin, over the pairs
whose ratings in an aspect differ; there the better rated response takes the part of the chosen one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def reward_loss(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    margin: torch.Tensor | float = 0.0,
    regulariser: float = 0.001,
    count: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """Mean loss over pairs, a scalar.

    Args:
        chosen: rewards of the chosen responses, (pairs,).
        rejected: rewards of the rejected responses, (pairs,).
        margin: difference that the rewards must exceed, a number or (pairs,).
        regulariser: c, weight of the mean square of the rewards.
        count: number of pairs of the optimiser step, if it has more batches than this one.

    Example:
        >>> import torch
        >>> round(reward_loss(torch.zeros(3), torch.zeros(3)).item(), 4)
        0.6931
    """
    import torch
    from torch.nn import functional

    ranking = -functional.logsigmoid(chosen - rejected - margin).sum()
    squares = torch.cat([chosen, rejected]).square().sum()
    return (ranking + regulariser * squares / 2) / (len(chosen) if count is None else count)


def aspect_loss(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    differences: torch.Tensor,
    regulariser: float = 0.001,
    count: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """Mean loss over all ratings that differ, a scalar; 0 if none does.

    Args:
        chosen: rewards of the chosen responses, float32 (pairs, aspects).
        rejected: rewards of the rejected responses, (pairs, aspects).
        differences: ratings of the chosen minus those of the rejected responses, (pairs, aspects), 0
            where they were not rated.
        regulariser: as in `reward_loss`.
        count: number of ratings that differ in the optimiser step, if it has more batches than this one.
    """
    rated = differences != 0
    if not rated.any():
        return 0.0 * chosen.sum()  # a step has a gradient all the same
    upward = differences[rated] > 0
    better = chosen[rated].where(upward, rejected[rated])
    worse = rejected[rated].where(upward, chosen[rated])
    return reward_loss(better, worse, regulariser=regulariser, count=count)
