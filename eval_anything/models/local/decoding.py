"""A decode loop for small dense decoders, for which `generate` spends most time outside of the model.

Keys and values are written into preallocated tensors, rows that have ended leave the batch, and only
the logits of the last position are computed. It samples as `generate_ids` does: the same seeds give the
same answers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from transformers import LogitsProcessorList, RepetitionPenaltyLogitsProcessor
from transformers.cache_utils import Cache, DynamicLayer

from eval_anything.models.local.processors import gumbel_noise, penalised, warpers
from eval_anything.sampling import Sampling

_DENSE = frozenset({"llama"})
"""Types of models with full causal attention in every layer."""


class Continuation(NamedTuple):
    """The continuation of one prompt.

    Attributes:
        ids: token ids, including the stop token.
        logprobs: natural log-probability of each token under the distribution that it was sampled from:
            the softmax of logits / temperature (of the logits themselves at temperature 0), of the
            tokens that restrictions leave.
        ended: whether a stop token ended it, and not the limit.
    """

    ids: list[int]
    logprobs: list[float]
    ended: bool


def decodes(model: Any) -> bool:
    """Whether `decode` supports this type of model."""
    return model.config.model_type in _DENSE


def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    seeds: Sequence[int],
    sampling: Sampling,
    max_new_tokens: int,
    pad: int,
    stop: Collection[int],
) -> list[Continuation]:
    """Samples a continuation of each prompt, in one batch that is padded on the left.

    Args:
        model: a causal language model for which `decodes` is true.
        prompts: token ids; prompts of similar length waste the least time on padding.
        seeds: the seed of each prompt.
        sampling: temperature, restrictions and penalties; those of the checkpoint do not hold.
        max_new_tokens: the most new tokens of a continuation.
        pad: the token id of padding.
        stop: token ids that end a continuation.

    Returns:
        One continuation for each prompt, in order.
    """
    continuations = [Continuation([], [], False) for _ in prompts]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    warp = LogitsProcessorList(warpers(sampling))
    with torch.inference_mode():
        rows = _Rows(model, prompts, max_new_tokens, pad)
        while rows.prompt_indices:
            logits = warp(None, rows.penalised(sampling))
            noisy = logits
            if sampling.temperature > 0:
                noisy = logits + gumbel_noise(logits, [generators[i] for i in rows.prompt_indices])
            chosen = noisy.argmax(1)
            logprobs = torch.log_softmax(logits, 1).gather(1, chosen[:, None])[:, 0]
            ended = []
            for row, (token, logprob) in enumerate(zip(chosen.tolist(), logprobs.tolist(), strict=True)):
                index = rows.prompt_indices[row]
                continuations[index].ids.append(token)
                continuations[index].logprobs.append(logprob)
                if token in stop:
                    continuations[index] = continuations[index]._replace(ended=True)
                if token in stop or len(continuations[index].ids) == max_new_tokens:
                    ended.append(row)
            rows.step(rows.drop(chosen, ended))
    return continuations


class _Rows:
    """The rows of the batch that have not ended.

    Attributes:
        prompt_indices: the index of each row's prompt.
        ids: of the prompts, padded on the left, and the answers so far, int64 (rows, tokens).
        logits: of the next token, float32 (rows, vocabulary).
    """

    def __init__(
        self, model: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int, pad: int
    ) -> None:
        self._model = model
        device = model.device
        self.prompt_indices = list(range(len(prompts)))
        self._length = max(map(len, prompts))
        self._prompt_length = self._length
        pad_counts = [self._length - len(prompt) for prompt in prompts]
        ids = [[pad] * n + list(prompt) for n, prompt in zip(pad_counts, prompts, strict=True)]
        self.ids = torch.tensor(ids, device=device)
        self._starts = starts = torch.tensor(pad_counts, device=device)[:, None]
        columns = torch.arange(self._length, device=device)
        # The positions that each row may attend to; None if nothing is padded, which is faster.
        self._real: torch.Tensor | None = None
        mask = None
        if any(pad_counts):
            self._real = torch.arange(self._length + max_new_tokens, device=device) >= starts
            before = columns[:, None] >= columns
            mask = (before & self._real[:, None, : self._length]) | (columns[:, None] == columns)
            mask = mask[:, None]
        capacity = self._length + max_new_tokens
        self._layers = [_PreallocatedLayer(capacity) for _ in range(model.config.num_hidden_layers)]
        self._cache = Cache(layers=self._layers)
        positions = (columns - starts).clamp(min=0)
        self._next = positions[:, -1:] + 1
        self._run(self.ids, mask, positions)

    def penalised(self, sampling: Sampling) -> torch.Tensor:
        """The logits with the penalties of some settings."""
        logits = self.logits
        if sampling.repetition_penalty not in (None, 1):
            penalty, before = float(sampling.repetition_penalty), self._starts[:, 0]
            logits = RepetitionPenaltyLogitsProcessor(penalty, before)(self.ids, logits)
        if sampling.presence_penalty or sampling.frequency_penalty:
            logits = penalised(logits, self.ids[:, self._prompt_length :], sampling)
        return logits

    def drop(self, chosen: torch.Tensor, ended: Sequence[int]) -> torch.Tensor:
        """Removes rows that have ended and returns the chosen tokens of the remaining ones.

        The last of the remaining rows move into the holes.
        """
        if not ended:
            return chosen
        remaining = len(self.prompt_indices) - len(ended)
        ended_set = set(ended)
        holes = [row for row in ended if row < remaining]
        movers = [row for row in range(remaining, len(self.prompt_indices)) if row not in ended_set]
        for tensor in (chosen, self._next, self._real, self._starts, self.ids):
            if tensor is not None:
                tensor[holes] = tensor[movers]
        for hole, mover in zip(holes, movers, strict=True):
            self.prompt_indices[hole] = self.prompt_indices[mover]
        for layer in self._layers:
            layer.move(movers, holes, remaining)
        del self.prompt_indices[remaining:]
        self._next, self._starts = self._next[:remaining], self._starts[:remaining]
        self.ids = self.ids[:remaining]
        self._real = self._real[:remaining] if self._real is not None else None
        return chosen[:remaining]

    def step(self, chosen: torch.Tensor) -> None:
        """Feeds the chosen token of each row to the model, which sets the next `logits`."""
        if not self.prompt_indices:
            return
        self._length += 1
        self.ids = torch.cat([self.ids, chosen[:, None]], 1)
        mask = self._real[:, None, None, : self._length] if self._real is not None else None
        self._run(chosen[:, None], mask, self._next)
        self._next = self._next + 1

    def _run(self, ids: torch.Tensor, mask: torch.Tensor | None, positions: torch.Tensor) -> None:
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.logits = output.logits[:, -1].float()


class _PreallocatedLayer(DynamicLayer):  # type: ignore[misc]  # its types are not read
    """Keys and values of one layer, in tensors with capacity for the longest answer."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._capacity = capacity
        self._used = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        rows, heads, _, size = key_states.shape
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = key_states.new_empty(rows, heads, self._capacity, size)
        self.values = value_states.new_empty(rows, heads, self._capacity, value_states.shape[-1])
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self._used + key_states.shape[-2]
        self.keys[:, :, self._used : end] = key_states
        self.values[:, :, self._used : end] = value_states
        self._used = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        return self._used

    def move(self, movers: Sequence[int], holes: Sequence[int], remaining: int) -> None:
        """Copies rows (`movers`) over others (`holes`), and drops the rows from `remaining` on."""
        if holes:
            self.keys[holes, :, : self._used] = self.keys[movers, :, : self._used]
            self.values[holes, :, : self._used] = self.values[movers, :, : self._used]
        self.keys, self.values = self.keys[:remaining], self.values[:remaining]
