"""The table of what happens to runs: a kind of fault is one entry."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.chaos.rounds import Round, can_mount, change_disk, small_disk
from tests.chaos.workloads import ARTIST, MICRO, SERVED, Workload

REPLICAS = ("--replicas", "2")


class Kind(NamedTuple):
    """A kind of fault.

    Attributes:
        name: what happens, for the table.
        workload: the run that it happens to.
        strike: does it; afterwards the same command is repeated until the run has ended.
        more: further arguments of the run.
        needs: the reason why it cannot be tried here, if there is one.
        quick: the seed of the round that `make test` runs, one of the quickest.
    """

    name: str
    workload: Workload
    strike: Callable[[Round], None]
    more: tuple[str, ...] = ()
    needs: Callable[[], str] = lambda: ""
    quick: int = 0


def _ended(number: int) -> Callable[[Round], None]:
    """The command gets a signal up to three times."""

    def strike(round_: Round) -> None:
        right = {0, 5} if number == signal.SIGINT else {0, -number}
        for _ in range(round_.luck.randint(1, 3)):
            before = round_.said()
            process = round_.start()
            round_.moment(process)
            while process.poll() is None and round_.said() == before:  # Python itself is starting
                time.sleep(0.002)
            code = round_.strike(process, number)
            assert code in right, f"exit code {code}: {round_.said()}"

    return strike


def _with_other_replicas(round_: Round) -> None:
    """Killed, and resumed with another number of replicas, or none."""
    process = round_.start()
    round_.moment(process)
    round_.strike(process, signal.SIGKILL)
    round_.more = round_.luck.choice([(), ("--replicas", "3"), REPLICAS])


def _children_killed(word: str, most: int) -> Callable[[Round], None]:
    """Kills up to `most` processes that a command has started, by a word in what they run."""

    def strike(round_: Round) -> None:
        process = round_.start()
        kills = round_.luck.randint(1, most)
        while process.poll() is None and kills:
            children = round_.processes(word)
            if children:
                time.sleep(round_.luck.uniform(0, 0.15))
                kills -= 1
                try:
                    os.kill(round_.luck.choice(children), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                round_.strikes += 1
            time.sleep(0.02)
        code = round_.wait(process)
        assert code in (0, 4), f"exit code {code}: {round_.said()}"

    return strike


def _server_killed(number: int) -> Callable[[Round], None]:
    """The model's server (0) or the judge's (1) is killed, and there again a little later, or when the
    command has ended."""

    def strike(round_: Round) -> None:
        port = round_.place.ports[number]
        process = round_.start()
        round_.moment(process)
        round_.strikes += process.poll() is None
        round_.end_server(port)
        if round_.luck.random() < 0.5:
            time.sleep(round_.luck.uniform(0, 0.2))
            round_.serve(port)
        code = round_.wait(process)
        assert code in (0, 4), f"exit code {code}: {round_.said()}"
        round_.serve(port)

    return strike


def _faulty_servers(fault: str) -> Callable[[Round], None]:
    """Both servers have a fault for a command or two, and one of them for all that follow."""

    def strike(round_: Round) -> None:
        for port in round_.place.ports:
            round_.serve(port, fault)
        for _ in range(round_.luck.randint(1, 2)):
            code = round_.wait(round_.start())
            round_.strikes += 1
            assert code in (0, 4), f"exit code {code}: {round_.said()}"

    return strike


def _full_disk(round_: Round) -> None:
    """The disk of the run is too small, and becomes larger."""
    with small_disk(round_.folder / "disk", round_.luck.choice([16, 48, 96, 160])):
        round_.out = round_.folder / "disk" / "run"
        for _ in range(2):
            code = round_.wait(round_.start())
            round_.strikes += code != 0
            assert code in (0, 4), f"exit code {code}: {round_.said()}"
        change_disk(round_.folder / "disk", "size=64m")
        round_.finish()
        _move_to_folder(round_)


def _move_to_folder(round_: Round) -> None:
    """Takes the run off the disk that ends with the strike."""
    shutil.copytree(round_.out, round_.folder / "run")
    round_.out = round_.folder / "run"


def _small_files(round_: Round) -> None:
    """No file of the command may have more bytes than so many (RLIMIT_FSIZE)."""
    for _ in range(2):
        code = round_.wait(round_.start(largest_file=round_.luck.choice([0, 700, 3000, 9000, 20_000])))
        round_.strikes += code != 0
        assert code in (0, 4), f"exit code {code}: {round_.said()}"


def _read_only(round_: Round) -> None:
    """Killed; then its disk is read-only for a while."""
    with small_disk(round_.folder / "disk", 64 * 1024):
        round_.out = round_.folder / "disk" / "run"
        process = round_.start()
        round_.moment(process)
        round_.strike(process, signal.SIGKILL)
        while round_.processes():  # its children end with it
            time.sleep(0.02)
        change_disk(round_.folder / "disk", "ro")
        code = round_.wait(round_.start())
        round_.strikes += 1
        assert code == 4, f"exit code {code}: {round_.said()}"
        change_disk(round_.folder / "disk", "rw")
        round_.finish()
        _move_to_folder(round_)


def _no_disk() -> str:
    return "" if can_mount() else "this user may not mount a disk (mount -t tmpfs)"


def _no_clock() -> str:
    return "" if shutil.which("faketime") else "faketime is not installed"


def _fresh_command(arguments: list[str]) -> int:
    """The command in a new Python, whose clock can be changed."""
    code = "import sys; from tests.chaos.workloads import command; sys.exit(command(sys.argv[1:]))"
    path = os.pathsep.join(os.path.abspath(p) for p in sys.path)  # noqa: PTH100
    os.execve(
        sys.executable, [sys.executable, "-c", code, *arguments], {**os.environ, "PYTHONPATH": path}
    )


def _clock_jumps(round_: Round) -> None:
    """The clock jumps by up to years, back and forth, while the run goes on."""
    words = ["faketime", "-f", "+0", sys.executable, "-c", "import os; print(os.environ['LD_PRELOAD'])"]
    library = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    clock = round_.folder / "clock"
    variables = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    variables["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
    clock.write_text("+0")
    process = round_.start(main=partial(_jumping, variables))
    while process.poll() is None:
        time.sleep(round_.luck.uniform(0, 0.2))
        new = round_.folder / "new clock"
        new.write_text(round_.luck.choice(["+0", "-1h", "+1d", "-3650d", "+3650d", "-1", "+400d x100"]))
        new.replace(clock)
        round_.strikes += 1
    code = round_.wait(process)
    assert code == 0, f"exit code {code}: {round_.said()}"


def _jumping(variables: dict[str, str], arguments: list[str]) -> int:
    os.environ.update(variables)
    return _fresh_command(arguments)


def _two_processes(round_: Round) -> None:
    """Two commands at nearly the same time; sometimes one of them is killed."""
    for _ in range(2):
        processes = []
        for _ in range(2):
            processes.append(round_.start())
            time.sleep(round_.luck.uniform(0, 0.3))
        if round_.luck.random() < 0.5:
            round_.strike(round_.luck.choice(processes), signal.SIGKILL)
        round_.strikes += 1
        for process in processes:
            code = round_.wait(process)
            assert code in (0, -signal.SIGKILL) or (code == 2 and "is in use" in round_.said()), code


def _shards(round_: Round) -> None:
    """Three shards, each of them killed, and a merge that is killed."""
    parts = [round_.folder / f"part-{number}" for number in (1, 2, 3)]
    for number, part in enumerate(parts, start=1):
        words = ("--shard", f"{number}/3")
        for _ in range(round_.luck.randint(0, 2)):
            process = round_.start(*words, out=part)
            round_.moment(process, part)
            round_.strike(process, signal.SIGKILL)
        code = round_.wait(round_.start(*words, out=part))
        assert code == 0, round_.said()
    merge: list[str | Path] = ["runs", "merge", round_.out, *parts, "--include", "mine"]
    building = round_.out.with_name(".run.merging")
    for _ in range(round_.luck.randint(1, 3)):
        process = round_.start_other(*merge)
        while process.poll() is None and not building.exists():
            time.sleep(0.001)
        time.sleep(round_.luck.uniform(0, 0.05))
        round_.strike(process, signal.SIGKILL)
    assert round_.wait(round_.start_other(*merge)) == 0, round_.said()
    assert not building.exists()


_MEDIA, _REPLICA = "eval_anything.media.worker", "eval_anything.models.replicas.worker"

_TABLE = (
    Kind("kill -9 of the run", ARTIST, _ended(signal.SIGKILL), quick=5),
    Kind("kill -9 of the run of a checkpoint", MICRO, _ended(signal.SIGKILL), quick=2),
    Kind("kill -9 of the run of two servers", SERVED, _ended(signal.SIGKILL), quick=7),
    Kind("SIGINT", ARTIST, _ended(signal.SIGINT), quick=1),
    Kind("SIGTERM", SERVED, _ended(signal.SIGTERM), quick=10),
    Kind("kill -9 of replicas", ARTIST, _children_killed(_REPLICA, 3), REPLICAS, quick=10),
    Kind(
        "kill -9 of a run with replicas, then another number of them",
        ARTIST,
        _with_other_replicas,
        REPLICAS,
        quick=6,
    ),
    Kind("kill -9 of media processes", ARTIST, _children_killed(_MEDIA, 3), quick=3),
    Kind("kill -9 of the judge's server", SERVED, _server_killed(1), quick=4),
    Kind("kill -9 of the model's server", SERVED, _server_killed(0), quick=3),
    Kind("servers that are slow or say 429", SERVED, _faulty_servers("slows"), quick=4),
    Kind(
        "servers that reset 30 % of connections in a reply", SERVED, _faulty_servers("resets"), quick=7
    ),
    Kind("servers that drop 30 % of connections", SERVED, _faulty_servers("drops")),
    Kind("servers that lie about the length of 30 % of replies", SERVED, _faulty_servers("lies")),
    Kind("a full disk", ARTIST, _full_disk, needs=_no_disk),
    Kind("a limit on the size of files", ARTIST, _small_files),
    Kind("a read-only disk", ARTIST, _read_only, needs=_no_disk),
    Kind("clock jumps", SERVED, _clock_jumps, needs=_no_clock),
    Kind("two processes on one run", ARTIST, _two_processes),
    Kind("kill -9 of shards and of their merge", ARTIST, _shards),
)

KINDS = {kind.name: kind for kind in _TABLE}
"""All kinds, by name."""
