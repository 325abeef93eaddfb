"""Batching within the memory: sorted by length, cut by tokens, halved when memory runs out."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, Protocol, TypeVar

from eval_anything.errors import EvalError

# The most tokens of a batch, however large the memory: larger batches are not faster.
_MOST_TOKENS = 2**18


# A row shorter than this share of the longest goes to another batch: padding costs as much as tokens.
_LEAST_SHARE = 0.5


class Sized(Protocol):
    """An item of a batch: it has a length in tokens, and only items of one kind share a batch."""

    @property
    def tokens(self) -> int:
        """Length of the item in tokens, exact or estimated."""
        ...

    @property
    def kind(self) -> str:
        """Name of the kind; items of different kinds never share a batch."""
        ...


Item = TypeVar("Item", bound=Sized)


Result = TypeVar("Result")


class OutOfMemoryError(Exception):
    """An item that does not fit into memory even alone."""


class Batcher:
    """Cuts items (prompts, questions) into batches and runs a function on each batch.

    The bounds depend on the checkpoint and the machine alone, so a resumed run cuts its batches as
    before. A batch that does not fit into memory is halved, and the tokens of the half are the bound
    from then on, so shorter items still share larger batches. A batch that fails for another reason is
    run again item by item, so that only the item at fault fails.

    Args:
        rows: the most items of a batch.
        tokens: the most tokens of a batch, with padding and new tokens.
        new: new tokens for each row.
    """

    def __init__(self, rows: int, tokens: int, new: int) -> None:
        self.rows = rows
        self.tokens = tokens
        self.new = new

    def answer(
        self, items: Sequence[Item], answer: Callable[[list[Item]], list[Result]]
    ) -> list[Result | Exception]:
        """Runs `answer` on batches of the items.

        Args:
            items: in any order.
            answer: returns one result for each item of a batch, in order.

        Returns:
            For each item, in order, its result or the exception that it caused, such as
            OutOfMemoryError. An EvalError is raised instead.
        """
        answers: dict[int, Result | Exception] = {}
        alone: set[int] = set()
        order = sorted(range(len(items)), key=lambda index: (items[index].kind, -items[index].tokens))
        while order:
            count = 1 if order[0] in alone else self._next(items, order)
            group, order = order[:count], order[count:]
            try:
                outputs = answer([items[index] for index in group])
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
                answers.update(zip(group, outputs, strict=True))
                continue
            _free_memory()  # here the error, whose frames refer to tensors, is gone
            if count > 1:
                order = group + order
            else:
                answers[group[0]] = failure
        return [answers[index] for index in range(len(items))]

    def _next(self, items: Sequence[Item], order: Sequence[int]) -> int:
        """The number of items in the next batch; `order` has the remaining ones, the longest first."""
        first = items[order[0]]
        longest = first.tokens + self.new
        fits = max(1, self.tokens // longest)

        def shares(i: int) -> bool:
            length = items[i].tokens + self.new
            return items[i].kind == first.kind and length >= _LEAST_SHARE * longest

        return sum(1 for _ in takewhile(shares, order[: min(self.rows, fits)]))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error is one of those by which torch reports that memory ran out."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


def token_budget(model: Any) -> int:
    """The most tokens of a batch, estimated from the memory of the device.

    A token costs its keys and values in every layer, and the activations of one layer (a generous 24
    times the hidden size). The estimate does not depend on the memory that is free at the moment, so
    that it is the same for every run; a batch that is too large is halved.
    """
    try:
        config = model.config.get_text_config(decoder=True)
    except ValueError:  # several language models in one: its own config has the sizes, or none
        config = model.config
    layers = getattr(config, "num_hidden_layers", 32)
    hidden = getattr(config, "hidden_size", 4096)
    bytes_per_token: int = model.dtype.itemsize * hidden * (2 * layers + 24)
    weight_bytes: int = sum(p.numel() * p.element_size() for p in model.parameters())
    fits = (_memory(model.device) - weight_bytes) // 2 // bytes_per_token
    return max(1, min(_MOST_TOKENS, fits))


def _memory(device: Any) -> int:
    """Bytes of the device's memory; half of the main memory for a CPU, since others use it too."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
