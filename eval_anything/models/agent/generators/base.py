"""The interface of a generator of media, and the batching with which agents use it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from msgspec import Struct

from eval_anything.concurrency import all_of
from eval_anything.content import Modality
from eval_anything.errors import EvalError


class GeneratorError(Exception):
    """The reason why there is no medium for an order."""


class Order(NamedTuple):
    """An order for one medium; the same prompt and seed give the same medium where possible."""

    prompt: str
    seed: int


class GeneratorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of any generator in an agent's file.

    Attributes:
        kind: the name of its class: an entry point of `eval_anything.generators`.
        about: a description for the chat model, such as "reads its prompt aloud".
    """

    kind: str = "model"
    about: str = ""


class GeneratorContext(NamedTuple):
    """The surroundings of a generator.

    Attributes:
        modality: the modality that it makes.
        folder: the folder of the agent's file; relative paths start there.
        name: the place in the agent's file, for errors.
    """

    modality: Modality
    folder: Path
    name: str


class Generator(ABC):
    """Makes media of one modality from prompts. The constructor is cheap; `load` takes the time.

    Attributes:
        settings_type: the type of its settings in the agent's file.
        batch_size: how many orders one `generate` takes.
        concurrency: how many calls of `generate` may be under way at once.
    """

    settings_type: ClassVar[type[GeneratorSettings]]
    batch_size: int = 1
    concurrency: int = 1

    @abstractmethod
    def __init__(self, settings: GeneratorSettings, context: GeneratorContext) -> None:
        """Raises UserError if it cannot work with these settings."""

    @abstractmethod
    def weights(self) -> str:
        """sha256 of all that decides its media, besides the settings."""

    def load(self) -> None:
        """Loads the weights, before the first `generate`."""

    @abstractmethod
    async def generate(self, orders: Sequence[Order]) -> list[bytes]:
        """The media for at most `batch_size` orders, each as the bytes of a file.

        Raises:
            InfrastructureError: nothing can be made now; the samples stay pending. After any other
                exception the orders of the batch are tried again, one by one.
        """

    async def close(self) -> None:
        """Frees what it holds; called once, after the last order."""


class BatchedGenerator:
    """A generator that takes any number of orders, in batches of its size and at its concurrency."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._slots = asyncio.Semaphore(generator.concurrency)

    async def make(self, orders: Sequence[Order]) -> list[bytes | GeneratorError]:
        """The media for all orders, in order, with a GeneratorError in place of one that failed."""
        size = self._generator.batch_size
        batches = [orders[start : start + size] for start in range(0, len(orders), size)]
        outcomes = await all_of(self._batch(batch) for batch in batches)
        return [outcome for batch in outcomes for outcome in batch]

    async def _batch(self, orders: Sequence[Order]) -> list[bytes | GeneratorError]:
        try:
            async with self._slots:
                return [*await self._generator.generate(orders)]
        except EvalError:
            raise
        except Exception as error:
            if len(orders) > 1:
                return [(await self._batch([order]))[0] for order in orders]
            if isinstance(error, GeneratorError):
                return [error]
            return [GeneratorError(f"{type(error).__name__}: {error}")]
