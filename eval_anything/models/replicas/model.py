"""A model whose batches are answered by replicas. Plan, scores and records stay in this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from eval_anything.content import Modality, Response
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.base import Model, Request
from eval_anything.models.replicas.base import Recipe, Replica, ReplicaDiedError
from eval_anything.models.replicas.process import ProcessReplica
from eval_anything.sampling import GenerationSettings, Sampling
from eval_anything.tasks.task import Task

_TRIES = 2
"""Replicas that may end over one batch. Then its requests are tried one by one, as those of any batch
that fails: the one that ends replicas alone has failed."""


class ReplicatedModel(Model):
    """A model of this machine as several processes, each with its share of the devices.

    Args:
        model: the model, which is not loaded here.
        count: number of replicas.
        arguments: `--model-arg` values as the user gave them, and those of a preset.

    Raises:
        UserError: the model does not run on this machine.
    """

    def __init__(self, model: Model, count: int, arguments: Mapping[str, str]) -> None:
        if not model.replicable:
            raise UserError(
                f"--replicas {count}: {model.spec} is no model that is loaded on this machine from its "
                "SPEC. --concurrency asks a server for several answers at the same time"
            )
        self._model = model
        self._count = count
        self._recipe = Recipe(model.spec, arguments, model.batch_size)
        self._replicas: list[Replica] = []
        self._free: asyncio.Queue[Replica] | None = None
        self.name, self.folder, self.spec = model.name, model.folder, model.spec
        self.arguments = model.arguments
        self.batch_size = model.batch_size
        self.concurrency = count
        self.architecture = model.architecture
        self.default_suite = model.default_suite
        self.own_settings = model.own_settings

    @property
    def inputs(self) -> Collection[Modality] | None:
        return self._model.inputs

    @property
    def generation_settings(self) -> Collection[str]:
        return self._model.generation_settings

    def check_sampling(self, sampling: Sampling) -> list[str]:
        return self._model.check_sampling(sampling)

    def checkpoint_settings(self) -> GenerationSettings:
        return self._model.checkpoint_settings()

    def weights(self) -> str:
        return self._model.weights()

    def prepare(
        self, tasks: Sequence[Task], keys: Iterable[tuple[str, str, int]], task_names: Collection[str]
    ) -> None:
        self._model.prepare(tasks, keys, task_names)

    def load(self) -> None:
        """Starts all replicas; they load at the same time."""
        shares = device_shares(self._count, self.arguments, os.environ)
        self._replicas = [
            ProcessReplica(f"replica {number} of {self._count}", self._recipe, devices)
            for number, devices in enumerate(shares, start=1)
        ]
        try:
            with ThreadPoolExecutor(self._count) as threads:
                list(threads.map(lambda replica: replica.start(), self._replicas))
        except BaseException:
            self._end()
            raise

    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        if self._free is None:
            self._free = asyncio.Queue()
            for replica in self._replicas:
                self._free.put_nowait(replica)
        ends: list[str] = []
        while len(ends) < _TRIES:
            replica = await self._free.get()
            try:
                return await asyncio.to_thread(replica.answer, requests, store.root)
            except ReplicaDiedError as error:
                ends.append(str(error))
                await asyncio.to_thread(replica.start)
            except asyncio.CancelledError:
                replica.end()  # or its thread would wait for the answer
                raise
            finally:
                self._free.put_nowait(replica)
        raise ReplicaDiedError(f"{_TRIES} replicas ended over it ({'; '.join(dict.fromkeys(ends))})")

    async def close(self) -> None:
        self._end()

    def _end(self) -> None:
        for replica in self._replicas:
            replica.end()


def device_shares(
    count: int, arguments: Mapping[str, object], environment: Mapping[str, str]
) -> list[str | None]:
    """The CUDA_VISIBLE_DEVICES of each replica: equal shares of the devices; None without any.

    UserError if there are fewer devices than replicas.

    Example:
        >>> device_shares(2, {}, {"CUDA_VISIBLE_DEVICES": "0,1,4,5"})
        ['0,1', '4,5']
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if arguments.get("device") == "cpu":
        devices = []
    elif visible is None:
        import torch

        devices = [str(i) for i in range(torch.cuda.device_count())]
    else:
        devices = [device.strip() for device in visible.split(",") if device.strip()]
    if devices and len(devices) < count:
        raise UserError(
            f"--replicas {count}: there are only {len(devices)} devices here ({', '.join(devices)})"
        )
    share = len(devices) // count
    return [",".join(devices[i * share : (i + 1) * share]) or None for i in range(count)]
