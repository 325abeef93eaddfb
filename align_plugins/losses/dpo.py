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


Form = Literal["sigmoid", "ipo"]


class Sides(NamedTuple):
    """Sums of log-probabilities of two responses each, and their numbers of tokens, by modality: four
    tensors, float32 (pairs, 4)."""

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
    """r of the chosen and of the rejected responses, float32 (pairs, 4) each: what each modality adds.

    `weights` scale the tokens of a modality (1 where it has none). `normalise` divides by the number of
    all tokens of the response, so that the sum over the modalities is a mean over tokens.
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
    chosen: torch.Tensor, rejected: torch.Tensor, beta: float, form: Form = "sigmoid"
) -> torch.Tensor:
    """The loss of each pair, float32 (pairs,), from its log-ratios r (pairs,). `beta` is above 0; for
    ipo the log-ratios must be means over tokens."""
    from torch.nn import functional

    margin = chosen - rejected
    if form == "ipo":
        return (margin - 1 / (2 * beta)).square()
    return -functional.logsigmoid(beta * margin)
