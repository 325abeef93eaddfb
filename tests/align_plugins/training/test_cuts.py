"""The loss and the gradient of an optimiser step, however it is cut into batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers

from align_plugins.data.files import read_rows
from align_plugins.experiment.micro_data import DEMONSTRATIONS, PAIRS
from align_plugins.training.adapters import trainable_policy
from align_plugins.training.engine import Batches, Engine, without_dropout
from align_plugins.workdir import Workdir
from eval_anything import plugins
from eval_anything.output.progress import Progress
from tests.support.configs import config, load, logged
from tests.support.helpers import Cli, write_jsonl
from tests.support.lanes import full, only_in
from tests.support.tiny import tiny_llama

ROWS = 14
CUTS = [(8, 1), (4, 2), *([(1, 8)] if full("families") else [])]
"""Rows of a batch and batches of a step. An epoch has two steps, of 8 rows and of 6, which is 4 + 2."""

SILENT = Progress("silent")


def text(words: str) -> list[dict[str, str]]:
    return [{"modality": "text", "text": words}]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of very unequal lengths, of which every third is not rated in an aspect."""
    rows = [
        {
            "messages": [{"role": "user", "parts": text("Why? " * (n + 1))}],
            "chosen": text("Because. " * (1 + n * n % 11)),
            "rejected": text("No. " * (1 + 5 * n % 13)),
            "margin": 0.5 * n + 0.1,
            "aspects": {"brief": float(n % 3)},
        }
        for n in range(ROWS)
    ]
    return write_jsonl(tmp_path_factory.mktemp("texts") / "pairs.jsonl", rows)


class Lines(transformers.TrainerCallback):  # type: ignore[misc]
    """The lines of a training's log."""

    def __init__(self) -> None:
        self.lines: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if "loss" in logs:
            self.lines.append(logs)


def log_of(
    method: str, folder: Path, data: Path, cut: tuple[int, int], **more: Any
) -> list[dict[str, float]]:
    """The log of two epochs, two steps each."""
    kind = plugins.load(plugins.TRAINERS, method)
    trainer = kind(
        kind.settings_type(
            data=str(data), out=str(folder), num_train_epochs=2, learning_rate=3e-3,
            lr_scheduler_type="constant", warmup_steps=0, logging_steps=1, device="cpu", threads=1,
            per_device_train_batch_size=cut[0], gradient_accumulation_steps=cut[1], **more,
        )
    )  # fmt: skip
    transformers.set_seed(1)
    model = load(trainer)
    without_dropout(model)
    items = [trainer.encode(row) for row in read_rows(data)[:ROWS]]
    if method == "dpo":
        items = trainer.with_reference(items, Workdir(folder), SILENT)
    trained = (
        trainer.trainable(SILENT)
        if method == "reward"
        else trainable_policy(trainer.policy, trainer.settings, SILENT)
    )
    collate = trainer.policy.collate if method == "sft" else trainer.collate
    batches = Batches(items, collate, trainer.counts, trainer.step)
    engine = Engine(trained, batches, trainer.settings, folder / "checkpoints")
    engine.args.save_strategy = transformers.trainer_utils.SaveStrategy.NO
    lines = Lines()
    engine.add_callback(lines)
    engine.train()
    return lines.lines


KINDS: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "sft": ("sft", True, {}),
    "dpo": ("dpo", False, {"beta": 0.3}),
    "dpo with nll": ("dpo", False, {"beta": 0.3, "nll_weight": 0.7}),
    "dpo, normalised": ("dpo", False, {"beta": 2.0, "length_normalised": True, "nll_weight": 0.1}),
    "ipo": ("dpo", False, {"beta": 0.5, "loss_type": "ipo"}),
    "dpo with media": (
        "dpo",
        True,
        {"beta": 0.3, "nll_weight": 0.3, "modality_weights": {"image": 0.5}},
    ),
    "reward": ("reward", False, {"margins": True, "regulariser": 0.1}),
    "reward with aspects": ("reward", False, {"aspects": ["brief"], "aspect_weight": 2.0}),
    "reward with media": ("reward", True, {}),
}


SAMPLE = ["dpo with nll", "ipo", "dpo with media", "reward with aspects"]


@pytest.mark.slow
@pytest.mark.families
@pytest.mark.parametrize("name", KINDS if full("families") else SAMPLE)
def test_a_step_is_the_same_however_it_is_cut(
    name: str, llama: Path, texts: Path, micro_data: Path, tmp_path: Path
) -> None:
    """Loss, gradient norm and every metric of the log."""
    method, media, more = KINDS[name]
    data, model = (texts, str(llama))
    if media:
        data, model = micro_data / (DEMONSTRATIONS if method == "sft" else PAIRS), "micro"
    whole, *pieces = (
        log_of(method, tmp_path / str(cut), data, cut, model=model, **more) for cut in CUTS
    )
    assert len(whole) == 4
    for piece in pieces:
        for expected, line in zip(whole, piece, strict=True):
            assert line.keys() == expected.keys()
            for key in expected.keys() - {"tokens", "epoch"}:  # padding, and parts that are batches
                assert line[key] == pytest.approx(expected[key], rel=2e-4, abs=2e-5), key


@pytest.mark.slow
@pytest.mark.families
@only_in("families")
def test_rounds_of_ppo_are_the_same_however_their_steps_are_cut(
    cli: Cli, micro_data: Path, tmp_path: Path
) -> None:
    """10 responses: steps of 8 and of 2."""
    rewards = [{"judge": "selection_contract", "metric": "selection"}]
    logs = []
    for size, accumulation in ((8, 1), (2, 4)):
        path = config(
            tmp_path, micro_data / DEMONSTRATIONS, rewards=rewards,
            rollout=10, max_steps=2, allow_contamination=True, out=f"out-{size}",
            per_device_train_batch_size=size, gradient_accumulation_steps=accumulation,
        )  # fmt: skip
        done = cli("train", "ppo", "--config", path)
        assert done.code == 0, done.err
        logs.append(logged(tmp_path / f"out-{size}"))
    for expected, line in zip(*logs, strict=True):
        for key in expected.keys() - {"tokens", "seconds", "tokens_per_second", "judging_seconds"}:
            assert line[key] == pytest.approx(expected[key], rel=1e-3, abs=1e-4), key


def test_losses_of_pieces_add_up() -> None:
    import torch

    from align_plugins.losses.reward import aspect_loss, reward_loss

    torch.manual_seed(0)
    chosen, rejected, margins = torch.randn(6, 2), torch.randn(6, 2), torch.rand(6)
    differences = torch.tensor([[1.0, 0], [0, 0], [-1, 2], [0, 0], [3, -1], [1, 1]])
    pieces = [slice(0, 4), slice(4, 6)]
    whole = reward_loss(chosen[:, 0], rejected[:, 0], margins, 0.1).item()
    parts = [reward_loss(chosen[p, 0], rejected[p, 0], margins[p], 0.1, 6).item() for p in pieces]
    assert sum(parts) == pytest.approx(whole)
    ratings = int((differences != 0).sum())
    whole = aspect_loss(chosen, rejected, differences, 0.1).item()
    parts = [aspect_loss(chosen[p], rejected[p], differences[p], 0.1, ratings).item() for p in pieces]
    assert sum(parts) == pytest.approx(whole)
