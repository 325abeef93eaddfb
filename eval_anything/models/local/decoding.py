"""A decode loop for small dense decoders, where most of `generate`'s time is not the model's.

Keys and values are written into room that is made once, rows that have ended leave the batch, and only
the logits of the last position are computed. The draws are those of `generate_ids`: the same seeds give
the same answers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import Cache, DynamicLayer

from eval_anything.models.local.generation import gumbel_noise

_DENSE = frozenset({"llama"})
"""Types of models whose attention looks at all that came before, in every layer."""


class Continuation(NamedTuple):
    """One answer.

    Attributes:
        ids: token ids with the one that ended it.
        logprobs: natural log-probability of each under the distribution that it was drawn from: the
            softmax of logits / temperature (of the logits themselves at temperature 0).
        ended: whether a stop token ended it, not the limit.
    """

    ids: list[int]
    logprobs: list[float]
    ended: bool


def decodes(model: Any) -> bool:
    """Whether `decode` knows this kind of model."""
    return model.config.model_type in _DENSE


def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    seeds: Sequence[int],
    temperature: float,
    max_new_tokens: int,
    pad: int,
    stop: Collection[int],
) -> list[Continuation]:
    """An answer of at most `max_new_tokens` for each prompt, from its own seed.

    The prompts share one batch, padded on the left: those of similar length are best together.
    """
    drawn = [Continuation([], [], False) for _ in prompts]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    with torch.inference_mode():
        rows = _Rows(model, prompts, max_new_tokens, pad)
        while rows.places:
            noisy = logits = rows.logits
            if temperature > 0:
                logits = logits / temperature
                noisy = logits + gumbel_noise(logits, [generators[place] for place in rows.places])
            chosen = noisy.argmax(1)
            logprobs = torch.log_softmax(logits, 1).gather(1, chosen[:, None])[:, 0]
            gone = []
            for row, (token, value) in enumerate(zip(chosen.tolist(), logprobs.tolist(), strict=True)):
                place = rows.places[row]
                drawn[place].ids.append(token)
                drawn[place].logprobs.append(value)
                if token in stop:
                    drawn[place] = drawn[place]._replace(ended=True)
                if token in stop or len(drawn[place].ids) == max_new_tokens:
                    gone.append(row)
            rows.go_on(rows.drop(chosen, gone))
    return drawn


class _Rows:
    """The rows that are still being written. `places` says which prompt each is of, `logits` are those
    of the next token, float32 (rows, vocabulary)."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], more: int, pad: int) -> None:
        self._model = model
        device = model.device
        self.places = list(range(len(prompts)))
        self._length = max(map(len, prompts))
        missing = [self._length - len(prompt) for prompt in prompts]
        ids = [[pad] * n + list(prompt) for n, prompt in zip(missing, prompts, strict=True)]
        starts = torch.tensor(missing, device=device)[:, None]
        places = torch.arange(self._length, device=device)
        # What each row may look at; None where nothing is padded, which is faster.
        self._real: torch.Tensor | None = None
        mask = None
        if any(missing):
            self._real = torch.arange(self._length + more, device=device) >= starts
            before = places[:, None] >= places
            mask = (before & self._real[:, None, : self._length]) | (places[:, None] == places)
            mask = mask[:, None]
        layers = [_RoomyLayer(self._length + more) for _ in range(model.config.num_hidden_layers)]
        self._layers = layers
        self._cache = Cache(layers=layers)
        positions = (places - starts).clamp(min=0)
        self._next = positions[:, -1:] + 1
        self._run(torch.tensor(ids, device=device), mask, positions)

    def drop(self, chosen: torch.Tensor, gone: Sequence[int]) -> torch.Tensor:
        """Lets rows leave: the last ones that stay take their places. Gives the tokens of those that
        stay."""
        if not gone:
            return chosen
        left = len(self.places) - len(gone)
        leaving = set(gone)
        holes = [row for row in gone if row < left]
        movers = [row for row in range(left, len(self.places)) if row not in leaving]
        for tensor in (chosen, self._next, self._real):
            if tensor is not None:
                tensor[holes] = tensor[movers]
        for hole, mover in zip(holes, movers, strict=True):
            self.places[hole] = self.places[mover]
        for layer in self._layers:
            layer.move(movers, holes, left)
        del self.places[left:]
        self._next = self._next[:left]
        self._real = self._real[:left] if self._real is not None else None
        return chosen[:left]

    def go_on(self, chosen: torch.Tensor) -> None:
        """Reads one more token of each row."""
        if not self.places:
            return
        self._length += 1
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


class _RoomyLayer(DynamicLayer):  # type: ignore[misc]  # its types are not read
    """Keys and values of one layer, in room for the longest answer."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._used = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        rows, heads, _, size = key_states.shape
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = key_states.new_empty(rows, heads, self._room, size)
        self.values = value_states.new_empty(rows, heads, self._room, value_states.shape[-1])
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *more: Any, **named: Any
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

    def move(self, movers: Sequence[int], holes: Sequence[int], left: int) -> None:
        """Puts some rows in the places of others, and forgets those from `left` on."""
        if holes:
            self.keys[holes, :, : self._used] = self.keys[movers, :, : self._used]
            self.values[holes, :, : self._used] = self.values[movers, :, : self._used]
        self.keys, self.values = self.keys[:left], self.values[:left]
