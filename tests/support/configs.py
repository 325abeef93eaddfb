"""Settings files for tests of trainings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

SMALL = {
    "learning_rate": 3e-4,
    "per_device_train_batch_size": 8,
    "warmup_steps": 0.0,
    "threads": 1,
    "device": "cpu",
    "logging_steps": 1,
}


def config(folder: Path, data: Path, **settings: Any) -> Path:
    """A settings file in `folder` for a short training of micro, into `folder`/out."""
    path = folder / "train.yaml"
    content = {"model": "micro", "data": str(data), "out": "out", **SMALL, **settings}
    path.write_text(yaml.safe_dump(content), "utf-8")
    return path


def logged(out: Path) -> list[dict[str, Any]]:
    """The lines of a training's log."""
    return [json.loads(line) for line in (out / "log.jsonl").read_bytes().splitlines()]


def load(trainer: Any) -> Any:
    """The model that a method is about to train, loaded."""
    if trainer.name == "reward":
        trainer.load()
        return trainer.model
    trainer.policy.load()
    return trainer.policy.model


def batch_of(trainer: Any, item: Any) -> dict[str, Any]:
    """A batch of one item of a method that learns from batches."""
    collate = trainer.policy.collate if trainer.name == "sft" else trainer.collate
    return dict(collate([item]))


def weights(folder: Path) -> dict[str, Any]:
    """The tensors of a checkpoint."""
    from safetensors.torch import load_file

    name = "adapter_model.safetensors" if (folder / "adapter_config.json").is_file() else None
    return dict(load_file(folder / (name or "model.safetensors")))


JUDGE = """\
version: 1
kind: program
title: {name}
description: A reward of the tests.
sees: [text, image, audio, video]
scorer: score.py:score
metrics:
  {name}: {{range: [0, 1]}}
"""


def program_judge(folder: Path, name: str, value: str) -> Path:
    """A folder of judges with one, whose value is a Python expression of `response`."""
    path = folder / "judges" / name
    path.mkdir(parents=True)
    (path / "judge.yaml").write_text(JUDGE.format(name=name))
    (path / "score.py").write_text(
        f"def score(sample, response):\n    return {{'{name}': float({value})}}\n"
    )
    return folder / "judges"
