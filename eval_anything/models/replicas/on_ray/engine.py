"""Ray Core as an engine: a cluster that is there, or one of this machine for the time of the run.

Not Ray Data, which cuts batches of its own and ends a job over one row that fails.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from eval_anything.errors import EvalError, InfrastructureError, UserError, install
from eval_anything.models.replicas.base import Recipe, Replica
from eval_anything.models.replicas.engine import ReplicaEngine
from eval_anything.models.replicas.on_ray.replica import RayReplica
from eval_anything.models.replicas.pool import ReplicaPool

VERSIONS = ((2, 60), (3,))
"""The oldest release of Ray that is tested, and the first that is not."""


_OWN = "local"
"""Address of a cluster that is started for the run."""


_LOOPBACK = "127.0.0.1"


_CONNECT = 5.0
"""Seconds that the machine of an address has for the first answer."""


_SETTINGS = 4
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0])
"""The first bytes of a client of HTTP/2 (RFC 9113, 3.4). The last nine are a frame of settings, and so
is the first answer of a server."""


_STORE = 512 * 2**20
"""Bytes of the object store of a cluster of our own: one batch a replica is on its way."""


class _Need(NamedTuple):
    recipe: Recipe
    replicas: int
    pool: ReplicaPool


class RayEngine(ReplicaEngine):
    """A cluster of Ray.

    Args:
        address: HOST:PORT of a cluster whose node this machine is, `auto` for the one that is found on
            it; None for that of RAY_ADDRESS, or else a cluster of its own on this machine.
        gpus: GPUs of a replica, which may be a part of one; None for one where the cluster has any.

    Raises:
        UserError: Ray is missing, or a version that does not work.
    """

    remote: ClassVar[bool] = True

    def __init__(self, address: str | None, gpus: float | None) -> None:
        _check_installed()
        self._address = address or os.environ.get("RAY_ADDRESS") or _OWN
        self._gpus = gpus
        self._has_gpus = False
        self._needs: list[_Need] = []
        self._is_ours = False

    def pool(self, recipe: Recipe, count: int) -> ReplicaPool:
        shared = next((need.pool for need in self._needs if need.recipe == recipe), None)
        if shared is not None:
            return shared

        def replicas() -> list[Replica]:
            gpus = self._gpus_of(recipe)
            return [RayReplica(f"replica {n} of {count}", recipe, gpus) for n in range(1, count + 1)]

        pool = ReplicaPool(replicas, count)
        self._needs.append(_Need(recipe, count, pool))
        return pool

    def open(self) -> None:
        import ray

        if not ray.is_initialized():
            _connect(self._address, sum(need.replicas for need in self._needs))
            self._is_ours = True
        try:
            self._check_resources([node["Resources"] for node in ray.nodes() if node["Alive"]])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for need in self._needs:
            need.pool.end()
        if self._is_ours:
            import ray

            ray.shutdown()
            self._is_ours = False

    def _gpus_of(self, recipe: Recipe) -> float:
        if self._gpus is not None:
            return self._gpus
        return 1.0 if self._has_gpus and not recipe.on_cpu else 0.0

    def _check_resources(self, nodes: Sequence[Mapping[str, float]]) -> None:
        """UserError unless all replicas have room on the nodes at the same time."""
        rooms = [[node.get("CPU", 0.0), node.get("GPU", 0.0)] for node in nodes]
        self._has_gpus = any(gpus for _, gpus in rooms)
        needs = sorted(self._needs, key=lambda need: self._gpus_of(need.recipe), reverse=True)
        for need in needs:
            gpus = self._gpus_of(need.recipe)
            for number in range(need.replicas):
                room = next((r for r in rooms if r[0] >= 1 and r[1] >= gpus - 1e-9), None)
                if room is None:
                    each = ", ".join(
                        f"{n.get('CPU', 0):g} CPUs and {n.get('GPU', 0):g} GPUs" for n in nodes
                    )
                    raise UserError(
                        f"{need.recipe.about}: {need.replicas} replicas take 1 CPU and {gpus:g} GPUs "
                        f"each on one node, and the cluster has room for {number}. Its nodes: {each}. "
                        "Fewer --replicas or --gpus-per-replica, or more nodes"
                    )
                room[0] -= 1
                room[1] -= gpus


def _check_installed() -> None:
    oldest, first_unknown = VERSIONS
    supported = f"ray >={'.'.join(map(str, oldest))},<{'.'.join(map(str, first_unknown))}"
    # Before the import, which reads it; a cluster that is there has its own setting.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        reason = "" if error.name == "ray" else f", which does not import ({error})"
        raise UserError(f"--engine ray needs {supported}{reason}: {install('ray')}") from None
    numbers = tuple(int(part) for part in ray.__version__.split(".")[:2] if part.isdigit())
    if not oldest <= numbers < first_unknown:
        raise UserError(f"--engine ray needs {supported}, not {ray.__version__}: {install('ray')}")


def _connect(address: str, count: int) -> None:
    """Connects this process to a cluster, or to one that is started with room for so many replicas."""
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == _OWN:
        options |= {
            "include_dashboard": False,
            "num_cpus": max(count, os.cpu_count() or 1),
            "object_store_memory": _STORE,
        }
    elif address != "auto":
        _check_answers(address)
    try:
        with _own_signals(), _loopback(address == _OWN):
            ray.init(address, **options)
            if address == _OWN and ray.nodes()[0]["NodeManagerAddress"] != _LOOPBACK:
                ray.shutdown()
                raise RuntimeError("it does not keep to loopback, so that others could run code here")
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise _why_not(address, error) from None


def _check_answers(address: str) -> None:
    """UserError for what is no HOST:PORT, InfrastructureError if no server of Ray's kind answers there:
    Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise UserError(
            f"--address {address}: must be HOST:PORT of the head node, or auto. The run is a process "
            "on a node of the cluster: `ray job submit` starts one there"
        )
    import ray

    host = host.strip("[]")
    if host in ("localhost", _LOOPBACK, "::1"):  # as Ray understands them
        host = ray.util.get_node_ip_address()
    try:
        with socket.create_connection((host, int(port)), _CONNECT) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                connection.sendall(_HTTP2)
                if connection.recv(9)[3:4] != bytes([_SETTINGS]):
                    raise OSError("what answers is no cluster")
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InfrastructureError(
            f"--address {address}: no cluster answers at {host}:{port} ({reason}). "
            f"`ray status --address {address}` shows one that runs"
        ) from None


def _why_not(address: str, error: Exception) -> EvalError:
    text = " ".join(str(error).split())
    if "ersion mismatch" in text:
        return UserError(f"--address {address}: {text[:500]}")
    if address == _OWN:
        return InfrastructureError(f"--engine ray: no cluster starts on this machine: {text[:300]}")
    return InfrastructureError(f"--address {address}: Ray does not connect: {text[:300]}")


@contextlib.contextmanager
def _loopback(only: bool) -> Iterator[None]:
    """Lets all servers of a cluster that is started listen on loopback only. Ray does so by itself on
    macOS and Windows alone, and takes the address of a node from no argument for all of them."""
    from ray._private import ray_constants

    setting = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = setting and not only
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = setting


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps the handler of SIGTERM, in place of which Ray puts one of its own."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
