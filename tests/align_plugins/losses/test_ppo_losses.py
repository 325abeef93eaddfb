"""The pieces of PPO against hand-worked values, and against slow loops that know no padding."""

from __future__ import annotations

import math

import pytest
import torch

from align_plugins.losses.ppo import (
    adapted_kl_coef,
    gae,
    kl_estimate,
    moments,
    policy_loss,
    token_rewards,
    value_loss,
    whiten,
)


def test_a_surrogate_by_hand() -> None:
    """Ratios 1.5, 0.5, 1.5, 0.5 with clip 0.2: a gain stops at 1.2, a loss is never cut short."""
    new = torch.log(torch.tensor([0.6, 0.2, 0.6, 0.2]))
    old = torch.log(torch.tensor([0.4, 0.4, 0.4, 0.4]))
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0])
    loss, clipped = policy_loss(new, old, advantages, 0.2)
    assert loss.item() == pytest.approx(-(1.2 + 0.5 - 1.5 - 0.8) / 4)
    assert clipped.item() == 2
    whole, _ = policy_loss(new[:2], old[:2], advantages[:2], 0.2, count=4)
    rest, _ = policy_loss(new[2:], old[2:], advantages[2:], 0.2, count=4)
    assert (whole + rest).item() == pytest.approx(loss.item())


@pytest.mark.parametrize(("advantage", "ratio", "moves"), [
    (1.0, 1.0, True), (-1.0, 1.0, True), (1.0, 1.3, False),
    (-1.0, 0.7, False), (1.0, 0.7, True), (-1.0, 1.3, True),
])  # fmt: skip
def test_the_sign_of_the_gradient(advantage: float, ratio: float, moves: bool) -> None:
    """A good token becomes likelier, a bad one less likely; beyond the clip neither moves further."""
    old = torch.tensor([-2.0])
    new = (old + math.log(ratio)).requires_grad_()
    policy_loss(new, old, torch.tensor([advantage]), 0.2)[0].backward()
    assert new.grad is not None
    assert new.grad.item() == pytest.approx(-advantage * ratio if moves else 0.0)


def test_a_value_loss_by_hand() -> None:
    """The worse of the free and of the bound value counts."""
    new, old = torch.tensor([1.0, 0.1, -1.0]), torch.tensor([0.0, 0.0, 0.0])
    returns = torch.tensor([2.0, 1.0, -1.0])
    by_hand = 0.5 * ((0.2 - 2) ** 2 + (0.1 - 1) ** 2 + (-0.2 + 1) ** 2) / 3
    assert value_loss(new, old, returns, 0.2).item() == pytest.approx(by_hand)


def test_advantages_by_hand() -> None:
    """Two tokens, reward 1 at the last; gamma 0.9, lambda 0.5; deltas 0.9*0.2-0.5 and 1-0.2."""
    advantages, returns = gae(
        torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.2]]), torch.tensor([[True, True]]), 0.9, 0.5
    )
    last = 1 - 0.2
    first = (0.9 * 0.2 - 0.5) + 0.9 * 0.5 * last
    assert advantages.tolist() == [pytest.approx([first, last])]
    assert returns.tolist() == [pytest.approx([first + 0.5, last + 0.2])]


def _slow(rewards: list[float], values: list[float], gamma: float, lambda_: float) -> list[float]:
    """The sum of discounted temporal differences, straight from its definition."""
    after = [*values[1:], 0.0]
    deltas = [r + gamma * n - v for r, v, n in zip(rewards, values, after, strict=True)]
    return [
        sum((gamma * lambda_) ** k * delta for k, delta in enumerate(deltas[t:]))
        for t in range(len(deltas))
    ]


def test_advantages_by_a_slow_loop_whatever_stands_in_the_padding() -> None:
    torch.manual_seed(0)
    lengths = [5, 1, 3]
    mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    rewards, values = torch.randn(3, 7), torch.randn(3, 7)  # noise in the padding, too
    advantages, returns = gae(rewards * mask, values, mask, 0.97, 0.9)
    for row, n in enumerate(lengths):
        slow = _slow(rewards[row, :n].tolist(), values[row, :n].tolist(), 0.97, 0.9)
        assert advantages[row, :n].tolist() == pytest.approx(slow, abs=1e-5)
        assert advantages[row, n:].abs().sum() == 0
        assert returns[row, n:].abs().sum() == 0


def test_lambda_1_and_gamma_1_give_what_is_still_to_come() -> None:
    rewards = torch.tensor([[0.0, -1.0, 3.0]])
    values = torch.tensor([[0.4, 7.0, -2.0]])
    _, returns = gae(rewards, values, torch.ones(1, 3, dtype=torch.bool), 1.0, 1.0)
    assert returns.tolist() == [pytest.approx([2.0, 2.0, 3.0])]


def test_the_score_stands_at_the_last_token_of_each_response() -> None:
    mask = torch.tensor([[True, True, True], [True, False, False]])
    kl = torch.tensor([[1.0, 2.0, 3.0], [4.0, 9.0, 9.0]])
    found = token_rewards(torch.tensor([10.0, 20.0]), kl, mask, 0.5)
    assert found.tolist() == [pytest.approx([-0.5, -1.0, 8.5]), pytest.approx([18.0, 0.0, 0.0])]


def test_estimates_of_kl_are_right_on_average() -> None:
    """Tokens drawn from p, against the exact sum; k3 is never below 0."""
    torch.manual_seed(0)
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.3, 0.5])
    exact = (p * (p / q).log()).sum().item()
    drawn = torch.multinomial(p, 200_000, replacement=True)
    for estimator in ("k1", "k3"):
        found = kl_estimate(p.log()[drawn], q.log()[drawn], estimator)
        assert found.mean().item() == pytest.approx(exact, abs=0.01)
    assert found.min() >= 0
    assert kl_estimate(p.log()[:1], q.log()[:1]).item() == pytest.approx(math.log(2.5))


def test_whitened_values() -> None:
    values = torch.tensor([1.0, 2.0, 6.0])
    found = whiten(values, moments(values))
    assert found.mean().item() == pytest.approx(0, abs=1e-6)
    assert found.std(unbiased=False).item() == pytest.approx(1, abs=1e-6)
    halves = moments(values[:1]) + moments(values[1:])  # as of two processes
    assert torch.allclose(whiten(values, halves), found)
    for constant in (torch.full((4,), 0.1), torch.full((1,), 1e8)):
        assert whiten(constant, moments(constant)).tolist() == [0.0] * len(constant)


def test_an_adapted_weight_by_hand() -> None:
    assert adapted_kl_coef(0.1, 6.0, 6.0, 64, 6400) == pytest.approx(0.1)
    assert adapted_kl_coef(0.1, 6.6, 6.0, 64, 6400) == pytest.approx(0.1 * (1 + 0.1 * 0.01))
    assert adapted_kl_coef(0.1, 60.0, 6.0, 64, 6400) == pytest.approx(0.1 * (1 + 0.2 * 0.01))
    assert adapted_kl_coef(0.1, -3.0, 6.0, 64, 6400) == pytest.approx(0.1 * (1 - 0.2 * 0.01))
