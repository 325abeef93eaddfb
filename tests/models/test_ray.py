"""A model on a cluster of Ray with two nodes: equal to one process, whatever ends meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from align_plugins.evaluation.checkpoints import START, Evaluations
from align_plugins.settings import EvaluationSettings
from eval_anything.errors import UserError
from eval_anything.judges.kinds.reward.head import Head
from eval_anything.models.replicas.on_ray.engine import VERSIONS, RayEngine
from tests.support.helpers import Cli, Result
from tests.support.lanes import only_in
from tests.support.missing import missing
from tests.support.paths import ROOT
from tests.support.picky import RUN, main_with_picky, make_picky, records_of, results_of
from tests.support.processes import Command
from tests.support.tiny import tiny_reward_model

pytestmark = pytest.mark.slow


class Nodes:
    """A cluster of nodes with one CPU each, a head and another one."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._size = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
        self._cluster = Cluster(
            initialize_head=True, head_node_args={**self._size, "include_dashboard": False}
        )
        self.address: str = self._cluster.address
        self._other = self._cluster.add_node(**self._size)

    def lose(self) -> None:
        """Kills the other node with all that runs there."""
        self._cluster.remove_node(self._other, allow_graceful=False)

    def renew(self) -> None:
        """Adds another node in its place."""
        self._other = self._cluster.add_node(**self._size)

    def stop(self) -> None:
        """Ends all nodes."""
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    try:
        import ray  # noqa: F401
    except ImportError:
        missing("ray is not installed: pip install ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Nodes()
        yield cluster
        cluster.stop()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A picky model, its task and pictures."""
    monkeypatch.syspath_prepend(make_picky(tmp_path))
    yield tmp_path
    sys.modules.pop("picky_model", None)


def on_ray(nodes: Nodes, out: str, *more: str, replicas: int = 2) -> list[str]:
    words = ["--engine", "ray", "--address", nodes.address, "--replicas", str(replicas)]
    return [*RUN, *words, "--out", out, *more]


def pids(folder: Path) -> list[int]:
    return [int(path.name) for path in (folder / "pids").iterdir()]


def check_equal(cli: Cli, run: str, *more: str) -> None:
    assert cli(*RUN, "--out", "one", *more).code == 0
    assert records_of(run) == records_of("one")
    assert results_of(run) == results_of("one")


def test_a_batch_whose_actor_is_killed_is_asked_again(cli: Cli, folder: Path, nodes: Nodes) -> None:
    (folder / "once").touch()
    done = cli(*on_ray(nodes, "two"))
    assert done.code == 0, done.err
    assert not (folder / "once").exists()
    assert len(pids(folder)) >= 2
    check_equal(cli, "two")


@only_in("chaos")
@pytest.mark.chaos
def test_a_sample_that_ends_actors_fails_alone(cli: Cli, folder: Path, nodes: Nodes) -> None:
    (folder / "deadly").touch()
    done = cli(*on_ray(nodes, "two"))
    assert done.code == 0, done.err
    rows = records_of("two")
    assert {id_ for id_, row in rows.items() if row["error"]} == {"s3", "s6"}
    message = rows["s6"]["error"]["message"]
    assert message.startswith("ReplicaDiedError: 2 replicas ended over it (")
    assert "\n" not in message
    assert rows["s3"]["error"]["message"] == "ValueError: no luck"
    assert len(rows) == 10


@only_in("chaos")
@pytest.mark.chaos
def test_a_driver_is_killed_and_another_number_of_replicas_goes_on(
    cli: Cli, folder: Path, nodes: Nodes
) -> None:
    (folder / "sleeps").write_text("0.4")
    words = on_ray(nodes, "two", "--concurrency", "1")
    driver = Command(words, folder / "errors", main=main_with_picky)
    log = folder / "two/mine/demo/records.jsonl"
    wait_for(lambda: log.is_file() and log.read_bytes().count(b"\n") >= 3, driver)
    second = cli(*words)
    assert (second.code, "in use by another process" in second.err) == (2, True), second.err
    driver.kill()
    recorded = log.read_bytes().count(b"\n")
    assert recorded < 10
    (folder / "sleeps").unlink()
    done = cli(*on_ray(nodes, "two", "--concurrency", "1", replicas=1))
    assert done.code == 0, done.err
    check_equal(cli, "two", "--concurrency", "1")


@only_in("chaos")
@pytest.mark.chaos
def test_what_the_cluster_lacks_is_refused_at_once(cli: Cli, folder: Path, nodes: Nodes) -> None:
    for more, words in (
        (("--replicas", "3"), "3 replicas take 1 CPU and 0 GPUs each on one node, and the cluster has"),
        (("--gpus-per-replica", "1"), "2 replicas take 1 CPU and 1 GPUs each on one node"),
    ):
        done = cli(*on_ray(nodes, "run"), *more)
        assert (done.code, words in done.err) == (2, True), done.err
    (folder / "no weights").touch()
    done = cli(*on_ray(nodes, "run", replicas=1))
    assert (done.code, "there are no weights" in done.err) == (2, True), done.err
    assert pids(folder) == []


@only_in("chaos")
@pytest.mark.chaos
def test_a_node_is_lost(cli: Cli, folder: Path, nodes: Nodes) -> None:
    """The other replica finds no place any more, and the one that is left does the work."""
    (folder / "sleeps").write_text("0.3")
    thread = threading.Thread(target=lambda: (until(lambda: len(pids(folder)) >= 2), nodes.lose()))
    thread.start()
    done = cli(*on_ray(nodes, "two", "--concurrency", "1"))
    thread.join()
    nodes.renew()
    assert done.code == 0, done.err
    (folder / "sleeps").unlink()
    check_equal(cli, "two", "--concurrency", "1")


@only_in("chaos")
@pytest.mark.chaos
def test_the_model_of_a_judge_is_an_actor(
    cli: Cli, folder: Path, nodes: Nodes, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_reward_model(folder / "rm", tiny)
    judge = folder / "mine/my_rm"
    judge.mkdir()
    (judge / "judge.yaml").write_text(
        "version: 1\nkind: reward_model\ntitle: T\ndescription: D.\nsees: [text]\n"
        "metrics: {reward: {range: [0, 1]}}\n"
    )
    (folder / "mine/demo/task.yaml").write_text(
        "version: 1\ntitle: T\ndescription: D.\nlicence: CC0-1.0\ninputs: [text]\noutputs: [text]\n"
        "judges: [my_rm]\nprimary: reward\ncontract: {required: [text]}\n"
    )
    (folder / "plain").touch()
    words = ("--judge", f"my_rm={model}")
    loaded: list[Path] = []
    load = Head.load

    def noted(head: Head) -> None:
        loaded.append(head.path)
        load(head)

    monkeypatch.setattr(Head, "load", noted)
    done = cli(*on_ray(nodes, "two", *words, replicas=1))
    assert done.code in (0, 1), done.err
    assert not loaded, "not in this process"
    check_equal(cli, "two", *words)
    assert loaded


def until(happened: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.05)


def wait_for(happened: Callable[[], bool], command: Command) -> None:
    until(lambda: happened() or command.poll() is not None)
    assert happened()


@only_in("chaos")
@pytest.mark.chaos
def test_addresses_at_which_no_cluster_answers(cli: Cli, folder: Path) -> None:
    def refused(address: str) -> Result:
        done = cli(*RUN, "--out", "run", "--engine", "ray", "--address", address)
        assert address in done.err
        return done

    with socket.create_server(("127.0.0.2", 0)) as silent:
        port = silent.getsockname()[1]
        start = time.monotonic()
        done = refused(f"127.0.0.2:{port}")
        assert (done.code, "no cluster answers" in done.err) == (4, True), done.err
        assert time.monotonic() - start < 15
    done = refused(f"127.0.0.2:{port}")
    assert (done.code, "Connection refused" in done.err) == (4, True), done.err
    for address in ("ray://127.0.0.2:10001", "127.0.0.2", "127.0.0.2:x"):
        done = refused(address)
        assert (done.code, "must be HOST:PORT" in done.err) == (2, True), done.err


def test_options_of_ray_without_ray(cli: Cli, folder: Path) -> None:
    for more in (("--address", "auto"), ("--gpus-per-replica", "1")):
        done = cli(*RUN, "--replicas", "2", *more)
        assert (done.code, "only `engine: ray` takes it" in done.err) == (2, True), done.err
    done = cli(*RUN, "--engine", "ray", "--gpus-per-replica", "1.5")
    assert (done.code, "whole number" in done.err) == (2, True), done.err
    done = cli("run", "--model", "openai/x@http://127.0.0.1:1/v1", *RUN[3:], "--engine", "ray")
    assert (done.code, "no model that is loaded on a machine" in done.err) == (2, True), done.err
    done = cli(*RUN[:3], "--tasks", "lm_eval/x", "--engine", "ray")
    assert (done.code, "--engine ray: tasks of lm_eval cannot be cut" in done.err) == (2, True), done.err


def test_ray_is_missing_or_another_version(
    cli: Cli, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    with pytest.raises(UserError, match=r"--engine ray needs ray >=2.*: pip install '.\[ray\]'"):
        RayEngine(None, None)
    assert cli(*RUN, "--out", "one").code == 0, "nothing else imports it"
    monkeypatch.delitem(sys.modules, "ray")
    package = tmp_path / "ray"
    package.mkdir()
    for version in ("1.13.0", "3.0.0"):
        (package / "__init__.py").write_text(f"__version__ = {version!r}\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(UserError, match=f"needs ray >=2.*, not {version}"):
            RayEngine(None, None)
        sys.modules.pop("ray")


def test_the_versions_are_those_of_the_extra() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    oldest, first_unknown = (".".join(map(str, version)) for version in VERSIONS)
    assert extras["ray"] == [f"ray>={oldest},<{first_unknown}"]


@only_in("chaos")
@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(9))
def test_kills_at_random_moments(cli: Cli, folder: Path, nodes: Nodes, seed: int) -> None:
    """An actor, the run itself or a node is killed; the run ends as if nothing had been."""
    draws = random.Random(seed)
    (folder / "sleeps").write_text("0.2")
    driver = Command(on_ray(nodes, "two", "--concurrency", "1"), folder / "errors", main=main_with_picky)
    wait_for(lambda: bool(pids(folder)), driver)
    time.sleep(draws.uniform(0, 1.5))
    victim = ("actor", "driver", "node")[seed % 3]
    if victim == "actor":
        with contextlib.suppress(ProcessLookupError):
            os.kill(draws.choice(pids(folder)), signal.SIGKILL)
    elif victim == "driver":
        driver.kill()
    else:
        nodes.lose()
    status = driver.wait()
    if victim == "node":
        nodes.renew()
    assert victim == "driver" or status == 0, (folder / "errors").read_text()
    done = cli(*on_ray(nodes, "two", "--concurrency", "1", replicas=draws.choice([1, 2])))
    assert done.code == 0, done.err
    (folder / "sleeps").unlink()
    check_equal(cli, "two", "--concurrency", "1")


@only_in("engines")
@pytest.mark.engines
def test_a_cluster_of_our_own_is_on_loopback_and_ends_with_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "sleeps").touch()
    words = [*RUN, "--engine", "ray", "--replicas", "2", "--out", "two"]
    driver = Command(words, folder / "errors", main=main_with_picky)
    wait_for(lambda: len(pids(folder)) == 2, driver)
    servers = listening(pids(folder)[0])
    assert len(servers) >= 3
    assert all("127.0.0.1" in str(address) for address in servers)
    driver.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids(folder)))
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids(folder))


def listening(pid: int) -> list[str]:
    """Addresses at which the processes of the cluster of an actor listen."""
    raylet = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    driver = int(Path(f"/proc/{raylet}/stat").read_text().rpartition(")")[2].split()[1])
    inodes = set()
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            status = (path.parent.parent / "stat").read_text()
            parent = int(status.rpartition(")")[2].split()[1])
            if {int(path.parts[2]), parent} & {raylet, driver}:
                inodes.add(str(path.readlink()))
    addresses = []
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                words = bytes.fromhex(fields[1].partition(":")[0])
                order = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
                addresses.append(socket.inet_ntop(family, order))
    return addresses


@only_in("engines")
@pytest.mark.engines
def test_checkpoints_of_a_training_are_evaluated_there(tmp_path: Path, nodes: Nodes) -> None:
    reports: list[str] = []
    for name, more in (("here", {}), ("there", {"engine": "ray", "address": nodes.address})):
        settings = EvaluationSettings(tasks=["micro/selection"], limit=4, **more)
        evaluations = Evaluations(settings, tmp_path / name, reports.append)
        evaluations.submit(START, "micro", {"step": 0})
        evaluations.wait()
        assert not evaluations.failed
    assert results_of(tmp_path / "here" / START) == results_of(tmp_path / "there" / START)
