"""Batches that fit into memory: sorted by length, cut by tokens, halved when memory runs out."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, Protocol, TypeVar

from eval_anything.errors import EvalError

# No batch holds more tokens than this, however large the memory: past it, speed does not grow.
_MOST_TOKENS = 2**18


# A row shorter than this share of the longest goes to another batch: padding costs as much as tokens.
_LEAST_SHARE = 0.5


class Sized(Protocol):
    """What goes into a batch: its length in tokens; only items of the same kind share a batch."""

    @property
    def tokens(self) -> int: ...

    @property
    def kind(self) -> str: ...


Item = TypeVar("Item", bound=Sized)


Result = TypeVar("Result")


class OutOfMemoryError(Exception):
    """One item alone does not fit."""


class Batcher:
    """Cuts items (prompts, questions) into batches and has them answered.

    A batch has at most `rows` items, and at most `tokens` tokens with padding and `new` new tokens a
    row. Both bounds follow from the checkpoint and the machine alone, so a run that goes on cuts its
    batches as before. A batch for which memory does not suffice is halved, and the tokens of its half
    are the bound from then on: shorter items still come in larger batches. One that fails for another
    reason is asked again one by one, so that only the item at fault fails.
    """

    def __init__(self, rows: int, tokens: int, new: int) -> None:
        self.rows = rows
        self.tokens = tokens
        self.new = new

    def answer(
        self, items: Sequence[Item], answer: Callable[[list[Item]], list[Result]]
    ) -> list[Result | Exception]:
        """One answer an item, in order, or what went wrong with it (OutOfMemoryError among others).
        EvalError is raised."""
        answers: dict[int, Result | Exception] = {}
        alone: set[int] = set()
        order = sorted(range(len(items)), key=lambda i: (items[i].kind, -items[i].tokens))
        while order:
            count = 1 if order[0] in alone else self._next(items, order)
            group, order = order[:count], order[count:]
            try:
                made = answer([items[i] for i in group])
            except EvalError:
                raise
            except Exception as error:
                if is_out_of_memory(error):
                    failure: Exception = OutOfMemoryError("out of memory, even alone in its batch")
                    if count > 1:
                        self.tokens = count // 2 * (items[group[0]].tokens + self.new)
                else:
                    failure = error.with_traceback(None)
                    alone.update(group)
            else:
                answers.update(zip(group, made, strict=True))
                continue
            _give_back()  # after the error, which holds the tensors of its frames, is gone
            if count > 1:
                order = group + order
            else:
                answers[group[0]] = failure
        return [answers[i] for i in range(len(items))]

    def _next(self, items: Sequence[Item], order: Sequence[int]) -> int:
        """How many of the items that are left share the next batch: the longest is the first."""
        first = items[order[0]]
        longest = first.tokens + self.new
        fits = max(1, self.tokens // longest)

        def shares(i: int) -> bool:
            length = items[i].tokens + self.new
            return items[i].kind == first.kind and length >= _LEAST_SHARE * longest

        return sum(1 for _ in takewhile(shares, order[: min(self.rows, fits)]))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a batch failed for want of memory: torch says it in several ways."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


def token_budget(model: Any) -> int:
    """How many tokens a batch may hold: what a good part of the machine's memory takes.

    A token costs its keys and values in every layer, and a layer's activations (a generous 24 times
    the hidden size). What is free at the moment does not count, so that the number is the same from
    run to run; should it be too much, the batch is halved.
    """
    try:
        config = model.config.get_text_config(decoder=True)
    except ValueError:  # several language models in one: its own config has the sizes, or none
        config = model.config
    layers = getattr(config, "num_hidden_layers", 32)
    hidden = getattr(config, "hidden_size", 4096)
    token: int = model.dtype.itemsize * hidden * (2 * layers + 24)
    weights: int = sum(p.numel() * p.element_size() for p in model.parameters())
    fits = (_memory(model.device) - weights) // 2 // token
    return max(1, min(_MOST_TOKENS, fits))


def _memory(device: Any) -> int:
    """Bytes of the device; of the machine's own memory a half, which others use too."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _give_back() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
