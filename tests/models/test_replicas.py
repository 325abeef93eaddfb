"""A model as several processes: equal to one, and what happens when they end."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval_anything.content import Response
from eval_anything.errors import UserError
from eval_anything.evaluation.options import Options
from eval_anything.evaluation.plan import make_plan
from eval_anything.models.base import Model
from eval_anything.models.replicas.model import device_shares
from eval_anything.sampling import GenerationSettings, Sampling
from tests.support.helpers import Cli, Result, make_task, png, text_sample
from tests.support.processes import Command

# A model of somebody else's package, whose behaviour depends on the sample and on files that are there.
MODEL = '''\
import os
import signal
import time
from pathlib import Path
from eval_anything.content import Modality, Response, TextPart
from eval_anything.errors import ServerError, UserError
from eval_anything.models.base import Model

class Picky(Model):
    """A picky model."""

    replicable = True
    batch_size = 4
    arguments = {}

    @classmethod
    def from_spec(cls, spec, reference, arguments):
        model = cls()
        model.name, model.spec = "picky", spec
        return model

    def weights(self):
        return "0" * 64

    def load(self):
        if Path("no weights").exists():
            raise UserError("there are no weights")
        if Path("dies").exists():
            print("no memory for weights", file=__import__("sys").stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    async def generate(self, requests, store):
        Path("pids", str(os.getpid())).touch()
        ids = [r.sample_id for r in requests]
        if Path("sleeps").exists():
            time.sleep(60)
        if Path("once").exists():
            Path("once").unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if Path("deadly").exists() and "s6" in ids:
            os.kill(os.getpid(), signal.SIGSEGV)
        if Path("down").exists():
            raise ServerError("the server is gone")
        if "s3" in ids:
            raise ValueError("no luck")
        return [Response((TextPart(f"answer to {i}"), self.drawn(i, store))) for i in ids]

    def drawn(self, id_, store):
        return store.put(Path("pictures", id_[-1]).read_bytes(), Modality.IMAGE)
'''
IDS = [f"s{i}" for i in range(10)]
RUN = ["run", "--model", "picky", "--tasks", "mine/demo", "--include", "mine", "--max-failed", "0.2"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package, a task of ten samples, and what the model draws."""
    info = tmp_path / "site" / "picky_model-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: picky-model\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[eval_anything.models]\npicky = picky_model:Picky\n")
    (tmp_path / "site" / "picky_model.py").write_text(MODEL)
    for name in ("pids", "pictures"):
        (tmp_path / name).mkdir()
    for i in range(10):
        (tmp_path / "pictures" / str(i)).write_bytes(png(noise=i + 1))
    make_task(tmp_path, samples=[text_sample(id_) for id_ in IDS])
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield tmp_path
    sys.modules.pop("picky_model", None)


def records(run: str, task: str = "mine/demo") -> dict[str, dict[str, Any]]:
    lines = Path(run, task, "records.jsonl").read_bytes().splitlines()
    rows = {row["sample_id"]: row for row in map(json.loads, lines)}
    assert len(rows) == len(lines)
    for row in rows.values():
        del row["latency"]
    return rows


def replicated(cli: Cli, out: str, *more: str) -> Result:
    return cli(*RUN, "--out", out, "--replicas", "2", *more)


def test_replicas_equal_one_process(cli: Cli, folder: Path) -> None:
    assert cli(*RUN, "--out", "one").code == 0
    assert len(list((folder / "pids").iterdir())) == 1
    done = replicated(cli, "two")
    assert done.code == 0, done.err
    assert len(list((folder / "pids").iterdir())) == 3
    assert records("two") == records("one")
    assert records("one")["s3"]["error"] == {"kind": "model_error", "message": "ValueError: no luck"}
    results = [
        json.loads(Path(run, "results.json").read_bytes()) | {"run": ""} for run in ("one", "two")
    ]
    assert results[0] == results[1]
    again = cli(*RUN, "--out", "two")
    assert again.code == 0, "a run goes on with another number of replicas"


def test_a_batch_whose_replica_dies_is_asked_again(cli: Cli, folder: Path) -> None:
    assert cli(*RUN, "--out", "one").code == 0
    (folder / "once").touch()
    done = replicated(cli, "two")
    assert done.code == 0, done.err
    assert not (folder / "once").exists()
    assert records("two") == records("one")


def test_a_sample_that_ends_replicas_fails_alone(cli: Cli, folder: Path) -> None:
    (folder / "deadly").touch()
    done = replicated(cli, "two")
    assert done.code == 0, done.err
    rows = records("two")
    assert {id_ for id_, row in rows.items() if row["error"]} == {"s3", "s6"}
    message = rows["s6"]["error"]["message"]
    assert message.startswith("ReplicaDiedError: 2 replicas ended over it (SIGSEGV")
    assert len(rows) == 10


def test_what_a_replica_raises_has_its_meaning(cli: Cli, folder: Path) -> None:
    (folder / "down").touch()
    done = replicated(cli, "two")
    assert (done.code, "the server is gone" in done.err) == (4, True), done.err
    (folder / "no weights").touch()
    done = replicated(cli, "two")
    assert (done.code, "there are no weights" in done.err) == (2, True), done.err
    (folder / "dies").touch()
    (folder / "no weights").unlink()
    done = replicated(cli, "two")
    words = "ended while it loaded the model: SIGKILL: no memory for weights"
    assert (done.code, words in done.err) == (4, True), done.err


def test_models_that_have_no_replicas(cli: Cli, folder: Path) -> None:
    (folder / "rows.jsonl").write_text('{"id": "s0", "response": "x"}\n')
    for command in (
        ["--model", "rows.jsonl", "--tasks", "mine/demo", "--include", "mine"],
        ["--model", "openai/x@http://127.0.0.1:1/v1", "--tasks", "mine/demo", "--include", "mine"],
    ):
        done = cli("run", *command, "--replicas", "2")
        assert (done.code, "no model that is loaded on this machine" in done.err) == (2, True), done.err
    done = cli("run", "--model", "picky", "--tasks", "lm_eval/x", "--replicas", "2")
    assert (done.code, "--replicas: tasks of lm_eval cannot be cut" in done.err) == (2, True), done.err
    assert cli("run", "--model", "picky", "--replicas", "0").code == 2


def test_replicas_take_the_settings_of_their_model(tmp_path: Path) -> None:
    class Tuned(Model):
        """A model with settings of its own."""

        name = "tuned"
        replicable = True
        own_settings = GenerationSettings(top_k=3)
        generation_settings = frozenset({"temperature", "top_k", "stop"})

        def weights(self) -> str:
            return "0" * 64

        async def generate(self, requests: Any, store: Any) -> list[Response]:
            return []

        def check_sampling(self, sampling: Sampling) -> list[str]:
            return [f"top_k is {sampling.top_k}"]

        def checkpoint_settings(self) -> GenerationSettings:
            return GenerationSettings(temperature=0.5)

    make_task(tmp_path, samples=[text_sample("s0")])
    options = Options(
        model="",
        tasks=["mine/demo"],
        include=[str(tmp_path)],
        stop=["."],
        sampling="checkpoint",
        replicas=2,
    )
    plan = make_plan(options, Tuned())
    assert plan.sampling.base == Sampling(temperature=0.5, top_k=3, stop=["."])
    assert "top_k is 3" in plan.notes


def test_devices_are_shared_out() -> None:
    four = {"CUDA_VISIBLE_DEVICES": "0,1, 4,GPU-5"}
    assert device_shares(4, {}, four) == ["0", "1", "4", "GPU-5"]
    assert device_shares(2, {"device_map": "auto"}, four) == ["0,1", "4,GPU-5"]
    assert device_shares(3, {}, four) == ["0", "1", "4"]
    assert device_shares(3, {"device": "cpu"}, four) == [None] * 3
    assert device_shares(2, {}, {"CUDA_VISIBLE_DEVICES": ""}) == [None, None]
    with pytest.raises(UserError, match="--replicas 5: there are only 4 devices here"):
        device_shares(5, {}, four)


@pytest.mark.chaos
@pytest.mark.slow
def test_replicas_end_with_their_parent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "sleeps").touch()
    for number in (signal.SIGKILL, signal.SIGINT):
        words = [*RUN, "--replicas", "2", "--out", "run"]
        command = Command(words, folder / "errors", main=_with_site)
        while command.poll() is None and len(list((folder / "pids").iterdir())) < 2:
            time.sleep(0.05)
        command.signal(number)
        command.wait(20)
        pids = [int(path.name) for path in (folder / "pids").iterdir()]
        assert len(pids) == 2
        deadline = time.monotonic() + 10
        while any(_runs(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(_runs(pid) for pid in pids)
        for path in (folder / "pids").iterdir():
            path.unlink()


def _with_site(arguments: list[str]) -> int:
    from eval_anything.cli.main import main

    sys.path.insert(0, str(Path("site").resolve()))
    return main(arguments)


def _runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_replicas_of_a_checkpoint_equal_one_process(cli: Cli) -> None:
    command = ["run", "--model", "micro", "--tasks", "selection", "--limit", "6", "--temperature", "1"]
    command += ["--top-p", "0.9", "--model-arg", "batch_size=2", "--max-failed", "1"]
    assert cli(*command, "--out", "one").code == 0
    done = cli(*command, "--out", "two", "--replicas", "2")
    assert done.code == 0, done.err
    logs = [Path(run, "micro/selection/records.jsonl").read_bytes() for run in ("one", "two")]
    rows = [
        {r["sample_id"]: r | {"latency": 0} for r in map(json.loads, log.splitlines())} for log in logs
    ]
    assert rows[0] == rows[1]
