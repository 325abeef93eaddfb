"""sft, dpo and reward on micro and tiny checkpoints: what is learned and saved, what stops it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from align_plugins.data.files import read_rows
from align_plugins.data.rows import Preference
from align_plugins.experiment.micro_data import DEMONSTRATIONS, PAIRS
from align_plugins.training.adapters import trainable_policy
from eval_anything import plugins
from eval_anything.micro.model.adapter import BUNDLED
from eval_anything.models.spec import resolve
from eval_anything.output.progress import Progress
from tests.support.configs import config, load, logged, weights
from tests.support.helpers import Cli, write_jsonl
from tests.support.lanes import full
from tests.support.processes import Command, run_together
from tests.support.tiny import tiny_llama

pytestmark = pytest.mark.slow


def _text(text: str) -> list[dict[str, str]]:
    return [{"modality": "text", "text": text}]


@pytest.fixture
def text_pairs(tmp_path: Path) -> Path:
    """Pairs in which the shorter answer is the chosen one."""
    rows = [
        {
            "messages": [{"role": "user", "parts": _text(f"Question {n}?")}],
            "chosen": _text(f"Answer {n}"),
            "rejected": _text(f"There is no answer to question {n}, or none that I know of"),
        }
        for n in range(24)
    ]
    return write_jsonl(tmp_path / "pairs.jsonl", rows)


def test_sft_learns_and_is_evaluated_as_it_is(cli: Cli, tmp_path: Path, micro_data: Path) -> None:
    path = config(tmp_path, micro_data / DEMONSTRATIONS, num_train_epochs=4.0)
    done = cli("train", "sft", "--config", path, "--json")
    assert done.code == 0, done.err
    assert done.json["step"] == 24
    losses = [line["loss"] for line in logged(tmp_path / "out") if "loss" in line]
    assert len(losses) == 24
    assert sum(losses[-6:]) < 0.8 * sum(losses[:6])
    final = tmp_path / "out" / "final"
    assert resolve(str(final), {}).weights() != resolve("micro", {}).weights()
    run = cli("run", "--model", final, "--tasks", "selection", "--limit", "4", "--json")
    assert run.code == 0, run.err
    # The same command again finds its result.
    assert cli("train", "sft", "--config", path, "--json").json == done.json


def test_accumulation_is_the_same_step(cli: Cli, tmp_path: Path, micro_data: Path) -> None:
    """The token mean of a step does not depend on how it is cut, so neither do the weights."""
    final = []
    for name, batch, accumulation in (("a", 16, 1), ("b", 4, 4)):
        path = config(tmp_path, micro_data / DEMONSTRATIONS, max_steps=2)
        cut = [
            f"out={tmp_path / name}",
            f"per_device_train_batch_size={batch}",
            f"gradient_accumulation_steps={accumulation}",
        ]
        assert cli("train", "sft", "--config", path, *cut).code == 0
        final.append(weights(tmp_path / name / "final"))
    for name, tensor in final[0].items():
        assert torch.allclose(tensor, final[1][name], atol=2e-5), name


def test_dpo_begins_at_ln_2_whatever_dropout_there_is(
    cli: Cli, tmp_path: Path, text_pairs: Path
) -> None:
    """Attention takes its dropout as a number, not as a module: that one counts, too."""
    model = tiny_llama(tmp_path / "model")
    about = json.loads((model / "config.json").read_bytes())
    (model / "config.json").write_text(json.dumps({**about, "attention_dropout": 0.5}))
    path = config(tmp_path, text_pairs, model=str(model), num_train_epochs=4.0, learning_rate=3e-3)
    done = cli("train", "dpo", "--config", path)
    assert done.code == 0, done.err
    lines = [line for line in logged(tmp_path / "out") if "loss" in line]
    assert lines[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert lines[0]["margin"] == pytest.approx(0, abs=1e-4)
    assert lines[-1]["loss"] < 0.6
    assert lines[-1]["accuracy"] == 1.0


def test_dpo_logs_margins_by_modality_and_weighs_them(
    cli: Cli, tmp_path: Path, micro_data: Path
) -> None:
    path = config(tmp_path, micro_data / PAIRS, max_steps=3, nll_weight=0.3, beta=0.3)
    done = cli("train", "dpo", "--config", path, "modality_weights={video: 0}")
    assert done.code == 0, done.err
    lines = [line for line in logged(tmp_path / "out") if "loss" in line]
    assert {"margin_text", "margin_image", "margin_audio", "nll", "dpo_loss"} <= set(lines[-1])
    videos = [line["margin_video"] for line in lines if "margin_video" in line]
    assert videos
    assert set(videos) == {0.0}
    assert lines[0]["dpo_loss"] == pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.parametrize(
    "more", [{"gradient_checkpointing": True}, {"precision": "bfloat16"}, {"loss_type": "ipo"}]
)
def test_other_ways_to_train(more: dict[str, Any], cli: Cli, tmp_path: Path, text_pairs: Path) -> None:
    path = config(tmp_path, text_pairs, model=str(tiny_llama(tmp_path / "model")), max_steps=2, **more)
    done = cli("train", "dpo", "--config", path)
    assert done.code == 0, done.err


def test_lora_saves_an_adapter_that_is_evaluated(cli: Cli, tmp_path: Path, text_pairs: Path) -> None:
    model = tiny_llama(tmp_path / "model")
    path = config(tmp_path, text_pairs, model=str(model), max_steps=3, lora={"rank": 4})
    assert cli("train", "dpo", "--config", path).code == 0
    final = tmp_path / "out" / "final"
    assert (final / "adapter_config.json").is_file()
    assert not (final / "config.json").exists()
    assert any(tensor.abs().sum() > 0 for name, tensor in weights(final).items() if "lora_B" in name)
    run = cli(
        "run", "--model", final, "--tasks", "open/selection", "--limit", "2",
        "--model-arg", "max_new_tokens=4", "--json",
    )  # fmt: skip
    assert run.code in (0, 1), run.err
    assert run.json["tasks"]["open/selection"]["samples"] == 2


@pytest.mark.parametrize("method", ["dpo", "reward"])
def test_weights_below_adapters_in_half_the_memory(
    method: str, cli: Cli, tmp_path: Path, text_pairs: Path
) -> None:
    """The frozen ones alone: what is trained, a new head too, keeps its small steps."""
    lora = {"rank": 4, "weights": "bfloat16"}
    more: dict[str, Any] = {"precision": "bfloat16", "lora": lora, "max_steps": 3, "logging_steps": 1}
    path = config(tmp_path, text_pairs, model=str(tiny_llama(tmp_path / "model")), **more)
    refused = cli("train", method, "--config", path, "precision=float32")
    assert refused.code == 2
    assert "weights: bfloat16 goes with precision: bfloat16" in refused.err
    trainer = plugins.load(plugins.TRAINERS, method).from_config(path)
    load(trainer)
    progress = Progress("silent")
    trained = (
        trainer.trainable(progress)
        if method == "reward"
        else trainable_policy(trainer.policy, trainer.settings, progress)
    )
    kinds = {(weight.requires_grad, weight.dtype) for weight in trained.model.parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    done = cli("train", method, "--config", path)
    assert done.code == 0, done.err
    losses = [line["loss"] for line in logged(tmp_path / "out") if "loss" in line]
    assert losses[0] == pytest.approx(math.log(2), abs=0.02)
    saved = weights(tmp_path / "out" / "checkpoints" / "checkpoint-3")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}
    assert any(tensor.abs().sum() > 0 for name, tensor in saved.items() if "lora_B" in name)


def test_lora_of_micro_is_merged(cli: Cli, tmp_path: Path, micro_data: Path) -> None:
    path = config(tmp_path, micro_data / DEMONSTRATIONS, max_steps=2, save_steps=1, lora={"rank": 4})
    done = cli("train", "sft", "--config", path)
    assert done.code == 0, done.err
    final = tmp_path / "out" / "final"
    assert (final / "codec.json").is_file()
    before, after = weights(BUNDLED), weights(final)
    changed = [name for name in before if not torch.allclose(before[name].float(), after[name])]
    assert changed
    assert set(before) == set(after)


def test_reward_is_a_judge_at_once(cli: Cli, tmp_path: Path, micro_data: Path) -> None:
    path = config(tmp_path, micro_data / PAIRS, num_train_epochs=2.0, held_out=0.25)
    done = cli("train", "reward", "--config", path, "--json")
    assert done.code == 0, done.err
    accuracy = done.json["accuracy"]
    assert 8 <= accuracy["n"] <= 16
    assert accuracy["ci95"][0] <= accuracy["value"] <= accuracy["ci95"][1]
    judged = cli(
        "run", "--model", "micro", "--tasks", "micro/synergy_judged", "--limit", "4",
        "--judge", f"micro_synergy_rm={tmp_path / 'out' / 'final'}", "--json",
    )  # fmt: skip
    scored = judged.json["tasks"]["micro/synergy_judged"]["metrics"]["synergy"]
    assert scored["value"] is not None
    assert scored["unscored"] == 0


def test_reward_reads_what_the_judge_reads(tmp_path: Path, micro_data: Path, text_pairs: Path) -> None:
    from align_plugins.methods.reward import RewardTrainer
    from eval_anything.judges.kinds.reward.readers import RewardQuery, TextReader
    from eval_anything.micro.model.reader import MicroReader

    model = tiny_llama(tmp_path / "model")
    text = TextReader()
    text.load(model)
    for name, data, reader in (
        ("micro", micro_data / PAIRS, MicroReader()),
        (str(model), text_pairs, text),
    ):
        trainer = RewardTrainer.from_config(config(tmp_path, data, model=name))
        trainer.load()
        for row in read_rows(data)[:4]:
            assert isinstance(row, Preference)
            views = trainer.encode(row).chosen
            assert [v.content for v in views] == [reader.read(RewardQuery(row.messages, row.chosen))]


def test_reward_of_text_learns(cli: Cli, tmp_path: Path, text_pairs: Path) -> None:
    model = tiny_llama(tmp_path / "model")
    path = config(tmp_path, text_pairs, model=str(model), num_train_epochs=6.0, learning_rate=3e-3)
    done = cli("train", "reward", "--config", path, "held_out=0.2", "--json")
    assert done.code == 0, done.err
    assert done.json["accuracy"]["value"] == 1.0


def test_views_of_pairs_need_two_modalities(cli: Cli, tmp_path: Path, text_pairs: Path) -> None:
    path = config(tmp_path, text_pairs, model=str(tiny_llama(tmp_path / "model")), views="pairs")
    done = cli("train", "reward", "--config", path)
    assert done.code == 2
    assert "row '1'" in done.err


# --- what stops a training -------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(
    cli: Cli, tmp_path: Path, micro_data: Path
) -> None:
    path = config(tmp_path, micro_data / DEMONSTRATIONS, max_steps=40, save_steps=1, max_grad_norm=0.0)
    done = cli("train", "sft", "--config", path, "learning_rate=1e18", "lr_scheduler_type=constant")
    assert done.code == 2
    assert "last good checkpoint is" in done.err
    kept = sorted((tmp_path / "out" / "checkpoints").glob("checkpoint-*"))
    assert kept
    for folder in kept:
        assert all(tensor.isfinite().all() for tensor in weights(folder).values())
    assert not (tmp_path / "out" / "final").exists()


def test_wrong_rows_are_named(cli: Cli, tmp_path: Path, micro_data: Path, text_pairs: Path) -> None:
    wrong = cli("train", "sft", "--config", config(tmp_path, micro_data / PAIRS))
    assert wrong.code == 2
    assert "row 'pair-00001' is a preference pair, and sft needs demonstrations" in wrong.err
    model = str(tiny_llama(tmp_path / "model"))
    media = cli("train", "dpo", "--config", config(tmp_path, micro_data / PAIRS, model=model))
    assert media.code == 2
    assert "row 'pair-0" in media.err
    long = cli("train", "dpo", "--config", config(tmp_path, text_pairs, model=model, max_tokens=3))
    assert long.code == 2
    assert "none of the 24 rows" in long.err


def test_nothing_but_ties_is_an_error(cli: Cli, tmp_path: Path, text_pairs: Path) -> None:
    rows = [{**json.loads(line), "margin": 0} for line in text_pairs.read_text().splitlines()]
    write_jsonl(text_pairs, rows)
    done = cli("train", "dpo", "--config", config(tmp_path, text_pairs))
    assert done.code == 2
    assert "24 of 24 pairs are ties" in done.err
    assert "no rows are left" in done.err


def test_prompts_of_benchmarks_are_refused(cli: Cli, tmp_path: Path) -> None:
    from eval_anything.files.places import content_folder

    source = content_folder("benchmarks") / "open/selection/samples.jsonl"
    sample = json.loads(source.read_text("utf-8").splitlines()[0])
    data = write_jsonl(
        tmp_path / "rows.jsonl", [{"messages": sample["messages"], "response": _text("Yes.")}]
    )
    path = config(tmp_path, data, max_steps=1)
    done = cli("train", "sft", "--config", path)
    assert done.code == 2
    assert sample["id"] in done.err
    assert cli("train", "sft", "--config", path, "allow_contamination=true").code == 0


def test_another_training_in_the_same_folder_is_refused(
    cli: Cli, tmp_path: Path, micro_data: Path
) -> None:
    path = config(tmp_path, micro_data / DEMONSTRATIONS, max_steps=1)
    assert cli("train", "sft", "--config", path).code == 0
    other = cli("train", "sft", "--config", path, "seed=1")
    assert other.code == 2
    assert "seed 0 -> 1" in other.err


@pytest.mark.parametrize(
    ("method", "data", "short", "long"),
    [
        ("sft", DEMONSTRATIONS, "num_train_epochs=0.5", "num_train_epochs=1.5"),
        ("dpo", PAIRS, "max_steps=1", "num_train_epochs=0.5"),
    ],
)
def test_a_finished_training_is_made_longer(
    cli: Cli, tmp_path: Path, micro_data: Path, method: str, data: str, short: str, long: str
) -> None:
    schedule = {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 2, "weight_decay": 0.01}
    path = config(tmp_path, micro_data / data, logging_steps=1, **schedule)
    whole = cli("train", method, "--config", path, "out=whole", long, "--json")
    begun = cli("train", method, "--config", path, short, "--json")
    assert (whole.code, begun.code) == (0, 0), whole.err + begun.err
    longer = cli("train", method, "--config", path, long, "--json")
    assert longer.code == 0, longer.err
    assert (tmp_path / "out" / "checkpoints" / f"checkpoint-{begun.json['step']}").is_dir()  # it went on
    assert [line["step"] for line in logged(tmp_path / "out")] == [*range(1, longer.json["step"] + 1)]
    assert (longer.json["step"], longer.json["tokens"]) == (whole.json["step"], whole.json["tokens"])
    expected, trained = (weights(tmp_path / out / "final") for out in ("whole", "out"))
    assert all(torch.equal(tensor, trained[name]) for name, tensor in expected.items())
    assert cli("train", method, "--config", path, long, "--json").json == longer.json
    fewer = cli("train", method, "--config", path, "max_steps=1")
    assert fewer.code == 2
    assert f"holds a training of {longer.json['step']} steps already, more than 1" in fewer.err
    assert cli("train", method, "--config", path, long, "--json").json == longer.json


def test_a_schedule_over_all_steps_is_not_made_longer(
    cli: Cli, tmp_path: Path, micro_data: Path
) -> None:
    path = config(tmp_path, micro_data / DEMONSTRATIONS, max_steps=1)
    done = cli("train", "sft", "--config", path, "--json")
    assert done.code == 0, done.err
    longer = cli("train", "sft", "--config", path, "max_steps=2")
    assert longer.code == 2
    assert "a training of another length: max_steps 1 -> 2. With lr_scheduler_type: cosine" in longer.err
    assert "out=DIR" in longer.err
    assert cli("train", "sft", "--config", path, "--json").json == done.json


@pytest.mark.chaos
def test_killed_and_resumed_gives_the_same_weights(cli: Cli, tmp_path: Path, micro_data: Path) -> None:
    """Killed once, or in the whole lane twice."""
    kills = 2 if full("chaos") else 1
    steps = 18 * kills
    settings = {"max_steps": steps, "save_steps": 5, "weight_decay": 0.01}
    path = config(tmp_path, micro_data / DEMONSTRATIONS, **settings)
    whole = cli("train", "sft", "--config", path, "out=whole", "--json")
    assert whole.code == 0, whole.err
    assert whole.json["step"] == steps
    out = tmp_path / "out"
    for kill in range(kills):
        training = Command(["train", "sft", "--config", path], tmp_path / "errors")
        log = out / "log.jsonl"
        lines = 0
        while training.poll() is None and lines < 8 + 12 * kill:  # in mid-way, not at a checkpoint
            time.sleep(0.01)
            lines = len(log.read_bytes().splitlines()) if log.is_file() else 0
        training.kill()
    half = out / "checkpoints" / f"checkpoint-{steps - 2}"  # as a kill in the middle of saving leaves it
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    done = cli("train", "sft", "--config", path, "--json")
    assert done.code == 0, done.err
    assert not half.exists()
    assert (done.json["step"], done.json["tokens"]) == (steps, whole.json["tokens"])
    expected, found = weights(tmp_path / "whole" / "final"), weights(out / "final")
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert [line["step"] for line in logged(out)] == [
        line["step"] for line in logged(tmp_path / "whole")
    ]


def test_a_full_disk_is_said_and_mended(cli: Cli, tmp_path: Path, micro_data: Path) -> None:
    """No file may be larger than 2 MB: weights are."""
    path = config(tmp_path, micro_data / DEMONSTRATIONS, max_steps=2, save_steps=1)
    arguments, errors = ["train", "sft", "--config", path], tmp_path / "errors"
    status = Command(arguments, errors, largest_file=2000 * 1024).wait()
    said = errors.read_text()
    assert status == 4, said
    assert "cannot write" in said
    assert "run the same command again" in said
    assert not list((tmp_path / "out" / "checkpoints").iterdir())
    assert cli("train", "sft", "--config", path).code == 0


def test_two_at_once_are_refused(cli: Cli, tmp_path: Path, micro_data: Path) -> None:
    import fcntl

    path = config(tmp_path, micro_data / DEMONSTRATIONS, max_steps=1)
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = cli("train", "sft", "--config", path)
    assert done.code == 2
    assert "in use by another process" in done.err


@pytest.mark.learning
def test_two_processes_train_what_one_does(
    cli: Cli, tmp_path: Path, micro_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half the batch each, under torchrun, as on two devices. The processor is found, not asked for:
    accelerate alone would train two models there."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    path = config(tmp_path, micro_data / DEMONSTRATIONS, max_steps=3, device="auto")
    assert cli("train", "sft", "--config", path, "out=one", "per_device_train_batch_size=16").code == 0
    train = ["train", "sft", "--config", path]
    if full("learning"):
        torchrun = [
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            "-m",
            "eval_anything",
        ]
        done = subprocess.run([sys.executable, "-m", *torchrun, *train], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    else:
        errors = tmp_path / "errors"
        assert run_together(2, train, errors) == 0, errors.read_text()
    one, two = weights(tmp_path / "one" / "final"), weights(tmp_path / "out" / "final")
    for name, tensor in one.items():
        assert torch.allclose(tensor, two[name], atol=2e-5), name
    assert [line["step"] for line in logged(tmp_path / "out") if "loss" in line] == [1, 2, 3]
