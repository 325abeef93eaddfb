"""The interfaces of replicas: what makes a model, and what runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from eval_anything.errors import InfrastructureError
from eval_anything.media import MediaStore


class ReplicaDiedError(Exception):
    """A replica ended while it answered; the message says how."""


class NoPlaceError(InfrastructureError):
    """Nothing has room for a replica now, and it waited for that."""


Answer = Callable[[Any, MediaStore], Any]
"""Answers a batch, and puts media of the answers into a store."""


class Recipe(Struct, frozen=True):
    """The way in which a replica makes its model, where it runs: a loaded model cannot be sent.

    Attributes:
        about: the model in words, for messages.
    """

    about: str

    @property
    def paths(self) -> tuple[str, ...]:
        """Absolute paths that are read where it runs."""
        return ()

    @property
    def on_cpu(self) -> bool:
        """Whether the model takes no GPU, also where there are some."""
        return False

    def make(self) -> Answer:
        """Loads the model; any exception says why that is not possible."""
        raise NotImplementedError  # msgspec's metaclass and abc's exclude each other


class Replica(ABC):
    """One replica. Its methods block, and are called by one thread at a time, but for `end`."""

    @abstractmethod
    def start(self) -> None:
        """Starts it and waits until its model is loaded; a second call starts it anew.

        Raises:
            UserError: the model does not load.
            NoPlaceError: nothing has room for it; it may be started later.
            InfrastructureError: the replica does not start.
        """

    @abstractmethod
    def answer(self, batch: Any, store: MediaStore) -> Any:
        """Answers a batch; media of the answers go into the store.

        Raises:
            ReplicaDiedError: it has ended; `start` may be called again.
            Exception: what the model raised, under the same name.
        """

    @abstractmethod
    def end(self) -> None:
        """Ends it at once, from any thread. A second call does nothing."""
