"""Proximal policy optimisation of responses, token by token.

With A an advantage, V a value, R a return, r = p_new(token) / p_old(token), and means over tokens:

    policy    - mean of min(r A, clip(r, 1 - c, 1 + c) A)              Schulman et al. 2017, eq. 7
    value     1/2 mean of max((V - R)^2, (clip(V, V_old +- c) - R)^2)  authors' code; Huang et al. 2022
    GAE       A_t = d_t + gamma lambda A_(t+1),  d_t = reward_t + gamma V_(t+1) - V_t,  R = A + V_old
                                                                       Schulman et al. 2015, eq. 16
    reward_t  - w KL_t, and the score of the response at its last token    Ziegler et al. 2019, eq. 2
    KL_t      k1 = log p - log q;  k3 = q/p - 1 - log(q/p)             Schulman 2020, "Approximating KL"

(arXiv 1707.06347, 1506.02438, 1909.08593; "The 37 implementation details of PPO", ICLR blog track 2022;
joschu.net/blog/kl-approx.html). p is the policy that sampled, q the reference. Tokens of prompts and
padding are never part of these: vectors (tokens,) hold the tokens of responses alone, one response after
another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch


KlEstimator = Literal["k1", "k3"]


def kl_estimate(
    logprobs: torch.Tensor, reference: torch.Tensor, estimator: KlEstimator = "k1"
) -> torch.Tensor:
    """Estimate of KL(p || q) for each token that p sampled; its mean over tokens is unbiased.

    Args:
        logprobs: log p of the tokens.
        reference: log q of the tokens, of the same shape.
        estimator: k1, or k3, which is never below 0 and varies less.
    """
    ratio = reference - logprobs
    return -ratio if estimator == "k1" else ratio.expm1() - ratio


def token_rewards(
    scores: torch.Tensor, kl: torch.Tensor, mask: torch.Tensor, kl_coef: float
) -> torch.Tensor:
    """Reward of each token, float32 (rows, columns): the KL penalty, plus the score at the last token.

    Args:
        scores: of the responses, (rows,).
        kl: KL estimates, (rows, columns).
        mask: bool (rows, columns). Each row begins with its tokens, at least one.
        kl_coef: weight of the KL penalty.

    Example:
        >>> import torch
        >>> kl, mask = torch.tensor([[1.0, 2.0]]), torch.tensor([[True, True]])
        >>> token_rewards(torch.tensor([10.0]), kl, mask, kl_coef=0.5).tolist()
        [[-0.5, 9.0]]
    """
    rewards = -kl_coef * kl * mask
    last = mask.sum(1) - 1
    return rewards.scatter_add(1, last[:, None], scores[:, None].to(rewards))


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lambda_: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimation: advantages and returns, float32 (rows, columns), 0 outside of
    the mask.

    Args:
        rewards: of the tokens, (rows, columns).
        values: `values[:, t]` is that of the state in which token t was chosen. The value after the last
            token of a row is 0, whatever the columns after it hold.
        mask: bool (rows, columns), as in `token_rewards`.
        gamma: discount, 0..1.
        lambda_: decay of later TD errors, 0..1.
    """
    import torch

    values = values * mask
    advantages = torch.zeros_like(values)
    next_value = advantage = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        td_error = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = (td_error + gamma * lambda_ * advantage) * mask[:, t]
        advantages[:, t] = advantage
        next_value = values[:, t]
    return advantages, advantages + values


def moments(values: torch.Tensor) -> torch.Tensor:
    """Number, sum and sum of squares, float64 (3,). Moments of several processes can be added."""
    import torch

    values = values.double()
    return torch.stack([torch.ones_like(values).sum(), values.sum(), values.square().sum()])


def whiten(values: torch.Tensor, statistics: torch.Tensor) -> torch.Tensor:
    """Values scaled to mean 0 and standard deviation 1; all 0 if they do not differ.

    Args:
        values: of any shape.
        statistics: their `moments`, or those of all processes together.

    Example:
        >>> import torch
        >>> rewards = torch.tensor([1.0, 3.0])
        >>> whiten(rewards, moments(rewards)).tolist()
        [-1.0, 1.0]
    """
    n, total, squares = statistics.tolist()
    mean = total / n
    deviation = max(squares / n - mean**2, 0.0) ** 0.5
    if deviation <= 1e-6 * max(1.0, abs(mean)):
        return values * 0.0
    return (values - mean) / deviation


def policy_loss(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    clip_range: float,
    count: torch.Tensor | float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Clipped policy loss, a scalar, and the number of clipped tokens, which have no gradient.

    Args:
        logprobs: under the policy that is trained, (tokens,).
        old_logprobs: under the policy that sampled, (tokens,).
        advantages: of the tokens, (tokens,).
        clip_range: c; ratios of probabilities count from 1 - c to 1 + c.
        count: number of tokens of the optimiser step, if it has more batches.

    Example:
        >>> import torch
        >>> same, advantages = torch.zeros(2), torch.tensor([1.0, 2.0])
        >>> loss, clipped_tokens = policy_loss(same, same, advantages, clip_range=0.2)
        >>> loss.item(), clipped_tokens.item()
        (-1.5, 0)
    """
    import torch

    ratio = (logprobs - old_logprobs).exp()
    unclipped = ratio * advantages
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range) * advantages
    clipped_tokens = (clipped < unclipped).sum()
    total = torch.minimum(unclipped, clipped).sum()
    return -total / (len(logprobs) if count is None else count), clipped_tokens


def value_loss(
    values: torch.Tensor,
    old_values: torch.Tensor,
    returns: torch.Tensor,
    clip_range: float,
    count: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """Clipped value loss, a scalar.

    Args:
        values: of the critic that is trained, (tokens,).
        old_values: of the critic at the time of sampling, (tokens,).
        returns: targets, (tokens,).
        clip_range: largest change from the old values that lowers the loss.
        count: number of tokens of the optimiser step, if it has more batches.
    """
    import torch

    clipped = old_values + (values - old_values).clamp(-clip_range, clip_range)
    squared_errors = torch.maximum((values - returns).square(), (clipped - returns).square())
    return 0.5 * squared_errors.sum() / (len(values) if count is None else count)


def adapted_kl_coef(kl_coef: float, kl: float, target: float, responses: int, horizon: float) -> float:
    """The next KL coefficient: kl_coef (1 + clip(kl / target - 1, -.2, .2) responses / horizon); Ziegler
    et al., section 2.2.

    Args:
        kl_coef: the present one.
        kl: mean KL of a response (nats).
        target: the KL to aim for; above it the coefficient rises.
        responses: number of responses that `kl` is the mean of.
        horizon: number of responses over which the coefficient may change much.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return kl_coef * (1 + error * responses / horizon)
