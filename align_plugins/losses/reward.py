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
) -> torch.Tensor:
    """The mean loss over pairs, a scalar, from the rewards (pairs,) of both responses."""
    import torch
    from torch.nn import functional

    ranking = -functional.logsigmoid(chosen - rejected - margin).mean()
    return ranking + regulariser * torch.cat([chosen, rejected]).square().mean()


def aspect_loss(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    differences: torch.Tensor,
    regulariser: float = 0.001,
) -> torch.Tensor:
    """The mean loss over all ratings that differ, a scalar; 0 if none does.

    All are float32 (pairs, aspects): the rewards of both responses, and the ratings of the chosen less
    those of the rejected ones, 0 where nobody rated.
    """
    rated = differences != 0
    if not rated.any():
        return 0.0 * chosen.sum()  # a step has a gradient all the same
    upward = differences[rated] > 0
    better = chosen[rated].where(upward, rejected[rated])
    worse = rejected[rated].where(upward, chosen[rated])
    return reward_loss(better, worse, regulariser=regulariser)
