"""Replicas as processes of this machine, each with the devices that it may see."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from eval_anything.errors import InfrastructureError, UserError
from eval_anything.media import MediaStore
from eval_anything.models.replicas.base import Recipe, Replica, ReplicaDiedError
from eval_anything.models.replicas.engine import ReplicaEngine
from eval_anything.models.replicas.pool import ReplicaPool
from eval_anything.models.replicas.replies import Reply, result_of

_MODULE = "eval_anything.models.replicas.worker"


class ProcessEngine(ReplicaEngine):
    """Replicas as processes of this machine, each with its share of the devices."""

    def pool(self, recipe: Recipe, count: int) -> ReplicaPool:
        def replicas() -> list[Replica]:
            shares = device_shares(count, recipe.on_cpu, os.environ)
            return [
                ProcessReplica(f"replica {number} of {count}", recipe, devices)
                for number, devices in enumerate(shares, start=1)
            ]

        return ReplicaPool(replicas, count)


class ProcessReplica(Replica):
    """A replica in a child process.

    Args:
        name: its name, for messages.
        recipe: how it makes its model.
        devices: the value of CUDA_VISIBLE_DEVICES; None: as it is here.
    """

    def __init__(self, name: str, recipe: Recipe, devices: str | None) -> None:
        self._name = name
        self._recipe = recipe
        self._environment = {} if devices is None else {"CUDA_VISIBLE_DEVICES": devices}
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def start(self) -> None:
        self.end()
        parent_end, child_end = socket.socketpair()
        path = os.pathsep.join(os.path.abspath(p) for p in sys.path)  # noqa: PTH100  ("" is the cwd)
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (its stderr, for messages)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE, str(child_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                pass_fds=[child_end.fileno()],
                env={**os.environ, **self._environment, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the parent
            )
        except OSError as error:
            raise InfrastructureError(f"cannot start {self._name}: {error.strerror}") from None
        finally:
            child_end.close()
        self._connection = Connection(parent_end.detach())
        try:
            self._ask(self._recipe)
        except ReplicaDiedError as error:
            raise InfrastructureError(f"{self._name} ended while it loaded the model: {error}") from None

    def answer(self, batch: Any, store: MediaStore) -> Any:
        return self._ask((batch, store.root))

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
        self._process = self._connection = None

    def _ask(self, message: Any) -> Any:
        """The reply to a message, or what was raised there."""
        process, connection = self._process, self._connection
        if process is None or connection is None:
            raise ReplicaDiedError("it was ended")
        try:
            connection.send(message)
            reply: Reply = connection.recv()
        except (EOFError, OSError):
            raise ReplicaDiedError(self._how_it_ended(process)) from None
        return result_of(reply)

    def _how_it_ended(self, process: subprocess.Popen[bytes]) -> str:
        """The signal or exit code, with the last line that it wrote to stderr."""
        process.kill()  # one that has closed its socket is of no use
        code = process.wait()
        ending = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"{ending}: {last[:300]}" if last else ending


def device_shares(count: int, on_cpu: bool, environment: Mapping[str, str]) -> list[str | None]:
    """The CUDA_VISIBLE_DEVICES of each replica: equal shares of the devices; None without any.

    UserError if there are fewer devices than replicas.

    Example:
        >>> device_shares(2, False, {"CUDA_VISIBLE_DEVICES": "0,1,4,5"})
        ['0,1', '4,5']
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if on_cpu:
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
