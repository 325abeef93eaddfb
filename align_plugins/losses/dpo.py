"""Direct preference optimisation and its relatives.

With r(y) = log p(y|x) - log p_ref(y|x) and the margin h = r(chosen) - r(rejected):

    sigmoid   - log sigmoid(beta h)                  Rafailov et al. 2023, arXiv 2305.18290, eq. 7
    ipo       (h - 1 / (2 beta))^2                   Azar et al. 2023, arXiv 2310.12036, eq. 17

For ipo, r is the mean over the tokens of a response, as its authors' correction and TRL have it; for
sigmoid it is the sum, or the mean where lengths are to be normalised (TRL's `sigmoid_norm`; Meng et al.
2024, arXiv 2405.14734, without its reference-free form).

The NLL term of Pang et al. 2024 (arXiv 2404.19733) adds the token mean of the chosen responses' negative
log-likelihood (losses/sft.py), weighted: it keeps the chosen response likely in itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from eval_anything.content import MODALITIES, Modality

if TYPE_CHECKING:
    import torch


LossType = Literal["sigmoid", "ipo"]


class Sides(NamedTuple):
    """Sums of log-probabilities of the two responses of each pair, and their numbers of tokens, by
    modality: four tensors, float32 (pairs, 4)."""

    chosen: torch.Tensor
    rejected: torch.Tensor
    chosen_count: torch.Tensor
    rejected_count: torch.Tensor


def log_ratios(
    policy: Sides,
    reference: Sides,
    weights: Mapping[Modality, float] | None = None,
    normalise: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-ratios r of the chosen and the rejected responses by modality, float32 (pairs, 4) each.

    Args:
        policy: sums under the trained policy.
        reference: sums under the reference.
        weights: factors for the tokens of a modality, 1 if missing.
        normalise: divides by the number of all tokens of the response, so that the sum over modalities
            is a mean over tokens.

    Example:
        >>> import torch
        >>> policy = Sides(*(torch.tensor([[v, 0.0, 0.0, 0.0]]) for v in (-2.0, -3.0, 4.0, 4.0)))
        >>> reference = policy._replace(chosen=torch.tensor([[-4.0, 0.0, 0.0, 0.0]]))
        >>> chosen, rejected = log_ratios(policy, reference)
        >>> chosen.sum(1).tolist(), rejected.sum(1).tolist()
        ([2.0], [0.0])
    """
    import torch

    scale = torch.tensor([(weights or {}).get(m, 1.0) for m in MODALITIES], device=policy.chosen.device)
    chosen = (policy.chosen - reference.chosen) * scale
    rejected = (policy.rejected - reference.rejected) * scale
    if normalise:
        chosen = chosen / policy.chosen_count.sum(1, keepdim=True).clamp(min=1)
        rejected = rejected / policy.rejected_count.sum(1, keepdim=True).clamp(min=1)
    return chosen, rejected


def dpo_loss(
    chosen: torch.Tensor, rejected: torch.Tensor, beta: float, loss_type: LossType = "sigmoid"
) -> torch.Tensor:
    """Loss of each pair, float32 (pairs,).

    Args:
        chosen: log-ratios r of the chosen responses, (pairs,); for ipo means over tokens.
        rejected: the same for the rejected responses.
        beta: strength of the tie to the reference, above 0.
        loss_type: sigmoid or ipo.

    Example:
        >>> import torch
        >>> start = torch.zeros(1)  # the policy is still the reference: the loss is ln 2
        >>> round(dpo_loss(start, start, beta=0.1).item(), 4)
        0.6931
    """
    from torch.nn import functional

    margin = chosen - rejected
    if loss_type == "ipo":
        return (margin - 1 / (2 * beta)).square()
    return -functional.logsigmoid(beta * margin)
