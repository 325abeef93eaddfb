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
from align_plugins.training.metrics import Figures
from align_plugins.training.sampling import Sampled, sample
from eval_anything.content import MODALITIES, Sample
from eval_anything.media import MediaStore


class Asked(NamedTuple):
    """A prompt: as tokens for its length, as a sample for judges."""

    prompt: Encoded
    sample: Sample


class Taken(NamedTuple):
    """Responses to some prompts with their rewards, and figures on them."""

    sampled: list[Sampled]
    rewards: list[Reward]
    figures: Figures
    tokens: int


class Lessons(NamedTuple):
    """What is learned of each response, vectors (tokens of the response,) in a list by response.

    Attributes:
        old: log-probabilities under the policy that sampled.
        values: of the states, by the critic of that time.
        advantages, returns: as in losses/ppo.py; advantages are whitened over all tokens.
        known: whether the response has a reward; without one nothing is learned of it.
    """

    old: list[torch.Tensor]
    values: list[torch.Tensor]
    advantages: list[torch.Tensor]
    returns: list[torch.Tensor]
    known: list[bool]


def order_of(count: int, seed: int) -> Callable[[int], int]:
    """Which of `count` prompts comes at each place of an endless row: every one in each epoch, in an
    order of its own that comes from the seed."""
    orders: dict[int, list[int]] = {}

    def at(place: int) -> int:
        epoch, inside = divmod(place, count)
        if epoch not in orders:
            orders[epoch] = random.Random(f"prompts-{seed}-{epoch}").sample(range(count), count)
            orders.pop(epoch - 2, None)
        return orders[epoch][inside]

    return at


def take(
    policy: Policy,
    asked: Sequence[Asked],
    rewards: Rewards,
    *,
    seeds: Sequence[int],
    temperature: float,
    max_new_tokens: int,
    precision: contextlib.AbstractContextManager[object],
) -> Taken:
    """Samples a response to each prompt, in this precision, and has it judged. Media lie in a folder
    that is gone after."""
    begun = time.perf_counter()
    with precision:
        sampled = sample(
            policy,
            [one.sample.messages for one in asked],
            [one.prompt for one in asked],
            seeds=seeds,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
        )
    seconds = time.perf_counter() - begun
    tokens = sum(len(one.row.response) for one in sampled)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        store = MediaStore(Path(folder))
        responses = [response_of(policy, one, store) for one in sampled]
        given = rewards.score([one.sample for one in asked], responses)
    judging = time.perf_counter() - begun
    n = float(len(asked))
    figures: Figures = {
        "tokens_per_second": (tokens / seconds, n),
        "judging_seconds": (judging, n),
        "length": (tokens / n, n),
        "ended": (sum(one.ended for one in sampled) / n, n),
        "unscored": (sum(one.value is None for one in given) / n, n),
        "invalid": (sum(r.error is not None for r in responses) / n, n),
    }
    known = [one for one in given if one.value is not None]
    for name in rewards.names if len(rewards.names) > 1 else ():
        values = [one.parts[name] for one in known if name in one.parts]
        if values:
            figures[f"reward_{name}"] = (sum(values) / len(values), float(len(values)))
    for index, modality in enumerate(MODALITIES):
        having = [index in one.row.modalities for one in sampled]
        figures[f"share_{modality}"] = (sum(having) / n, n)
        values = [r.value for r, has in zip(given, having, strict=True) if has and r.value is not None]
        if values:
            figures[f"reward_with_{modality}"] = (sum(values) / len(values), float(len(values)))
    return Taken(sampled, given, figures, tokens)


def token_figures(taken: Taken, old: Sequence[torch.Tensor], kl: Sequence[torch.Tensor]) -> Figures:
    """KL of a response (nats), whole and by modality, entropy of a token (nats), and how far the
    sampler's log-probabilities are from those that are learned with.

    `old` and `kl` hold for each response a vector (tokens,): log-probabilities under the policy that
    sampled, and the KL from the reference.
    """
    n, tokens = float(len(kl)), torch.cat(list(old))
    drawn = torch.tensor([v for one in taken.sampled for v in one.logprobs]).to(tokens)
    figures: Figures = {
        "kl": (sum(float(k.sum()) for k in kl) / n, n),
        "entropy": (-float(tokens.mean()), float(len(tokens))),
        "sampling_gap": (float((tokens - drawn).abs().mean()), float(len(tokens))),
    }
    price = torch.cat(list(kl))
    kinds = torch.tensor([m for one in taken.sampled for m in one.row.modalities]).to(price.device)
    for index, modality in enumerate(MODALITIES):
        having = float(sum(index in one.row.modalities for one in taken.sampled))
        if having:
            figures[f"kl_{modality}"] = (float(price[kinds == index].sum()) / having, having)
    return figures
