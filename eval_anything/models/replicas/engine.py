"""The interface of an engine: the machine or machines on which replicas run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from eval_anything.models.replicas.base import Recipe
from eval_anything.models.replicas.pool import ReplicaPool


class ReplicaEngine(ABC):
    """The machine or machines on which replicas run. It is open while a run asks them.

    Attributes:
        remote: whether it may be other machines: models of judges run there, too, and all weights are
            compared with those that are here.
    """

    remote: ClassVar[bool] = False

    @abstractmethod
    def pool(self, recipe: Recipe, count: int) -> ReplicaPool:
        """Several replicas of a model, not started yet; those of an equal recipe are shared."""

    def open(self) -> None:
        """Connects to the machines, in the thread in which the run is.

        Raises:
            UserError: they lack what the pools need, or there are no such machines.
            InfrastructureError: they do not answer.
        """

    def close(self) -> None:
        """Leaves the machines; whatever runs there for this run ends."""
