"""`eval-anything` in processes of its own, which begin with all that it needs imported.

They are forked from one process that has imported it (`preloaded`), since that takes longer than most of
what is tested then. Nothing else is there that a test has made, and they can be killed like any other.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import runpy
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.support.preloaded"])

Main = Callable[[list[str]], int]


class Command:
    """A command in a process of its own.

    Args:
        arguments: those of `eval-anything`, or of `main`.
        errors: the file that stderr is appended to.
        output: the same for stdout, which is thrown away otherwise.
        environment: all variables; those of this process if left out.
        folder: the directory that it begins in; that of this process if left out.
        largest_file: bytes beyond which a write fails, as on a full disk.
        main: a module's function to run in place of `eval-anything`.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        errors: Path,
        output: Path = Path(os.devnull),
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        largest_file: int | None = None,
        main: Main | None = None,
    ) -> None:
        words = [str(argument) for argument in arguments]
        variables = dict(os.environ if environment is None else environment)
        self._process = _FORKS.Process(
            target=_run,
            args=(main, words, folder or Path.cwd(), variables, output, errors, largest_file),
            daemon=True,  # it ends with the tests
        )
        self._process.start()

    def poll(self) -> int | None:
        """The exit status (negative: the signal that ended it), None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float = 300) -> int:
        """The exit status, once it has ended."""
        self._process.join(seconds)
        status = self.poll()
        assert status is not None, f"still running after {seconds} s"
        return status

    def signal(self, number: int) -> None:
        """Sends it a signal, if it still runs."""
        if self.poll() is None:
            assert self._process.pid is not None
            os.kill(self._process.pid, number)

    def kill(self) -> int:
        """Ends it with SIGKILL, if it still runs. Returns the exit status."""
        self._process.kill()
        return self.wait()

    def terminate(self) -> None:
        """Ends it with SIGTERM."""
        self._process.terminate()


def run_script(arguments: list[str]) -> int:
    """Runs a Python script, `main` of a `Command` whose first argument is its path."""
    sys.argv = arguments
    sys.path[0] = str(Path(arguments[0]).parent)
    runpy.run_path(arguments[0], run_name="__main__")
    return 0


def run_module(arguments: list[str]) -> int:
    """Runs a module as `python -m` does, `main` of a `Command` whose first argument is its name."""
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__")
    return 0


def run_command(python: str, arguments: list[str]) -> int:
    """Runs `eval-anything`, which starts what it starts by another Python than its own."""
    from eval_anything.cli.main import main

    sys.executable = python
    return main(arguments)


def run_together(
    count: int, arguments: Sequence[str | Path], errors: Path, main: Main | None = None
) -> int:
    """Runs a command in `count` processes that find each other as those of torchrun do.

    Returns the first exit status that is not 0, after which the others are killed, or 0.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    meeting |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    commands = [
        Command(
            arguments,
            errors,
            environment={**os.environ, **meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            main=main,
        )
        for rank in range(count)
    ]
    while None in (statuses := [command.poll() for command in commands]) and not any(statuses):
        time.sleep(0.02)
    for command in commands:
        command.kill()
    return next((status for status in statuses if status), 0)


def _run(
    main: Main | None,
    arguments: list[str],
    folder: Path,
    environment: dict[str, str],
    output: Path,
    errors: Path,
    largest_file: int | None,
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in ((1, output), (2, errors)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    if largest_file is not None:
        sys.dont_write_bytecode = True  # it would be cut off
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    if main is None:
        from eval_anything.cli.main import main
    sys.exit(main(arguments))
