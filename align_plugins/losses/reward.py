"""The pairwise ranking loss of reward models.

    L = - log sigmoid(r(chosen) - r(rejected) - margin) + c * mean of r^2 over both

Bradley and Terry 1952; the margin as in Llama 2 (Touvron et al. 2023, arXiv 2307.09288, eq. 2). The last
term keeps rewards near 0, which differences leave open: c = .001 in align-anything's reward models.
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
