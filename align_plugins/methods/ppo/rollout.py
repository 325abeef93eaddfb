"""One round of a policy's own answers, and what they teach: rewards, advantages and returns."""

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
    """A prompt as tokens for its length, and as a sample for judges; responses have at most
    `max_new_tokens`."""

    prompt: Encoded
    sample: Sample
    max_new_tokens: int

    @property
    def tokens(self) -> int:
        return self.prompt.tokens + self.max_new_tokens


class Rollout(NamedTuple):
    """Responses to some prompts with their rewards, and metrics on them."""

    sampled: list[Sampled]
    rewards: list[Reward]
    metrics: MetricMeans
    tokens: int


class Advantages(NamedTuple):
    """Advantages of responses and what they are used with, each a list by response of vectors (tokens of
    the response,).

    Attributes:
        old_logprobs: log-probabilities under the policy that sampled.
        values: of the states, by the critic of that time.
        advantages, returns: as in losses/ppo.py; advantages are whitened over all tokens.
        scored: for each response whether it has a reward; without one nothing is learned of it.
    """

    old_logprobs: list[torch.Tensor]
    values: list[torch.Tensor]
    advantages: list[torch.Tensor]
    returns: list[torch.Tensor]
    scored: list[bool]


def prompt_order(count: int, seed: int) -> Callable[[int], int]:
    """Which of `count` prompts comes at each place of an endless row: every one in each epoch, in an
    order of its own that comes from the seed."""
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
    """Samples a response to each prompt, in this precision, and has it judged. Media lie in a folder
    that is gone after."""
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
    """Mean of each reward, if there are several; by modality the share of responses that have it, and
    their mean reward."""
    metrics: MetricMeans = {}
    scored = [reward for reward in rewards if reward.value is not None]
    for name in names if len(names) > 1 else ():
        _add_mean(metrics, f"reward_{name}", [r.parts[name] for r in scored if name in r.parts])
    for index, modality in enumerate(MODALITIES):
        having = [
            r for response, r in zip(sampled, rewards, strict=True) if index in response.row.modalities
        ]
        metrics[f"share_{modality}"] = (len(having) / len(sampled), float(len(sampled)))
        values = [reward.value for reward in having if reward.value is not None]
        _add_mean(metrics, f"reward_with_{modality}", values)
    return metrics


def _add_mean(metrics: MetricMeans, name: str, values: Sequence[float]) -> None:
    if values:
        metrics[name] = (sum(values) / len(values), float(len(values)))


def token_metrics(
    rollout: Rollout, old: Sequence[torch.Tensor], kl: Sequence[torch.Tensor]
) -> MetricMeans:
    """KL of a response (nats), whole and by modality, entropy of a token (nats), and how far the
    sampler's log-probabilities are from those that are learned with.

    `old` and `kl` hold for each response a vector (tokens,): log-probabilities under the policy that
    sampled, and the KL from the reference.
    """
    n, tokens = float(len(kl)), torch.cat(list(old))
    sampling_logprobs = torch.tensor([v for response in rollout.sampled for v in response.logprobs]).to(
        tokens
    )
    metrics: MetricMeans = {
        "kl": (sum(float(k.sum()) for k in kl) / n, n),
        "entropy": (-float(tokens.mean()), float(len(tokens))),
        "sampling_gap": (float((tokens - sampling_logprobs).abs().mean()), float(len(tokens))),
    }
    price = torch.cat(list(kl))
    kinds = torch.tensor([m for response in rollout.sampled for m in response.row.modalities]).to(
        price.device
    )
    for index, modality in enumerate(MODALITIES):
        having = float(sum(index in response.row.modalities for response in rollout.sampled))
        if having:
            metrics[f"kl_{modality}"] = (float(price[kinds == index].sum()) / having, having)
    return metrics
