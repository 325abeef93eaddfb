"""Responses sampled in batches from a policy with its current weights, for methods that learn from them.

`Policy.respond` samples for one family of models. This module adds what all families share: batches of
prompts of similar length, a seed for each response, and the log-probability of every token under the
distribution that it was sampled from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from align_plugins.policies.base import Encoded, Policy
from eval_anything.content import Message

if TYPE_CHECKING:
    from eval_anything.models.local.decoding import Continuation


BATCH = 256
"""Default number of prompts of a batch: the fastest on two cores for the model of the micro world."""


class Sampled(NamedTuple):
    """One sampled response.

    Attributes:
        row: prompt and response as tokens.
        logprobs: natural log-probability of each token of the response when it was sampled.
        ended: whether the policy ended it; otherwise the token limit did.
    """

    row: Encoded
    logprobs: list[float]
    ended: bool


def sample(
    policy: Policy,
    conversations: Sequence[Sequence[Message]],
    prompts: Sequence[Encoded] = (),
    *,
    seeds: Sequence[int],
    temperature: float = 1.0,
    max_new_tokens: int = 128,
    batch_size: int = BATCH,
) -> list[Sampled]:
    """Samples a response to each conversation with the policy's current weights; returns them in order.

    A response comes from its own seed: the rest of its batch changes only the last bits of its
    log-probabilities. At temperature 0 the likeliest token is taken, and log-probabilities are those of
    the undivided logits.

    Args:
        policy: a loaded policy.
        conversations: prompts.
        prompts: the same, as returned by `Policy.prompt`, if they are encoded already.
        seeds: of the responses.
        temperature: of sampling, from 0.
        max_new_tokens: limit of a response.
        batch_size: prompts of a batch.

    Raises:
        ValueError: the policy cannot read a prompt, as in `Policy.encode`.
        RowError: as in `Policy.check`.
    """
    prompts = prompts or [policy.prompt(messages) for messages in conversations]
    sampled: dict[int, Sampled] = {}
    training = policy.model.training
    policy.model.eval()
    try:
        order = sorted(range(len(prompts)), key=lambda i: prompts[i].tokens)
        for start in range(0, len(order), batch_size):
            indices = order[start : start + batch_size]
            try:
                continuations = policy.respond(
                    [conversations[i] for i in indices],
                    [seeds[i] for i in indices],
                    temperature,
                    max_new_tokens,
                )
            except Exception:
                for i in indices:  # it may be the fault of one of them
                    policy.check(prompts[i], max_new_tokens)
                raise
            rows = [
                policy.with_response(prompts[i], c.ids)
                for i, c in zip(indices, continuations, strict=True)
            ]
            logprobs = _logprobs(policy, rows, continuations, temperature)
            ended = [c.ended for c in continuations]
            sampled.update(zip(indices, map(Sampled, rows, logprobs, ended), strict=True))
    finally:
        policy.model.train(training)
    return [sampled[i] for i in range(len(prompts))]


def _logprobs(
    policy: Policy, rows: Sequence[Encoded], continuations: Sequence[Continuation], temperature: float
) -> list[list[float]]:
    """Log-probabilities of the sampled tokens, from sampling itself, or by a forward pass where the
    family does not return them."""
    if all(c.logprobs or not c.ids for c in continuations):
        return [c.logprobs for c in continuations]
    import torch

    from align_plugins.training.engine import to_device

    batch = to_device(policy.collate(rows), policy.model.device)
    with torch.no_grad():
        tokens = policy.logprobs(batch, Tempered(policy.model, temperature or 1.0))
    return [values[mask].tolist() for values, mask in zip(tokens.values, tokens.mask, strict=True)]


class Tempered:
    """A model whose logits are divided by a temperature: the distribution that responses are sampled
    from."""

    def __init__(self, model: Any, temperature: float) -> None:
        self._model = model
        self._temperature = temperature

    def __call__(self, **inputs: Any) -> Any:
        output = self._model(**inputs)
        output.logits = output.logits / self._temperature
        return output
