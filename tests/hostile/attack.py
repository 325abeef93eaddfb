"""Attacks, each run in a process of its own with bounds on its time, memory and files."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support.processes import Command

SECONDS = 60
"""Bound on the time of one attack. Where a limit of ours is longer, the attack sets a shorter one."""


MEMORY = 768 * 2**20
"""Bound on the memory that an attack may take: that of the process beside what it began with, and that
of the largest of its children."""


ADDRESSES = 3 * 2**30
"""Bound on the address space that an attack may take beside what it began with."""


FILE = 256 * 2**20
"""Bound on the size of a file that it writes."""


class Attack(NamedTuple):
    """One hostile input.

    Attributes:
        name: the input, for the table.
        kind: the kind of input.
        prepare: writes it into the current folder.
        run: reads it and returns the exit code; by default the command of that `words`.
        words: the arguments of `eval-anything`.
        code: the right exit code.
        says: what stdout or stderr must hold.
    """

    name: str
    kind: str
    prepare: Callable[[], object]
    words: Sequence[str] = ()
    run: Callable[[], int] | None = None
    code: int = 2
    says: str = ""


class Outcome(NamedTuple):
    """The end of an attack: exit code (negative: the signal; None: not in time), what it said, its time
    in seconds, and the memory that it and its children took, in bytes."""

    code: int | None
    said: str
    seconds: float
    memory: int


def outcome_of(name: str, folder: Path, fresh: bool = False, seconds: float = SECONDS) -> Outcome:
    """Runs an attack of the table in a folder of its own.

    With `fresh` it begins in a new Python, which takes longer. Otherwise it begins with heavy packages
    imported, and children with little memory do not show beside it.
    """
    said, report, here = folder / "said.txt", folder / "report.json", folder / "here"
    here.mkdir(parents=True)
    words = [name, str(report)]
    code: int | None
    if fresh:
        code = _of_new_python(words, here, said, seconds)
    else:
        process = Command(words, said, said, folder=here, main=main)
        try:
            code = process.wait(seconds)
        except AssertionError:
            code = None
            process.kill()
    try:
        measured = json.loads(report.read_bytes())
    except (OSError, ValueError):  # it was killed
        measured = {"seconds": seconds, "memory": 0}
    text = said.read_text("utf-8", "replace") if said.exists() else ""
    return Outcome(code, text, measured["seconds"], measured["memory"])


def _of_new_python(words: list[str], here: Path, said: Path, seconds: float) -> int | None:
    arguments = [sys.executable, "-m", "tests.hostile.attack", *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with said.open("wb") as out:
        try:
            done = subprocess.run(
                arguments, cwd=here, stdout=out, stderr=out, env=environment, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            return None
    return done.returncode


def main(arguments: list[str]) -> int:
    """Runs the attack of a name in this process, and writes its time and memory into a file."""
    from tests.hostile.table import ATTACKS

    name, report = arguments
    attack = ATTACKS[name]
    os.environ["EVAL_ANYTHING_HOME"] = str(Path("home").absolute())
    attack.prepare()
    before = _peak(resource.RUSAGE_SELF)
    _bound(before)
    begun = time.monotonic()
    try:
        return attack.run() if attack.run is not None else command(*attack.words)
    finally:
        with contextlib.suppress(ImportError):  # only children that have ended are counted
            from eval_anything.isolation import close_all

            close_all()
        memory, children = _peak(resource.RUSAGE_SELF), _peak(resource.RUSAGE_CHILDREN)
        # A child has begun with all that this process had then.
        memory = max(memory - before, children if children > memory else 0)
        measured = {"seconds": time.monotonic() - begun, "memory": memory}
        Path(report).write_text(json.dumps(measured))


def command(*words: str) -> int:
    """`eval-anything` with these arguments."""
    from eval_anything.cli.main import main

    try:
        return main(list(words))
    except SystemExit as stop:
        return int(stop.code or 0)


def _peak(who: int) -> int:
    return resource.getrusage(who).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _bound(resident: int) -> None:
    size = resident
    if sys.platform == "linux":
        size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESSES,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
