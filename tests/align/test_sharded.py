"""ppo and sft with weights shared out among two processes, against one process that has them all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from configs import config, logged, weights
from helpers import Cli

from align_plugins.experiment.micro_data import DEMONSTRATIONS
from align_plugins.training import environment

pytestmark = pytest.mark.slow

PPO: dict[str, Any] = {
    "rewards": [{"judge": "selection_contract", "metric": "selection"}], "rollout": 16, "max_steps": 3,
    "schedule": "constant", "batch_size": 4, "accumulation": 4,
}  # fmt: skip
SFT: dict[str, Any] = {"max_steps": 3, "schedule": "constant", "batch_size": 16}


def _sharded(method: str, path: Path, *changes: str) -> subprocess.CompletedProcess[str]:
    """Trains on two processes with half the batches each."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = [str(Path(__file__).with_name("sharded.py")), "train", method, "--config", str(path)]
    half = ["rollout=8", "accumulation=2"] if method == "ppo" else ["batch_size=8"]
    return subprocess.run([*launch, *program, *half, *changes], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("method", "more", "goes_on"),
    [
        ("ppo", [], False),
        ("ppo", ["lora={rank: 4}", "gradient_checkpointing=true"], True),
        ("sft", [], False),
    ],
    ids=["ppo", "ppo-lora", "sft"],
)
def test_shards_learn_what_one_process_does(
    method: str, more: list[str], goes_on: bool, cli: Cli, tmp_path: Path, micro_data: Path
) -> None:
    """And go on from a checkpoint to the same weights."""
    settings = {**(PPO if method == "ppo" else SFT), "save_every": 2}
    path = config(tmp_path, micro_data / DEMONSTRATIONS, **settings)
    alone = cli("train", method, "--config", path, "out=one", *more)
    assert alone.code == 0, alone.err
    done = _sharded(method, path, *more)
    assert done.returncode == 0, done.stderr
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
    again = _sharded(method, path, *more)
    assert again.returncode == 0, again.stderr
    assert "from step 2 on" in again.stderr
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
