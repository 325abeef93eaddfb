"""Rollouts: responses of the policy to the prompts of one round, with rewards and metrics."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from align_plugins.methods.ppo.rewards import Reward, Rewards, response_of
from align_plugins.policies.base import Encoded, Policy
from align_plugins.training.metrics import MetricMeans
from align_plugins.training.sampling import Sampled, sample
from eval_anything.content import MODALITIES, Sample
from eval_anything.media import MediaStore


class RolloutPrompt(NamedTuple):
    """A prompt as tokens, for its length, and as a sample for judges; responses have at most
    `max_new_tokens` tokens."""

    prompt: Encoded
    sample: Sample
    max_new_tokens: int

    @property
    def tokens(self) -> int:
        """Number of tokens of the prompt with the longest possible response."""
        return self.prompt.tokens + self.max_new_tokens


class Rollout(NamedTuple):
    """Sampled responses with their rewards and metrics. `tokens` is the number of sampled tokens."""

    sampled: list[Sampled]
    rewards: list[Reward]
    metrics: MetricMeans
    tokens: int


class Advantages(NamedTuple):
    """Advantages and other inputs of the losses. Each is a list with a vector (tokens of the response,)
    for each response.

    Attributes:
        old_logprobs: log-probabilities under the policy that sampled.
        values: of the states, by the critic at that time.
        advantages: as in losses/ppo.py, whitened over all tokens.
        returns: as in losses/ppo.py.
        scored: whether a response has a reward; nothing is learned from one without.
    """

    old_logprobs: list[torch.Tensor]
    values: list[torch.Tensor]
    advantages: list[torch.Tensor]
    returns: list[torch.Tensor]
    scored: list[bool]


def prompt_order(count: int, seed: int) -> Callable[[int], int]:
    """Function from a position in an endless sequence to the index of a prompt, 0..count-1. Each epoch
    has every prompt once, in an order of its own that comes from the seed."""
    orders: dict[int, list[int]] = {}

    def at(position: int) -> int:
        epoch, inside = divmod(position, count)
        if epoch not in orders:
            orders[epoch] = random.Random(f"prompts-{seed}-{epoch}").sample(range(count), count)
            orders.pop(epoch - 2, None)
        return orders[epoch][inside]

    return at


def make_rollout(
    policy: Policy,
    prompts: Sequence[RolloutPrompt],
    rewards: Rewards,
    *,
    seeds: Sequence[int],
    temperature: float,
    max_new_tokens: int,
    precision: contextlib.AbstractContextManager[object],
) -> Rollout:
    """Samples a response to each prompt and has it judged. Media are in a temporary folder.

    Args:
        policy: a loaded policy.
        prompts: one for each response.
        rewards: judges of the responses.
        seeds: of the responses.
        temperature: of sampling.
        max_new_tokens: limit of a response.
        precision: context of sampling, such as autocast.
    """
    begun = time.perf_counter()
    with precision:
        sampled = sample(
            policy,
            [prompt.sample.messages for prompt in prompts],
            [prompt.prompt for prompt in prompts],
            seeds=seeds,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
        )
    seconds = time.perf_counter() - begun
    tokens = sum(len(s.row.response) for s in sampled)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        store = MediaStore(Path(folder))
        responses = [response_of(policy, s, store) for s in sampled]
        judged = rewards.score([prompt.sample for prompt in prompts], responses)
    judging = time.perf_counter() - begun
    n = float(len(prompts))
    metrics: MetricMeans = {
        "tokens_per_second": (tokens / seconds, n),
        "judging_seconds": (judging, n),
        "length": (tokens / n, n),
        "ended": (sum(s.ended for s in sampled) / n, n),
        "unscored": (sum(reward.value is None for reward in judged) / n, n),
        "invalid": (sum(r.error is not None for r in responses) / n, n),
    }
    return Rollout(sampled, judged, metrics | _reward_metrics(rewards.names, sampled, judged), tokens)


def _reward_metrics(
    names: Sequence[str], sampled: Sequence[Sampled], rewards: Sequence[Reward]
) -> MetricMeans:
    """Mean of each reward, if there are several, and by modality the share of responses that contain it
    and their mean reward."""
    metrics: MetricMeans = {}
    scored = [reward for reward in rewards if reward.value is not None]
    for name in names if len(names) > 1 else ():
        _add_mean(metrics, f"reward_{name}", [r.parts[name] for r in scored if name in r.parts])
    for index, modality in enumerate(MODALITIES):
        rewarded = [r for s, r in zip(sampled, rewards, strict=True) if index in s.row.modalities]
        metrics[f"share_{modality}"] = (len(rewarded) / len(sampled), float(len(sampled)))
        values = [reward.value for reward in rewarded if reward.value is not None]
        _add_mean(metrics, f"reward_with_{modality}", values)
    return metrics


def _add_mean(metrics: MetricMeans, name: str, values: Sequence[float]) -> None:
    if values:
        metrics[name] = (sum(values) / len(values), float(len(values)))


def token_metrics(
    rollout: Rollout, old_logprobs: Sequence[torch.Tensor], kl: Sequence[torch.Tensor]
) -> MetricMeans:
    """KL of a response (nats), overall and by modality, entropy of a token (nats), and the mean
    difference between log-probabilities at sampling and at learning.

    Args:
        rollout: the responses.
        old_logprobs: for each response its log-probabilities (tokens,) under the policy that sampled.
        kl: for each response its KL estimates (tokens,) from the reference.
    """
    logprobs, token_kl = torch.cat(list(old_logprobs)), torch.cat(list(kl))
    responses, tokens = float(len(kl)), float(len(logprobs))
    sampling_logprobs = torch.tensor([v for s in rollout.sampled for v in s.logprobs]).to(logprobs)
    metrics: MetricMeans = {
        "kl": (sum(float(k.sum()) for k in kl) / responses, responses),
        "entropy": (-float(logprobs.mean()), tokens),
        "sampling_gap": (float((logprobs - sampling_logprobs).abs().mean()), tokens),
    }
    modalities = torch.tensor([m for s in rollout.sampled for m in s.row.modalities]).to(token_kl.device)
    for index, modality in enumerate(MODALITIES):
        count = float(sum(index in s.row.modalities for s in rollout.sampled))
        if count:
            metrics[f"kl_{modality}"] = (float(token_kl[modalities == index].sum()) / count, count)
    return metrics
