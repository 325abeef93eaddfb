"""The engine of ppo: precision, trackers, how a round is cut, and what reaches the model. What the
engine of sft has in common with it is tested beside it."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from align_plugins.data.files import read_rows
from align_plugins.experiment.micro_data import DEMONSTRATIONS
from align_plugins.methods.ppo.engine import PpoEngine, PpoModels, PpoRounds
from align_plugins.methods.ppo.rewards import Rewards
from align_plugins.methods.ppo.trainer import PpoTrainer
from align_plugins.training.adapters import trainable_policy
from align_plugins.training.engine import without_dropout
from eval_anything.micro.model.adapter import BUNDLED
from eval_anything.output.progress import Progress
from tests.support.configs import config, logged, weights
from tests.support.families import FAMILIES
from tests.support.helpers import Cli, write_jsonl

SELECTION = {"judge": "selection_contract", "metric": "selection"}
SHORT = {"rewards": [SELECTION], "rollout": 16, "max_steps": 2, "lr_scheduler_type": "constant"}


def _trained(cli: Cli, method: str, path: Path, *changes: str) -> Path:
    """Trains in a folder that `out=` of the changes names; it."""
    done = cli("train", method, "--config", path, *changes)
    assert done.code == 0, done.err
    return path.parent / next((c.removeprefix("out=") for c in changes if c.startswith("out=")), "out")


def _step_of(out: Path) -> torch.Tensor:
    """How far all weights moved, as one vector."""
    before, after = weights(BUNDLED), weights(out / "final")
    assert {tensor.dtype for tensor in after.values()} == {torch.float32}
    return torch.cat([(after[name] - before[name].float()).flatten() for name in sorted(after)])


# --- precision -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_bfloat16_learns_over_float32_weights_and_resumes(
    cli: Cli, tmp_path: Path, micro_data: Path
) -> None:
    path = config(tmp_path, micro_data / DEMONSTRATIONS, **SHORT, save_steps=1)
    exact = _trained(cli, "ppo", path, "out=exact")
    half = _trained(cli, "ppo", path, "precision=bfloat16")
    lines = logged(half)
    assert all(math.isfinite(line[name]) for line in lines for name in ("reward", "kl", "loss"))
    assert lines[0]["kl"] == pytest.approx(0, abs=1e-4)
    # What is sampled and learned with is rounded, and no more than that.
    assert max(line["sampling_gap"] for line in logged(exact)) < 1e-5
    assert 1e-5 < lines[0]["sampling_gap"] < 0.02
    move, right = _step_of(half), _step_of(exact)
    assert torch.cosine_similarity(move, right, dim=0) > 0.9
    assert not torch.equal(move, right)

    whole = weights(half / "final")
    shutil.rmtree(half / "checkpoints" / "checkpoint-2")
    shutil.rmtree(half / "final")
    (half / "result.json").unlink()
    _trained(cli, "ppo", path, "precision=bfloat16")
    assert all(torch.equal(tensor, whole[name]) for name, tensor in weights(half / "final").items())
    assert [line["kl"] for line in logged(half)] == [line["kl"] for line in lines]


@pytest.mark.slow
def test_adapters_over_weights_in_bfloat16(cli: Cli, tmp_path: Path, micro_data: Path) -> None:
    """The reference is what lies below them, and what is saved is whole and exact."""
    path = config(tmp_path, micro_data / DEMONSTRATIONS, **SHORT, precision="bfloat16")
    out = _trained(cli, "ppo", path, "lora={rank: 4, weights: bfloat16}")
    lines = logged(out)
    assert lines[0]["kl"] == pytest.approx(0, abs=1e-4)
    assert all(math.isfinite(line[name]) for line in lines for name in ("reward", "kl", "value_loss"))
    rounded = {name: tensor.to(torch.bfloat16) for name, tensor in weights(BUNDLED).items()}
    moved = [n for n, tensor in weights(out / "final").items() if not tensor.equal(rounded[n].float())]
    assert 0 < len(moved) < len(rounded)


@pytest.mark.parametrize("method", ["ppo", "sft"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("precision=float16", "precision: float16 needs a GPU"),
        ("report_to=[tensorbord]", "report_to: 'tensorbord' is unknown. Did you mean tensorboard?"),
        ("report_to=[paper]", "Known: clearml, comet_ml"),
        ("report_to=[tensorboard, clearml]", "report_to: clearml is not installed: pip install clearml"),
    ],
)
def test_what_the_machine_has_not_is_said_before_anything_is_loaded(
    method: str, change: str, message: str, cli: Cli, tmp_path: Path, micro_data: Path
) -> None:
    more = SHORT if method == "ppo" else {}
    done = cli(
        "train", method, "--config", config(tmp_path, micro_data / DEMONSTRATIONS, **more), change
    )
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", ["ppo", "sft"])
def test_sharding_that_accelerate_would_leave_out(
    method: str, cli: Cli, tmp_path: Path, micro_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    more = SHORT if method == "ppo" else {}
    done = cli("train", method, "--config", config(tmp_path, micro_data / DEMONSTRATIONS, **more))
    assert done.code == 2
    assert "ACCELERATE_USE_FSDP: accelerate shards by FSDP on GPUs alone" in done.err


def test_feedback_says_so_before_its_first_stage(cli: Cli, tmp_path: Path, micro_data: Path) -> None:
    path = tmp_path / "feedback.yaml"
    path.write_text(
        f"model: micro\ndata: {micro_data / DEMONSTRATIONS}\nout: out\ndpo: {{report_to: [wandbb]}}\n"
    )
    done = cli("train", "feedback", "--config", path)
    assert done.code == 2
    assert "dpo.report_to: 'wandbb' is unknown. Did you mean wandb" in done.err
    assert not (tmp_path / "out").exists()


# --- trackers --------------------------------------------------------------------------------------


def _events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalars of TensorBoard's files in a folder: steps and values by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder)).Reload()
    return {name: [(e.step, e.value) for e in read.Scalars(name)] for name in read.Tags()["scalars"]}


@pytest.mark.slow
@pytest.mark.parametrize(("method", "inside"), [("ppo", "ppo"), ("sft", "")])
def test_tensorboard_is_told_what_the_log_is(
    method: str, inside: str, cli: Cli, tmp_path: Path, micro_data: Path
) -> None:
    more = SHORT if method == "ppo" else {"max_steps": 2}
    path = config(tmp_path, micro_data / DEMONSTRATIONS, **more, report_to=["tensorboard"])
    out = _trained(cli, method, path)
    found = _events(out / "tensorboard" / inside)
    lines = [line for line in logged(out) if "loss" in line]
    assert [line["step"] for line in lines] == [1, 2]
    for name in {"loss", "grad_norm", "learning_rate"} | ({"kl"} if method == "ppo" else set()):
        told = found.get(name) or found[f"train/{name}"]
        assert [step for step, _ in told] == [1, 2]
        assert [v for _, v in told] == pytest.approx([line[name] for line in lines], rel=1e-5)


# --- how a round is cut ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "cut",
    [
        ["per_device_train_batch_size=4", "gradient_accumulation_steps=4"],
        ["gradient_checkpointing=true", "per_device_train_batch_size=16"],
    ],
)
def test_the_same_update_however_it_is_computed(
    cut: list[str], cli: Cli, tmp_path: Path, micro_data: Path
) -> None:
    """Two passes over one round, so that ratios and clipped values count, too."""
    more = {**SHORT, "max_steps": 1, "ppo_epochs": 2, "vf_coef": 0.5}
    path = config(tmp_path, micro_data / DEMONSTRATIONS, **more)
    plain = _trained(cli, "ppo", path, "out=plain", "per_device_train_batch_size=16")
    other = _trained(cli, "ppo", path, *cut)
    (line,), (same,) = logged(plain), logged(other)
    for name in ("reward", "kl", "entropy", "loss", "policy_loss", "value_loss", "grad_norm"):
        assert same[name] == pytest.approx(line[name], rel=1e-4, abs=1e-6), name
    expected, found = _step_of(plain), _step_of(other)
    assert (found - expected).norm() < 0.01 * expected.norm()


# --- media -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llava", "qwen2_audio", "emu3"])
def test_a_medium_of_the_prompt_reaches_policy_critic_and_reference(name: str, tmp_path: Path) -> None:
    """Two prompts that differ in their medium alone, and the same answer to both."""
    family = FAMILIES[name]
    for n, data in enumerate(family.media):
        (tmp_path / f"{n}.{family.suffix}").write_bytes(data)
    shown = [{"modality": family.modality.value, "path": f"{n}.{family.suffix}"} for n in range(2)]
    question = {"modality": "text", "text": "What?"}
    rows = [{"messages": [{"role": "user", "parts": [medium, question]}]} for medium in shown]
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    model = family.make(tmp_path / "model")
    path = config(tmp_path, data, **SHORT, model=str(model))
    old, values, kl = _logprobs_values_kl(PpoTrainer.from_config(path), tmp_path)
    assert (old[0] - old[1]).abs().max() > 1e-4
    assert (values[0] - values[1]).abs().max() > 1e-4
    assert torch.cat(kl).abs().max() < 1e-5  # so the reference, a copy of the start, saw them too


def _logprobs_values_kl(trainer: PpoTrainer, folder: Path) -> Any:
    """Log-probabilities, values and KL of one answer to each prompt, by the engine itself."""
    progress, settings, policy = Progress("silent"), trainer.settings, trainer.policy
    policy.load()
    without_dropout(policy.model)
    prompts = [trainer.encode(row) for row in read_rows(Path(str(settings.data)))]
    reference = trainer.reference()
    models = PpoModels(policy, trainable_policy(policy, settings, progress), reference)
    rewards = Rewards(settings.rewards)
    engine = PpoEngine(models, PpoRounds(prompts, rewards, settings, folder / "out", progress.say))
    torch.nn.init.ones_(engine._actor.value_head.weight)
    return engine._logprobs_values_kl([policy.with_response(item.prompt, [5, 6, 7]) for item in prompts])
