"""ppo and sft with weights shared out among two processes, against one process that has them all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from align_plugins.experiment.micro_data import DEMONSTRATIONS
from align_plugins.training import environment
from tests.support.configs import config, logged, weights
from tests.support.helpers import Cli
from tests.support.lanes import full
from tests.support.processes import run_together
from tests.support.sharded import main_sharded

pytestmark = [pytest.mark.slow, pytest.mark.families]

PPO: dict[str, Any] = {
    "rewards": [{"judge": "selection_contract", "metric": "selection"}], "rollout": 16, "max_steps": 3,
    "lr_scheduler_type": "constant", "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4,
}  # fmt: skip
PPO_LORA = ("ppo", ["lora={rank: 4}", "gradient_checkpointing=true"], True)
SFT: dict[str, Any] = {
    "max_steps": 3,
    "lr_scheduler_type": "constant",
    "per_device_train_batch_size": 16,
}


def _train_sharded(method: str, path: Path, *changes: str) -> str:
    """Trains on two processes with half the batches each. Returns stderr."""
    half = (
        ["rollout=8", "gradient_accumulation_steps=2"]
        if method == "ppo"
        else ["per_device_train_batch_size=8"]
    )
    arguments, errors = ["train", method, "--config", path, *half, *changes], path.with_name("errors")
    errors.unlink(missing_ok=True)
    assert run_together(2, arguments, errors, main_sharded) == 0, errors.read_text()
    return errors.read_text()


@pytest.mark.parametrize(
    ("method", "more", "goes_on"),
    [
        *([("ppo", [], False), PPO_LORA] if full("families") else []),
        ("sft", [], False),
    ],
)
def test_shards_learn_what_one_process_does(
    method: str, more: list[str], goes_on: bool, cli: Cli, tmp_path: Path, micro_data: Path
) -> None:
    """And go on from a checkpoint to the same weights."""
    settings = {**(PPO if method == "ppo" else SFT), "save_steps": 2}
    path = config(tmp_path, micro_data / DEMONSTRATIONS, **settings)
    alone = cli("train", method, "--config", path, "out=one", *more)
    assert alone.code == 0, alone.err
    _train_sharded(method, path, *more)
    out = tmp_path / "out"
    shards = "resuming/pytorch_model_fsdp_0" if method == "ppo" else "pytorch_model_fsdp_0"
    assert len(list((out / "checkpoints" / "checkpoint-3" / shards).glob("*.distcp"))) == 2
    assert not list((out / "final").glob("*_0"))

    one, both = weights(tmp_path / "one" / "final"), weights(out / "final")
    for name, tensor in one.items():
        assert torch.allclose(tensor, both[name], atol=2e-5), name
    known = ("loss", "grad_norm", *(("reward", "kl", "value_loss") if method == "ppo" else ()))
    for a, b in zip(logged(tmp_path / "one"), logged(out), strict=True):
        assert [b.get(name) for name in known] == pytest.approx(
            [a.get(name) for name in known], rel=1e-3
        )

    if not goes_on:
        return
    shutil.rmtree(out / "final")
    shutil.rmtree(out / "checkpoints" / "checkpoint-3")
    (out / "result.json").unlink()
    assert "from step 2 on" in _train_sharded(method, path, *more)
    assert all(torch.equal(tensor, both[name]) for name, tensor in weights(out / "final").items())


def test_merged_adapters_are_not_made_of_shards(
    cli: Cli, tmp_path: Path, micro_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_SHARDING", {})
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    path = config(tmp_path, micro_data / DEMONSTRATIONS, **SFT, lora={"rank": 4})
    done = cli("train", "sft", "--config", path)
    assert done.code == 2
    assert "adapters are not merged into weights that FSDP shares out" in done.err
