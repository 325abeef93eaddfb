"""A round: a run that something is done to, then the same command until it ends, and a comparison with a
run to which nothing happens."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos.workloads import Place, Seen, Workload, command, prepare, seen, serve, wait_for
from tests.support.processes import Command, Main

SECONDS = 60
"""Bound on one command."""


TRIES = 6
"""Commands after which a run must have ended."""


_MARK = "EVAL_ANYTHING_CHAOS"
"""Variable by which the processes of a round are found."""


class Calm(NamedTuple):
    """A workload in its folder, and what a run of it says to which nothing happens."""

    place: Place
    seen: Seen


@cache
def calm(workload: Workload, folder: Path) -> Calm:
    """Prepares a workload in a folder of its own, and runs it once."""
    place = prepare(folder / "calm", workload)
    with Round(place, folder / "first", random.Random(0)) as first:
        assert first.wait(first.start()) == 0, first.said()
        return Calm(place, seen(first.out, workload))


class Round:
    """The processes and files of one round. All of its processes end with the block.

    Args:
        place: the workload and its folder.
        folder: the folder of the round.
        luck: all that is random in it.
        more: further arguments of the command.
    """

    def __init__(
        self, place: Place, folder: Path, luck: random.Random, more: tuple[str, ...] = ()
    ) -> None:
        self.place = place
        self.luck = luck
        self.more = more
        self.folder = folder
        self.out = folder / "run"
        self.errors = folder / "errors"
        self.ends: list[int] = []
        self.strikes = 0
        self._processes: list[Command] = []
        self._servers: dict[int, Command] = {}
        self._temporary = folder / "tmp"
        self._temporary.mkdir(parents=True)

    def __enter__(self) -> Round:
        for port in self.place.ports if self.place.workload.served else ():
            self.serve(port)
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self._processes, *self._servers.values()):
            process.kill()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def start(
        self, *words: str, out: Path | None = None, largest_file: int | None = None, main: Main = command
    ) -> Command:
        """Starts the command of the run, with further words; other `words` replace it without `out`."""
        variables = {_MARK: str(self.folder), "TMPDIR": str(self._temporary)}
        variables["EVAL_ANYTHING_HOME"] = str(self.folder / "home")
        process = Command(
            [*self.place.words(), *self.more, *words, "--out", str(out or self.out)],
            self.errors,
            environment={**os.environ, **variables},
            folder=self.place.folder,
            largest_file=largest_file,
            main=main,
        )
        self._processes.append(process)
        return process

    def start_other(self, *words: str | Path) -> Command:
        """Starts another command of `eval-anything`."""
        variables = {_MARK: str(self.folder), "TMPDIR": str(self._temporary)}
        environment = {**os.environ, **variables}
        process = Command(
            words, self.errors, environment=environment, folder=self.place.folder, main=command
        )
        self._processes.append(process)
        return process

    def wait(self, process: Command) -> int:
        """The exit code of a command, which is noted."""
        code = process.wait(SECONDS)
        self.ends.append(code)
        return code

    def strike(self, process: Command, number: int) -> int:
        """Sends a signal to a command, if it still runs, and waits for its end."""
        self.strikes += process.poll() is None
        process.signal(number)
        return self.wait(process)

    def serve(self, port: int, fault: str = "none") -> None:
        """Starts a server on a port, in place of the one that is there."""
        self.end_server(port)
        words = [str(port), fault, str(self.luck.random())]
        self._servers[port] = Command(words, self.errors, folder=self.place.folder, main=serve)
        wait_for(port)

    def end_server(self, port: int) -> None:
        """Kills a server, if there is one."""
        if port in self._servers:
            self._servers.pop(port).kill()

    def moment(self, process: Command, out: Path | None = None) -> None:
        """Waits until a run has some more records, or none, and up to a fifth of a second longer."""
        target = self.count(out) + self.luck.choice([0, 1, 3, 8, 15, 25])
        while process.poll() is None and self.count(out) < target:
            time.sleep(0.002)
        time.sleep(self.luck.uniform(0, 0.2))

    def count(self, out: Path | None = None) -> int:
        """The number of lines in the logs of a run."""
        run = out or self.out
        logs = [run / task / "records.jsonl" for task in self.place.workload.tasks]
        return sum(path.read_bytes().count(b"\n") for path in logs if path.exists())

    def processes(self, word: str = "") -> list[int]:
        """Ids of the processes that commands have started, with this word in what they run."""
        mark = f"{_MARK}={self.folder}\0".encode()
        return [
            int(path.name)
            for path in Path("/proc").iterdir()
            if path.name.isdecimal()
            and mark in _of(path, "environ")
            and word.encode() in _of(path, "cmdline")
        ]

    def said(self) -> str:
        """What the commands wrote to stderr."""
        return self.errors.read_text("utf-8", "replace") if self.errors.exists() else ""

    def finish(self, *words: str) -> None:
        """Repeats the command until it ends well, all servers being there."""
        for _ in range(TRIES):
            if self.wait(self.start(*words)) == 0:
                return
        raise AssertionError(f"the run does not end: {self.said()[-2000:]}")

    def check(self, expected: Seen, out: Path | None = None) -> None:
        """AssertionError if the run differs from a calm one, or something is left of the round."""
        now = seen(out or self.out, self.place.workload)
        for name, one, other in zip(Seen._fields, now, expected, strict=True):
            assert one == other, f"{name}: {_unlike(one, other)}"
        said = self.said()
        assert "Traceback" not in said, said[-2000:]
        assert "internal error" not in said, said[-2000:]
        end = time.monotonic() + 5
        while self.processes():
            assert time.monotonic() < end, "processes are left"
            time.sleep(0.02)
        left = [path.name for path in self._temporary.iterdir()]
        assert not left, f"temporary files are left: {left[:9]}"


def _unlike(one: Any, other: Any) -> str:
    """Where two values differ, in words."""
    if isinstance(one, set):
        return f"{sorted(one - other)[:9]} more, {sorted(other - one)[:9]} less"
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    return "; ".join(f"{key}: {one.get(key)}, not {other.get(key)}" for key in keys[:2])


def _of(process: Path, name: str) -> bytes:
    try:
        return (process / name).read_bytes()
    except OSError:  # it has ended
        return b""


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """A disk in memory at a folder, which has so much space."""
    folder.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder))
    try:
        yield
    finally:
        _run("umount", "--lazy", str(folder))


def change_disk(folder: Path, option: str) -> None:
    """Changes an option of a disk: `size=...`, `ro`, `rw`."""
    _mount("-o", f"remount,{option}", str(folder))


def _mount(*words: str) -> None:
    _run("mount", *words)


def _run(*words: str) -> None:
    import subprocess

    subprocess.run(words, check=True, capture_output=True)


@cache
def can_mount() -> bool:
    """Whether this user may mount disks in memory."""
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder) / "disk", 64):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False
