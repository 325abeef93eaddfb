"""Epochs, optimiser steps and the rows in them, however a step is cut."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from align_plugins.experiment.micro_data import DEMONSTRATIONS, PAIRS
from align_plugins.methods.ppo.engine import _rounds_of
from align_plugins.methods.ppo.rewards import RewardSource
from align_plugins.methods.ppo.settings import PpoSettings
from align_plugins.settings import TrainSettings
from align_plugins.training.epochs import RowBatches, optimiser_steps
from tests.support.configs import config, logged, weights
from tests.support.helpers import Cli
from tests.support.lanes import full
from tests.support.processes import run_together

SEEN = {"allow_contamination": True}  # no benchmark is looked through for these rows
PLACES = {"model": "micro", "data": "rows.jsonl", "out": "out"}


@pytest.mark.parametrize(
    ("rows", "size", "accumulation", "processes", "epochs", "steps"),
    [
        (9, 1, 8, 1, 10, 20),  # 8 rows and 1 in each epoch
        (9, 1, 8, 1, 1, 2),
        (9, 1, 8, 1, 1.5, 3),
        (9, 1, 8, 1, 0.1, 1),
        (9, 1, 8, 2, 10, 10),
        (9, 2, 2, 2, 3, 6),
        (9, 16, 1, 1, 3, 3),
        (16, 4, 2, 1, 3, 6),
        (10, 1, 1, 1, 1.1, 11),  # in floating point more than 11
        (100, 1, 1, 1, 0.29, 29),  # and less than 29
        (3, 1, 2, 1, 2.34, 5),
    ],
)
def test_every_epoch_has_its_steps(
    rows: int, size: int, accumulation: int, processes: int, epochs: float, steps: int
) -> None:
    cut = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulation}
    settings = TrainSettings(**PLACES, num_train_epochs=epochs, **cut)
    assert optimiser_steps(settings, rows, processes) == steps
    limited = TrainSettings(**PLACES, num_train_epochs=epochs, max_steps=7, **cut)
    assert optimiser_steps(limited, rows, processes) == 7


@pytest.mark.parametrize(
    ("prompts", "rollout", "epochs", "rounds"), [(9, 8, 10, 12), (10, 1, 1.1, 11), (10, 11, 1.1, 1)]
)
def test_rounds_of_ppo_read_all_epochs(prompts: int, rollout: int, epochs: float, rounds: int) -> None:
    rewards = [RewardSource(judge="validity")]
    settings = PpoSettings(**PLACES, rewards=rewards, num_train_epochs=epochs, rollout=rollout)
    assert _rounds_of(settings, prompts, 1) == rounds


@pytest.mark.parametrize("rows", [1, 5, 8, 9, 23])
@pytest.mark.parametrize(
    ("size", "accumulation", "processes"), [(8, 1, 1), (1, 8, 1), (2, 2, 2), (1, 2, 4)]
)
def test_a_step_has_the_same_rows_however_it_is_cut(
    rows: int, size: int, accumulation: int, processes: int
) -> None:
    """Steps of 8 rows; every row is in one step of an epoch, once."""
    samplers = [RowBatches(rows, size, 3, process, processes) for process in range(processes)]
    for epoch in range(2):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        shares = [list(sampler) for sampler in samplers]
        assert {len(share) for share in shares} == {len(samplers[0])}
        whole = RowBatches(rows, 8, 3, 0, 1)
        whole.set_epoch(epoch)
        steps = [
            {row for share in shares for batch in share[start : start + accumulation] for row in batch}
            for start in range(0, len(shares[0]), accumulation)
        ]
        assert steps == [set(batch) for batch in whole]
        read = Counter(row for share in shares for batch in share for row in batch)
        assert read == Counter(range(rows))


# --- trainings ---------------------------------------------------------------------------------


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _first(folder: Path, data: Path, count: int) -> Path:
    """A file with the first rows of another, beside which their media are."""
    shutil.copytree(data.parent, folder / "data", ignore=shutil.ignore_patterns("*.jsonl"))
    path = folder / "data" / data.name
    path.write_bytes(b"".join(data.read_bytes().splitlines(keepends=True)[:count]))
    return path


@pytest.mark.slow
def test_a_training_is_resumed_in_the_middle_of_an_epoch(
    cli: Cli, tmp_path: Path, micro_data: Path
) -> None:
    """Steps of 4, 4 and 1 rows, in two epochs."""
    data = _first(tmp_path, micro_data / DEMONSTRATIONS, 9)
    cut = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}
    path = config(tmp_path, data, num_train_epochs=2, save_steps=1, keep=9, **SEEN, **cut)
    done = cli("train", "sft", "--config", path)
    assert done.code == 0, done.err
    out = tmp_path / "out"
    log, final, result = logged(out), weights(out / "final"), read_json(out / "result.json")
    assert result["step"] == 6
    assert [line["epoch"] for line in log] == pytest.approx([4 / 9, 8 / 9, 1, 13 / 9, 17 / 9, 2])
    for last in (4, 2):
        shutil.rmtree(out / "final")
        (out / "result.json").unlink()
        for step in range(last + 1, 7):
            shutil.rmtree(out / "checkpoints" / f"checkpoint-{step}")
        assert f"from step {last} on" in cli("train", "sft", "--config", path).err
        assert read_json(out / "result.json")["tokens"] == result["tokens"]
        assert all(torch.equal(tensor, final[name]) for name, tensor in weights(out / "final").items())
        assert [line["loss"] for line in logged(out)] == [line["loss"] for line in log]


PROCESSES: dict[str, dict[str, Any]] = {
    "dpo": {"nll_weight": 0.5, "beta": 0.3},
    "reward": {"held_out": 0.0},
    "sft": {},
}


@pytest.mark.slow
@pytest.mark.families
@pytest.mark.parametrize("method", PROCESSES if full("families") else ["dpo"])
def test_two_processes_read_every_row_once(
    method: str, cli: Cli, tmp_path: Path, micro_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of 4 rows and of 1, in which the second process has none."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    data = _first(tmp_path, micro_data / (DEMONSTRATIONS if method == "sft" else PAIRS), 5)
    settings = {"num_train_epochs": 2, "lr_scheduler_type": "constant", **SEEN, **PROCESSES[method]}
    path = config(tmp_path, data, **settings)
    one = cli("train", method, "--config", path, "out=one", "per_device_train_batch_size=4", "--json")
    assert one.code == 0, one.err
    arguments, errors = ["train", method, "--config", path], tmp_path / "errors"
    half = "per_device_train_batch_size=2"
    assert run_together(2, [*arguments, half], errors) == 0, errors.read_text()
    alone, both = logged(tmp_path / "one"), logged(tmp_path / "out")
    assert len(alone) == 4
    for a, b in zip(alone, both, strict=True):
        for name in a.keys() - {"seconds", "tokens"}:  # a batch has other padding
            assert b[name] == pytest.approx(a[name], rel=1e-3, abs=1e-5), name
    final = weights(tmp_path / "out" / "final")
    for name, tensor in weights(tmp_path / "one" / "final").items():
        assert torch.allclose(tensor, final[name], atol=2e-5), name
