"""The interface of a replica: a place that has loaded the model and answers one batch after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from eval_anything.content import Response
from eval_anything.models.base import Request


class ReplicaDiedError(Exception):
    """A replica ended while it answered; the message says how."""


class Recipe(Struct, frozen=True):
    """The way in which a replica makes its model, where it runs: a loaded model cannot be sent.

    Attributes:
        spec: the SPEC.
        arguments: `--model-arg` values as the user gave them, and those of a preset.
        batch_size: requests of a batch.
    """

    spec: str
    arguments: Mapping[str, str]
    batch_size: int


class Replica(ABC):
    """One replica. Its methods block, and are called by one thread at a time, but for `end`."""

    @abstractmethod
    def start(self) -> None:
        """Starts it and waits until its model is loaded; a second call starts it anew.

        Raises:
            UserError: the model does not load.
            InfrastructureError: the replica does not start.
        """

    @abstractmethod
    def answer(self, requests: Sequence[Request], media: Path) -> list[Response]:
        """Answers a batch; media of the answers go into a store of the run.

        Raises:
            ReplicaDiedError: it has ended; `start` may be called again.
            Exception: what the model raised, under the same name.
        """

    @abstractmethod
    def end(self) -> None:
        """Ends it at once, from any thread. A second call does nothing."""
