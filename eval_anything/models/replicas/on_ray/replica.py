"""A replica as an actor of Ray."""

from __future__ import annotations

import os
import pickle
import re
import sys
from pathlib import Path
from typing import Any

from eval_anything.errors import InfrastructureError
from eval_anything.media import MediaStore
from eval_anything.models.replicas.base import NoPlaceError, Recipe, Replica, ReplicaDiedError
from eval_anything.models.replicas.on_ray.actor import Assignment, actor_class
from eval_anything.models.replicas.on_ray.hosted import MissingMedia
from eval_anything.models.replicas.on_ray.parcels import Parcel, bytes_of, packed, unpacked
from eval_anything.models.replicas.replies import result_of
from eval_anything.version import __version__

_FIRST_PLACE = 60.0
"""Seconds that a replica waits for its place at first: those of a run that was killed become free."""


_LATER_PLACE = 300.0
"""Seconds that one waits whose node has gone: a new one may come."""


_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Variables that replicas have as they are here: Ray sets the threads, and sums depend on them."""


_IDENTITY = re.compile(r"(class_name|actor_id|pid|namespace|name|ip): ")
"""Lines in messages of Ray that differ from actor to actor."""


class RayReplica(Replica):
    """A replica in an actor.

    It is never restarted by Ray, which would do so without a word and without its model: `start` makes a
    new actor.

    Args:
        name: its name, for messages.
        recipe: how it makes its model.
        gpus: those that it asks for, which may be a part of one.
    """

    def __init__(self, name: str, recipe: Recipe, gpus: float) -> None:
        self._name = name
        self._gpus = gpus
        self._assignment = Assignment(
            recipe=pickle.dumps(recipe),
            paths=recipe.paths,
            version=__version__,
            folder=str(Path.cwd()),
            search=tuple(str(Path(path).absolute()) for path in sys.path),
            variables={variable: os.environ.get(variable) for variable in _VARIABLES},
            gpus=gpus,
        )
        self._actor: Any = None
        self._has_begun = False
        self._lacks_media = False

    def start(self) -> None:
        import ray

        self.end()
        self._lacks_media = False
        options = {"num_cpus": 1, "num_gpus": self._gpus, "max_restarts": 0, "max_task_retries": 0}
        actor: Any = ray.remote(actor_class()).options(scheduling_strategy="SPREAD", **options).remote()
        self._actor = actor
        try:
            self._wait_for_place(actor)
            result_of(self._ask(actor.load.remote(tuple(self._assignment))))
        except ReplicaDiedError as error:
            raise InfrastructureError(f"{self._name} ended while it loaded the model: {error}") from None
        self._has_begun = True

    def answer(self, batch: Any, store: MediaStore) -> Any:
        actor = self._actor
        if actor is None:
            raise ReplicaDiedError("it was ended")
        content, media = packed(batch)
        sent = bytes_of(media.values()) if self._lacks_media else {}
        reply = result_of(self._ask(actor.answer.remote(Parcel(content, sent), self._lacks_media)))
        if isinstance(reply, MissingMedia):
            self._lacks_media = True
            sent = bytes_of(media[name] for name in reply.names)
            reply = result_of(self._ask(actor.answer.remote(Parcel(content, sent), True)))
        return unpacked(reply.content, lambda part: store.put(reply.media[part.sha256], part.modality))

    def end(self) -> None:
        import ray

        actor, self._actor = self._actor, None
        if actor is not None and ray.is_initialized():
            ray.kill(actor)

    def _wait_for_place(self, actor: Any) -> None:
        import ray

        seconds = _LATER_PLACE if self._has_begun else _FIRST_PLACE
        node = actor.node.remote()
        ready, _ = ray.wait([node], timeout=seconds)
        if not ready:
            self.end()
            free = ray.available_resources()
            raise NoPlaceError(
                f"{self._name} has waited {seconds:g} s for 1 CPU and {self._gpus:g} GPUs on one node, "
                f"and {free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs of the cluster are "
                "free: others use it. The same command goes on later"
            )
        self._ask(node)

    def _ask(self, reference: Any) -> Any:
        """The reply of the actor. ReplicaDiedError if it has ended or cannot be reached."""
        import ray

        try:
            return ray.get(reference)
        except ray.exceptions.RayError as error:
            raise ReplicaDiedError(_reason(str(error))) from None


def _reason(message: str) -> str:
    """The end of an actor in one line, from a message of Ray."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    text = " ".join(line for line in lines if not _IDENTITY.match(line))
    return text.partition(" Some common causes")[0][:300]
