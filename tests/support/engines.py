"""Servers of models as programs of their own, on the loopback, from environments of their own.

An environment has the packages of a file under `tests/`, and lies in `.cache/engines`, which git
ignores: made once, and again when that file changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.missing import missing
from tests.support.paths import ROOT

_CACHE = ROOT / ".cache" / "engines"
_TO_INSTALL = 300.0  # seconds
_TO_START = 120.0  # seconds; 5 to 20 are usual


def environment(name: str) -> Path:
    """The folder of programs of the environment with the packages of `tests/support/{name}.txt`.

    Skips the test if they cannot be installed, and fails it in CI.
    """
    requirements = ROOT / "tests" / "support" / f"{name}.txt"
    wanted = hashlib.sha256(sys.version.encode() + requirements.read_bytes()).hexdigest()
    folder, stamp = _CACHE / name, _CACHE / f"{name}.sha256"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # held by one process of tests at a time
        if not stamp.exists() or stamp.read_text() != wanted:
            _install(requirements, folder)
            stamp.write_text(wanted)
    return folder / "bin"


def _install(requirements: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, symlinks=True)
    # The list is complete: what a package names beside it is for features that no test has.
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"]
    command = [*pip, *options, "--only-binary", ":all:", "--requirement", str(requirements)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TO_INSTALL)
        problem = done.stderr.strip() if done.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"not done after {_TO_INSTALL:g} s"
    if problem:
        shutil.rmtree(folder, ignore_errors=True)
        missing(f"{requirements.name} cannot be installed here: {problem}")


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


class Program(NamedTuple):
    """A server that was started: its process, the address that says whether it is ready, its log."""

    process: subprocess.Popen[bytes]
    health: str
    log: Path

    def wait(self) -> None:
        """Returns once it is ready; fails the test, with the end of the log, if it does not come up."""
        deadline = time.monotonic() + _TO_START
        while not _is_healthy(self.health):
            if self.process.poll() is not None or time.monotonic() > deadline:
                end = self.log.read_text("utf-8", "replace")[-4000:]
                pytest.fail(f"{self.log.stem} does not come up:\n{end}")
            time.sleep(0.1)


@contextmanager
def started(
    command: Sequence[str | Path], health: str, folder: Path, environ: Mapping[str, str]
) -> Iterator[Program]:
    """A server that is started, and killed at the end.

    Args:
        command: the program with its arguments.
        health: the address that answers 200 once it is ready.
        folder: the directory where it runs, and where its log is.
        environ: all its variables.
    """
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env=environ)
    try:
        yield Program(process, health, log)
    finally:
        process.kill()
        process.wait(30)


def _is_healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
