"""A replica as a process of this machine, with the devices that it may see."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from eval_anything.content import Response
from eval_anything.errors import InfrastructureError, ServerError, UserError
from eval_anything.media import MediaError
from eval_anything.models.base import Request
from eval_anything.models.replicas.base import Recipe, Replica, ReplicaDiedError

_MODULE = "eval_anything.models.replicas.worker"


_RAISED = {error.__name__: error for error in (UserError, InfrastructureError, ServerError, MediaError)}
"""Errors of a model that the engine tells apart."""


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

    def answer(self, requests: Sequence[Request], media: Path) -> list[Response]:
        answers: list[Response] = self._ask((list(requests), media))
        return answers

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
            reply, name, text = connection.recv()
        except (EOFError, OSError):
            raise ReplicaDiedError(self._how_it_ended(process)) from None
        if name is None:
            return reply
        kind = _RAISED.get(name) or type(name, (Exception,), {})  # the name is on record
        raise kind(text)

    def _how_it_ended(self, process: subprocess.Popen[bytes]) -> str:
        """The signal or exit code, with the last line that it wrote to stderr."""
        process.kill()  # one that has closed its socket is of no use
        code = process.wait()
        ending = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"{ending}: {last[:300]}" if last else ending
