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
from eval_anything.models.replicas.process import device_shares
from eval_anything.sampling import GenerationSettings, Sampling
from tests.support.helpers import Cli, Result, make_task, text_sample
from tests.support.picky import RUN, main_with_picky, make_picky, records_of, results_of
from tests.support.processes import Command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A picky model, its task and pictures."""
    monkeypatch.syspath_prepend(make_picky(tmp_path))
    yield tmp_path
    sys.modules.pop("picky_model", None)


def replicated(cli: Cli, out: str, *more: str) -> Result:
    return cli(*RUN, "--out", out, "--replicas", "2", *more)


def test_replicas_equal_one_process(cli: Cli, folder: Path) -> None:
    assert cli(*RUN, "--out", "one").code == 0
    assert len(list((folder / "pids").iterdir())) == 1
    done = replicated(cli, "two")
    assert done.code == 0, done.err
    assert len(list((folder / "pids").iterdir())) == 3
    assert records_of("two") == records_of("one")
    assert records_of("one")["s3"]["error"] == {"kind": "model_error", "message": "ValueError: no luck"}
    assert results_of("two") == results_of("one")
    again = cli(*RUN, "--out", "two")
    assert again.code == 0, "a run goes on with another number of replicas"


def test_a_batch_whose_replica_dies_is_asked_again(cli: Cli, folder: Path) -> None:
    assert cli(*RUN, "--out", "one").code == 0
    (folder / "once").touch()
    done = replicated(cli, "two")
    assert done.code == 0, done.err
    assert not (folder / "once").exists()
    assert records_of("two") == records_of("one")


def test_a_sample_that_ends_replicas_fails_alone(cli: Cli, folder: Path) -> None:
    (folder / "deadly").touch()
    done = replicated(cli, "two")
    assert done.code == 0, done.err
    rows = records_of("two")
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
        assert (done.code, "no model that is loaded on a machine" in done.err) == (2, True), done.err
    done = cli("run", "--model", "picky", "--tasks", "lm_eval/x", "--replicas", "2")
    assert (done.code, "--replicas: tasks of lm_eval cannot be cut" in done.err) == (2, True), done.err
    assert cli("run", "--model", "picky", "--replicas", "0").code == 2


def test_replicas_take_the_settings_of_their_model(tmp_path: Path) -> None:
    class Tuned(Model):
        """A model with settings of its own."""

        name = spec = "tuned"
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
    assert device_shares(4, False, four) == ["0", "1", "4", "GPU-5"]
    assert device_shares(2, False, four) == ["0,1", "4,GPU-5"]
    assert device_shares(3, False, four) == ["0", "1", "4"]
    assert device_shares(3, True, four) == [None] * 3
    assert device_shares(2, False, {"CUDA_VISIBLE_DEVICES": ""}) == [None, None]
    with pytest.raises(UserError, match="--replicas 5: there are only 4 devices here"):
        device_shares(5, False, four)


@pytest.mark.chaos
@pytest.mark.slow
def test_replicas_end_with_their_parent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "sleeps").touch()
    for number in (signal.SIGKILL, signal.SIGINT):
        words = [*RUN, "--replicas", "2", "--out", "run"]
        command = Command(words, folder / "errors", main=main_with_picky)
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
