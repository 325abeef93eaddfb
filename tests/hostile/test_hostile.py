"""What strangers hand us ends soon, in little memory, with the right exit code and a clear message."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.hostile.attack import MEMORY, SECONDS, outcome_of
from tests.hostile.table import ATTACKS
from tests.support.lanes import full
from tests.support.processes import Command


@pytest.mark.hostile
@pytest.mark.parametrize("name", [*ATTACKS][:: 1 if full("hostile") else 4])
def test_an_attack_ends_as_it_must(name: str, tmp_path: Path) -> None:
    attack = ATTACKS[name]
    outcome = outcome_of(name, tmp_path)
    assert outcome.code == attack.code, outcome.said[-2000:]
    assert attack.says in outcome.said
    assert "internal error" not in outcome.said
    assert "Traceback" not in outcome.said
    assert outcome.memory < MEMORY
    assert outcome.seconds < SECONDS


def test_there_are_many_attacks() -> None:
    assert len(ATTACKS) >= 150


def program_of(arguments: list[str]) -> int:
    """A run of a generator that never ends; the file gets the id of what it started."""
    from tests.hostile.table import generate

    note = arguments[0]
    starts = f"setsid sleep 1000 & echo $! > {note}; sleep 1000"
    return generate(["sh", "-c", starts, "--", "{prompt}"], seconds=1000)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the group of processes ends")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_program_ends_with_the_run(number: signal.Signals, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    run = Command(
        [note], tmp_path / "said", environment={**os.environ, "TMPDIR": str(tmp_path)}, main=program_of
    )
    until(lambda: note.exists() and note.read_text().strip())
    pid = int(note.read_text())
    assert Path(f"/proc/{pid}").exists()
    run.signal(number)
    run.wait(10)
    until(lambda: not Path(f"/proc/{pid}").exists())
    until(lambda: not list(tmp_path.glob("eval-anything-*")))


def until(done: object, seconds: float = 10) -> None:
    """Waits until something is true."""
    assert callable(done)
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)
