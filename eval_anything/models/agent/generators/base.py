"""The interface of a generator of media, and how an agent lets one work."""

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
    """Why there is no medium for an order."""


class Order(NamedTuple):
    """One medium that is wanted; the same prompt and seed give the same medium where that can be."""

    prompt: str
    seed: int


class GeneratorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent's file says of any generator: its `kind`, and `about`, what its prompts are for
    ("reads its prompt aloud"), which the chat model is told."""

    kind: str = "model"
    about: str = ""


class Place(NamedTuple):
    """Where a generator is set up: for which modality, by which file, as what in messages."""

    modality: Modality
    folder: Path
    name: str


class Generator(ABC):
    """Makes media of one modality from prompts. Making one is cheap; `load` is what takes time.

    Attributes:
        settings_type: what the agent's file may say of it.
        batch_size: how many orders one `generate` takes.
        concurrency: how many calls of `generate` may be under way at once.
    """

    settings_type: ClassVar[type[GeneratorSettings]]
    batch_size: int = 1
    concurrency: int = 1

    @abstractmethod
    def __init__(self, settings: GeneratorSettings, place: Place) -> None:
        """UserError if it cannot work with these settings."""

    @abstractmethod
    def weights(self) -> str:
        """sha256 of what makes its media as they are, besides the settings."""

    def load(self) -> None:
        """Loads the weights, before the first `generate`."""

    @abstractmethod
    async def generate(self, orders: Sequence[Order]) -> list[bytes]:
        """The files for at most `batch_size` orders.

        An exception fails the whole batch, which is then asked for one by one. InfrastructureError
        leaves the samples pending.
        """

    async def close(self) -> None:
        """Called once when nothing more is wanted."""


class Workshop:
    """A generator with its bounds: batches no larger, and no more of them at once, than it takes."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self._places = asyncio.Semaphore(generator.concurrency)

    async def make(self, orders: Sequence[Order]) -> list[bytes | GeneratorError]:
        """The files in the order of the orders; a GeneratorError stands for one that failed."""
        size = self.generator.batch_size
        batches = [orders[at : at + size] for at in range(0, len(orders), size)]
        made = await all_of(self._batch(batch) for batch in batches)
        return [one for batch in made for one in batch]

    async def _batch(self, orders: Sequence[Order]) -> list[bytes | GeneratorError]:
        try:
            async with self._places:
                return [*await self.generator.generate(orders)]
        except EvalError:
            raise
        except Exception as error:
            if len(orders) > 1:
                return [(await self._batch([order]))[0] for order in orders]
            if isinstance(error, GeneratorError):
                return [error]
            return [GeneratorError(f"{type(error).__name__}: {error}")]
