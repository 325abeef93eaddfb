"""What a round runs: small evaluations whose files do not depend on when or where they are made."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sys
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from eval_anything.runs.directory import records_path
from tests.support.faults import good
from tests.support.helpers import TASK_YAML, make_task, text_sample
from tests.support.judge_server import talk_task
from tests.support.scripted_server import Reply, ScriptedServer, drops, fails, resets, says_length

_FASTER = 20
"""Factor by which pauses between tries are shorter than real ones."""


class Workload(NamedTuple):
    """An evaluation.

    Attributes:
        words: the arguments of `eval-anything`, but `--out`; "MODEL" and "JUDGE" in them stand for the
            addresses of two servers.
        tasks: names of its tasks.
        samples: the number of them in its own task; 0: its tasks are bundled.
        yaml: task.yaml of its own task.
        served: whether a model and a judge on servers answer. What was asked for twice is paid for
            twice, so that the costs of a run depend on its interruptions.
    """

    words: tuple[str, ...]
    tasks: tuple[str, ...] = ("mine/demo",)
    samples: int = 0
    yaml: str = TASK_YAML
    served: bool = False


ARTIST = Workload(("run", "--model", "artist", "--tasks", "mine/demo", "--include", "mine"), samples=60)
"""Answers of words and a picture each, which child processes decode."""


MICRO = Workload(
    (
        *(
            "run",
            "--model",
            "micro",
            "--tasks",
            "micro/selection",
            "--limit",
            "12",
            "--temperature",
            "1",
        ),
        *("--seed", "7", "--model-arg", "batch_size=2", "--max-failed", "1"),
    ),
    tasks=("micro/selection",),
)
"""A checkpoint that generates."""


SERVED = Workload(
    (
        *("run", "--model", "MODEL", "--judge", "synergy_rubric=JUDGE", "--tasks", "mine/demo"),
        *("--include", "mine", "--concurrency", "4"),
    ),
    samples=24,
    yaml=talk_task(),
    served=True,
)
"""Answers and verdicts of two servers."""


class Place(NamedTuple):
    """A folder with all that a workload needs, and the ports of its servers."""

    folder: Path
    workload: Workload
    ports: tuple[int, int]

    def words(self) -> list[str]:
        """The arguments of `eval-anything`, but `--out`."""
        model, judge = (f"openai/{name}@http://127.0.0.1:{port}/v1" for name, port in self._servers)
        return [word.replace("MODEL", model).replace("JUDGE", judge) for word in self.workload.words]

    @property
    def _servers(self) -> list[tuple[str, int]]:
        return list(zip(("tester", "judge"), self.ports, strict=True))


def prepare(folder: Path, workload: Workload) -> Place:
    """Writes what a workload needs."""
    info = folder / "site" / "artist-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: artist\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[eval_anything.models]\nartist = tests.chaos.artist:Artist\n"
    )
    if workload.samples:
        rows = [text_sample(f"s{i}", f"Question s{i}?") for i in range(workload.samples)]
        make_task(folder, samples=rows, yaml=workload.yaml)
    with socket.socket() as one, socket.socket() as two:
        for free in (one, two):
            free.bind(("127.0.0.1", 0))
        return Place(folder, workload, (one.getsockname()[1], two.getsockname()[1]))


def command(arguments: list[str]) -> int:
    """`eval-anything` beside the package of the artist, with shorter pauses between tries."""
    from eval_anything.cli.main import main

    sys.path.insert(0, str(Path("site").resolve()))
    sleep = asyncio.sleep
    asyncio.sleep = lambda seconds, *more: sleep(seconds / _FASTER, *more)  # type: ignore[assignment]
    return main(arguments)


Fault = Callable[[random.Random], Reply | None]
"""The fault that a request meets; None: a good reply."""


def _slows(luck: random.Random) -> Reply | None:
    if luck.random() < 0.15:
        return fails(429, retry_after="1")
    time.sleep(luck.choice([0, 0, 0.05, 0.3]))
    return None


def _lies(luck: random.Random) -> Reply:
    """Says that a reply is longer or shorter than it is, or no number."""
    return says_length(luck.choice(["9" * 9, "7", "0", "-1", "x", "1" * 400]))


def _often(reply: Callable[[random.Random], Reply]) -> Fault:
    """A fault that 30 % of requests meet."""
    return lambda luck: reply(luck) if luck.random() < 0.3 else None


FAULTS: Mapping[str, Fault] = {
    "none": lambda luck: None,
    "slows": _slows,
    "resets": _often(lambda luck: resets),
    "drops": _often(lambda luck: drops),
    "lies": _often(_lies),
}


def serve(arguments: list[str]) -> int:
    """Answers as a model and as a judge, with a fault, on a port, until it is killed."""
    port, fault, seed = arguments

    def reply(number: int, body: dict[str, Any]) -> Reply:
        return FAULTS[fault](random.Random(f"{seed} {number}")) or good(body)

    ScriptedServer(reply, int(port)).serve_forever(0.02)
    return 0


def wait_for(port: int, seconds: float = 20) -> None:
    """Waits until a server takes connections."""
    end = time.monotonic() + seconds
    while True:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < end, "the server does not start"
        time.sleep(0.01)


class Seen(NamedTuple):
    """All that a run directory says, but for times: records by task, id and repeat, results, and the
    paths of all of its files."""

    records: dict[tuple[str, str, int], dict[str, Any]]
    canaries: dict[tuple[str, str, int], dict[str, Any]]
    results: dict[str, Any]
    files: set[str]


def seen(run: Path, workload: Workload) -> Seen:
    """Reads a run that has ended. AssertionError for a record that is there twice, and for a medium that
    is not what its name says."""
    results = json.loads((run / "results.json").read_bytes()) | {"run": ""}
    if workload.served:
        del results["cost"]
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    for name in files:
        if name.startswith("media/"):
            path = run / name
            assert sha256(path.read_bytes()).hexdigest() == path.stem, f"{name} is damaged"
    assert json.loads((run / "run.json").read_bytes())["status"] == "done"
    return Seen(_log(run, workload, "records"), _log(run, workload, "canaries"), results, files)


def _log(run: Path, workload: Workload, log: Any) -> dict[tuple[str, str, int], dict[str, Any]]:
    rows: dict[tuple[str, str, int], dict[str, Any]] = {}
    for task in workload.tasks:
        path = records_path(run, task, log)
        for line in path.read_bytes().splitlines() if path.exists() else ():
            row = json.loads(line)
            del row["latency"]
            for score in row["scores"].values() if workload.served else ():
                score["details"].pop("usage", None)  # of a verdict that was kept before a kill: nothing
            key = (task, row["sample_id"], row["repeat"])
            assert key not in rows, f"{key} is recorded twice"
            rows[key] = row
    return rows
