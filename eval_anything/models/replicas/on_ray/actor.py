"""The class of the actors. It travels by value, so that a node without eval-anything says so."""

from __future__ import annotations

from typing import Any, NamedTuple


class Assignment(NamedTuple):
    """All that an actor needs to make its model, in types of Python alone.

    Attributes:
        recipe: the pickle of a `Recipe`.
        paths: the paths that the recipe reads.
        version: that of eval-anything.
        folder: the current directory of the run, which the actor takes where the node has it.
        search: where Python searches for packages here; the node searches there last.
        variables: of the environment; those that are None are removed.
        gpus: number of GPUs that Ray is to assign.
    """

    recipe: bytes
    paths: tuple[str, ...]
    version: str
    folder: str
    search: tuple[str, ...]
    variables: dict[str, str | None]
    gpus: float


def actor_class() -> type:
    """The class, whose methods import all that they need.

    Replies are those of `replicas/replies.py`.
    """

    class EvalAnythingReplica:
        def node(self) -> str:
            """The address of the node, once the actor has a place."""
            import ray

            address: str = ray.util.get_node_ip_address()
            return address

        def load(self, assignment: tuple[Any, ...]) -> tuple[Any, str | None, str | None]:
            """Makes the model."""
            import contextlib
            import math
            import os
            import sys

            import ray

            recipe, paths, version, folder, search, variables, gpus = assignment
            devices = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
            if len(devices) != math.ceil(gpus):
                text = f"Ray assigned the GPUs {devices} to a replica, which asked for {gpus:g}"
                return None, "InfrastructureError", text
            # Ray sets and leaves such variables by rules that change from version to version.
            for name, value in {**variables, "CUDA_VISIBLE_DEVICES": ",".join(devices)}.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            with contextlib.suppress(OSError):  # of a run on storage of another node
                os.chdir(folder)
            sys.path += [path for path in search if path not in sys.path]
            try:
                from eval_anything.models.replicas.on_ray.hosted import HostedModel
                from eval_anything.models.replicas.replies import reply_of
            except ImportError as error:
                text = f"node {self.node()} lacks eval-anything {version} ({error}): install it there"
                return None, "UserError", text
            self._reply_of = reply_of
            reply = reply_of(lambda: HostedModel(recipe, paths, version, self.node()))
            self._model = reply[0]
            return (None, *reply[1:])

        def answer(self, parcel: Any, complete: bool) -> tuple[Any, str | None, str | None]:
            """Answers a batch."""
            reply: tuple[Any, str | None, str | None] = self._reply_of(
                lambda: self._model.answer(parcel, complete)
            )
            return reply

    return EvalAnythingReplica
