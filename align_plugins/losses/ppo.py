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
    """An estimate of KL(p || q) for each token that p sampled; its mean is right. k3 is never below 0
    and varies less."""
    ratio = reference - logprobs
    return -ratio if estimator == "k1" else ratio.expm1() - ratio


def token_rewards(
    scores: torch.Tensor, kl: torch.Tensor, mask: torch.Tensor, kl_weight: float
) -> torch.Tensor:
    """float32 (rows, columns): the price of leaving the reference at every token, and the score (rows,)
    of the response at its last one. Each row of the mask begins with its tokens, at least one."""
    rewards = -kl_weight * kl * mask
    last = mask.sum(1) - 1
    return rewards.scatter_add(1, last[:, None], scores[:, None].to(rewards))


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lambda_: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and returns, float32 (rows, columns), 0 outside of the mask.

    `values[:, t]` is that of the state in which token t was chosen. After the last token of a row there
    is nothing more to gain, whatever stands in the columns after it.
    """
    import torch

    values = values * mask
    advantages = torch.zeros_like(values)
    after = advantage = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        difference = rewards[:, t] + gamma * after - values[:, t]
        advantage = (difference + gamma * lambda_ * advantage) * mask[:, t]
        advantages[:, t] = advantage
        after = values[:, t]
    return advantages, advantages + values


def moments(values: torch.Tensor) -> torch.Tensor:
    """Number, sum and sum of squares, float64 (3,): those of several processes may be added."""
    import torch

    values = values.double()
    return torch.stack([torch.ones_like(values).sum(), values.sum(), values.square().sum()])


def whiten(values: torch.Tensor, statistics: torch.Tensor) -> torch.Tensor:
    """Values with mean 0 and standard deviation 1 where `found` are their moments; all 0 where they do
    not differ."""
    n, total, squares = statistics.tolist()
    mean = total / n
    deviation = max(squares / n - mean**2, 0.0) ** 0.5
    if deviation <= 1e-6 * max(1.0, abs(mean)):
        return values * 0.0
    return (values - mean) / deviation


def policy_loss(
    new: torch.Tensor,
    old: torch.Tensor,
    advantages: torch.Tensor,
    clip: float,
    count: torch.Tensor | float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss from log-probabilities (tokens,) and advantages, and how many tokens are clipped: those
    that move no further. `count` is the number of tokens of the step if it has more batches."""
    import torch

    ratio = (new - old).exp()
    free = ratio * advantages
    bound = ratio.clamp(1 - clip, 1 + clip) * advantages
    clipped = (bound < free).sum()
    return -torch.minimum(free, bound).sum() / (len(new) if count is None else count), clipped


def value_loss(
    new: torch.Tensor,
    old: torch.Tensor,
    returns: torch.Tensor,
    clip: float,
    count: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """The loss of values (tokens,), whose step from the old ones is bounded by `clip`; `count` as in
    `policy_loss`."""
    import torch

    bound = old + (new - old).clamp(-clip, clip)
    worse = torch.maximum((new - returns).square(), (bound - returns).square())
    return 0.5 * worse.sum() / (len(new) if count is None else count)


def adapted_kl_coef(weight: float, kl: float, target: float, responses: int, horizon: float) -> float:
    """The next weight of the KL, a little higher if the KL of a response (nats) was above the target:
    weight (1 + clip(kl / target - 1, -.2, .2) responses / horizon); Ziegler et al., section 2.2."""
    error = min(max(kl / target - 1, -0.2), 0.2)
    return weight * (1 + error * responses / horizon)
