"""ppo on micro and tiny checkpoints: what is learned, judged, told and saved, and what stops it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from align_plugins.experiment.micro_data import (
    DEMONSTRATIONS,
    PAIRS,
    demonstrations,
    write_demonstrations,
)
from align_plugins.methods.ppo.settings import PpoSettings
from align_plugins.settings import read_settings, resume_settings
from eval_anything.errors import UserError
from eval_anything.files.places import content_folder
from eval_anything.micro.model.adapter import BUNDLED
from tests.support.configs import config, logged, program_judge, weights
from tests.support.helpers import Cli, write_jsonl
from tests.support.lanes import only_in
from tests.support.processes import Command, run_together
from tests.support.tiny import tiny_llama

SELECTION = {"judge": "selection_contract", "metric": "selection"}
VALIDITY = {"judge": "validity"}
REWARD_MODEL = str(content_folder("judges") / "micro_synergy_rm" / "checkpoint")
SHORT = {"rewards": [SELECTION], "rollout": 16, "max_steps": 2, "lr_scheduler_type": "constant"}


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 prompts of the micro world."""
    path = tmp_path_factory.mktemp("prompts") / DEMONSTRATIONS
    write_demonstrations(path, demonstrations(600, 3))
    return path


# --- what is learned -------------------------------------------------------------------------------


@pytest.mark.learning
@only_in("learning")
@pytest.mark.slow
def test_a_reward_rises(cli: Cli, tmp_path: Path, prompts: Path) -> None:
    """An exact judge as reward, from the bundled model, in 12 rounds of 64 responses."""
    more = {**SHORT, "rollout": 64, "max_steps": 12, "per_device_train_batch_size": 16}
    done = cli("train", "ppo", "--config", config(tmp_path, prompts, **more), "--json")
    assert done.code == 0, done.err
    lines = logged(tmp_path / "out")
    rewards = [line["reward"] for line in lines]
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.1, rewards
    assert lines[0]["kl"] == pytest.approx(0, abs=1e-4)
    assert lines[0]["clipped"] < 0.05
    assert max(line["sampling_gap"] for line in lines) < 1e-4
    assert lines[-1]["value_loss"] > 0
    assert 0 < lines[-1]["entropy"] < 5.5
    assert {"kl_image", "kl_audio", "share_text", "reward_with_video", "tokens_per_second"} <= set(
        lines[-1]
    )
    assert done.json["reward"]["first"] == rewards[0]
    assert done.json["alarms"] == []
    run = cli("run", "--model", tmp_path / "out/final", "--tasks", "selection", "--limit", "4", "--json")
    assert run.code == 0, run.err


@pytest.mark.slow
def test_a_mix_of_a_reward_model_and_a_judge(cli: Cli, tmp_path: Path, micro_data: Path) -> None:
    """The prompts of preference pairs do; a reward is the weighted mean of those that apply."""
    rewards = [{"checkpoint": REWARD_MODEL, "weight": 3.0}, SELECTION]
    path = config(tmp_path, micro_data / PAIRS, **{**SHORT, "rewards": rewards, "max_steps": 1})
    done = cli("train", "ppo", "--config", path)
    assert done.code == 0, done.err
    (line,) = logged(tmp_path / "out")
    mean = (
        3 * line["reward_micro_synergy_rm/checkpoint"] + line["reward_selection_contract:selection"]
    ) / 4
    assert line["reward"] == pytest.approx(mean)
    assert line["unscored"] == 0


@pytest.mark.slow
def test_a_step_of_lora_on_a_chat_model(cli: Cli, tmp_path: Path) -> None:
    """A judge of the user's own; the reference is the model below the adapters."""
    rows = [
        {"messages": [{"role": "user", "parts": [{"modality": "text", "text": f"Question {n}?"}]}]}
        for n in range(8)
    ]
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    include = program_judge(tmp_path, "vowels", "min(1, sum(c in 'aeiou' for c in response.text) / 10)")
    model = tiny_llama(tmp_path / "model")
    more = {
        "rewards": [{"judge": "vowels"}], "include": [str(include)], "allow_code": True, "rollout": 8,
        "max_new_tokens": 12, "max_steps": 3, "lora": {"rank": 4}, "kl_target": 1.0, "kl_horizon": 80.0,
        "gradient_checkpointing": True, "ppo_epochs": 2, "gradient_accumulation_steps": 2,
        "per_device_train_batch_size": 2,
        "learning_rate": 3e-3, "lr_scheduler_type": "constant",
    }  # fmt: skip
    path = config(tmp_path, data, model=str(model), **more)
    refused = cli("train", "ppo", "--config", path, "allow_code=false")
    assert refused.code == 2
    assert "add --allow-code" in refused.err
    done = cli("train", "ppo", "--config", path)
    assert done.code == 0, done.err
    final = weights(tmp_path / "out" / "final")
    assert any(tensor.abs().sum() > 0 for name, tensor in final.items() if "lora_B" in name)
    lines = logged(tmp_path / "out")
    assert lines[0]["kl"] == pytest.approx(0, abs=1e-4)
    assert abs(lines[-1]["kl"]) > 1e-5
    assert lines[-1]["kl_weight"] < 0.02  # below the target
    run = cli(
        "run", "--model", tmp_path / "out" / "final", "--tasks", "open/selection", "--limit", "1",
        "--model-arg", "max_new_tokens=4", "--json",
    )  # fmt: skip
    assert run.code in (0, 1), run.err


@pytest.mark.slow
def test_the_same_reward_for_all_is_told_and_teaches_nothing(
    cli: Cli, tmp_path: Path, prompts: Path
) -> None:
    include = program_judge(tmp_path, "same", "0.3")
    more = {**SHORT, "rewards": [{"judge": "same"}], "include": [str(include)], "allow_code": True}
    done = cli("train", "ppo", "--config", config(tmp_path, prompts, **more))
    assert done.code == 0, done.err
    assert done.err.count("all 16 responses have the reward 0.3: nothing is learned") == 1
    assert "nothing was learned in 2 rounds" in done.out
    before, after = weights(BUNDLED), weights(tmp_path / "out" / "final")
    assert all(torch.equal(before[name].float(), tensor) for name, tensor in after.items())


# --- resuming --------------------------------------------------------------------------------------


@pytest.mark.chaos
@only_in("chaos")
@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_weights(cli: Cli, tmp_path: Path, prompts: Path) -> None:
    more = {**SHORT, "max_steps": 10, "save_steps": 2, "kl_target": 0.1, "kl_horizon": 100.0, "keep": 9}
    path = config(tmp_path, prompts, **{**more, "lr_scheduler_type": "cosine", "weight_decay": 0.01})
    whole = cli("train", "ppo", "--config", path, "out=whole", "--json")
    assert whole.code == 0, whole.err
    out = tmp_path / "out"
    training = Command(["train", "ppo", "--config", path], tmp_path / "errors")
    log = out / "log.jsonl"
    while training.poll() is None and not (log.is_file() and len(log.read_bytes().splitlines()) >= 5):
        time.sleep(0.01)
    training.kill()
    done = cli("train", "ppo", "--config", path, "--json")
    assert done.code == 0, done.err
    for name in ("step", "tokens", "reward"):
        assert done.json[name] == whole.json[name]
    expected, found = weights(tmp_path / "whole" / "final"), weights(out / "final")
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    for one, other in zip(logged(out), logged(tmp_path / "whole"), strict=True):
        for name in ("step", "reward", "kl", "kl_weight", "value_loss", "learning_rate"):
            assert one[name] == other[name], name
    assert not (out / "final" / "resuming").exists()


@pytest.mark.slow
def test_a_finished_training_is_made_longer(cli: Cli, tmp_path: Path, prompts: Path) -> None:
    path = config(tmp_path, prompts, **{**SHORT, "max_steps": 1, "kl_target": 0.1, "kl_horizon": 100.0})
    whole = cli("train", "ppo", "--config", path, "out=whole", "max_steps=2", "--json")
    assert cli("train", "ppo", "--config", path).code == 0
    longer = cli("train", "ppo", "--config", path, "max_steps=2", "--json")
    assert (whole.code, longer.code) == (0, 0), whole.err + longer.err
    assert (tmp_path / "out" / "checkpoints" / "checkpoint-1").is_dir()  # it went on
    expected, trained = (weights(tmp_path / out / "final") for out in ("whole", "out"))
    assert all(torch.equal(tensor, trained[name]) for name, tensor in expected.items())


@pytest.mark.slow
def test_two_processes_train_what_one_does(
    cli: Cli, tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor is found, not asked for: accelerate alone would train two models there."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    path = config(
        tmp_path, prompts, **SHORT | {"rollout": 8, "per_device_train_batch_size": 16, "device": "auto"}
    )
    assert cli("train", "ppo", "--config", path, "out=one", "rollout=16").code == 0
    errors = tmp_path / "errors"
    assert run_together(2, ["train", "ppo", "--config", path], errors) == 0, errors.read_text()
    one, two = weights(tmp_path / "one" / "final"), weights(tmp_path / "out" / "final")
    for name, tensor in one.items():
        assert torch.allclose(tensor, two[name], atol=2e-4), name
    for a, b in zip(logged(tmp_path / "one"), logged(tmp_path / "out"), strict=True):
        assert a["reward"] == pytest.approx(b["reward"])
        assert a["kl"] == pytest.approx(b["kl"], abs=1e-3)
        assert a["length"] == pytest.approx(b["length"])


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(
    cli: Cli, tmp_path: Path, prompts: Path
) -> None:
    more = {**SHORT, "max_steps": 9, "save_steps": 1, "max_grad_norm": 0.0, "learning_rate": 1e18}
    done = cli("train", "ppo", "--config", config(tmp_path, prompts, **more))
    assert done.code == 2
    assert "no number" in done.err or "the loss is" in done.err
    assert "there is no checkpoint yet" in done.err or "last good checkpoint is" in done.err
    for folder in (tmp_path / "out" / "checkpoints").glob("checkpoint-*"):
        assert all(tensor.isfinite().all() for tensor in weights(folder).values())
    assert not (tmp_path / "out" / "final").exists()


@pytest.mark.slow
def test_a_full_disk_is_said_and_mended(cli: Cli, tmp_path: Path, prompts: Path) -> None:
    """No file may be larger than 2 MB: weights are."""
    path = config(tmp_path, prompts, **{**SHORT, "max_steps": 1})
    arguments, errors = ["train", "ppo", "--config", path], tmp_path / "errors"
    status = Command(arguments, errors, largest_file=2000 * 1024).wait()
    said = errors.read_text()
    assert status == 4, said
    assert "cannot write" in said
    assert "run the same command again" in said
    assert not list((tmp_path / "out" / "checkpoints").iterdir())
    assert cli("train", "ppo", "--config", path).code == 0


# --- the alarm -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("forked_evaluations")
def test_a_reward_that_rises_while_a_held_out_judge_falls(
    cli: Cli, tmp_path: Path, prompts: Path
) -> None:
    """Text alone is rewarded, so answers lose the media that were asked for."""
    include = program_judge(tmp_path, "wordy", "all(p.modality == 'text' for p in response.parts)")
    evaluate = {"tasks": ["micro/selection"], "limit": 60}
    more = {
        **SHORT, "rewards": [{"judge": "wordy"}], "include": [str(include)], "allow_code": True,
        "rollout": 48, "max_steps": 24, "save_steps": 8, "learning_rate": 1e-3, "kl_coef": 0.0,
        "evaluate": evaluate, "stop_on_alarm": True, "logging_steps": 4,
    }  # fmt: skip
    done = cli("train", "ppo", "--config", config(tmp_path, prompts, **more))
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "out" / "result.json").read_bytes())
    (alarm,) = result["alarms"]
    assert alarm["since"] == "start"
    assert alarm["reward"] > alarm["reward_since"]
    assert alarm["ci95"][1] < 0
    assert alarm["metric"] == "micro/selection:selection"
    assert result["step"] < 24
    assert f"ALARM at {alarm['name']}: the training reward rose" in done.err
    assert "ALARM" in done.out
    # The same command finds it again, and does not go on.
    assert cli("train", "ppo", "--config", tmp_path / "train.yaml", "--json").json == result


def test_the_reward_is_no_held_out_judge(cli: Cli, tmp_path: Path, prompts: Path) -> None:
    task = {"tasks": ["micro/selection"]}
    done = cli("train", "ppo", "--config", config(tmp_path, prompts, **SHORT, evaluate=task))
    assert done.code == 2
    assert "micro/selection:selection is given by selection_contract, which is a reward" in done.err
    task = {"tasks": ["micro/synergy_judged"]}
    for reward in ({"checkpoint": REWARD_MODEL}, {"judge": "micro_synergy_rm", "metric": "text_image"}):
        more = {**SHORT, "rewards": [reward], "evaluate": task}
        done = cli("train", "ppo", "--config", config(tmp_path, prompts, **more))
        assert done.code == 2
        assert "is given by micro_synergy_rm, which is a reward" in done.err


# --- wrong settings and data -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("rewards=[]", "rewards names none"),
        ("rewards=[{weight: 1}]", "give one of the two"),
        ("rewards=[{judge: validity, checkpoint: x}]", "give one of the two"),
        ("rewards=[{checkpoint: x, metric: y}]", "neither metric nor model"),
        ("rewards=[{judge: validity, weight: 0}]", "must be above 0"),
        ("rewards=[{judge: validity, wheight: 1}]", "wheight"),
        ("rolout=3", "Did you mean rollout"),
        ("rollout=0", "rollout must be at least 1"),
        ("temperature=0", "temperature must be above 0"),
        ("top_p=0.9", "ppo learns the policy that it samples from"),
        ("gae_lambda=1.5", "gae_lambda must be from 0 to 1"),
        ("kl_coef=-1", "kl_coef must not be below 0"),
        ("kl_target=0", "kl_target must be above 0"),
        ("kl_estimator=k2", "k2"),
        ("stop_on_alarm=true", "stop_on_alarm needs"),
    ],
)
def test_wrong_settings(change: str, message: str, tmp_path: Path) -> None:
    path = config(tmp_path, Path("rows.jsonl"), **SHORT)
    with pytest.raises(UserError, match=message):
        read_settings(path, [change], PpoSettings)


def test_settings_of_the_paper_and_paths_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "rm").mkdir()
    rewards = [{"checkpoint": "rm"}, {"judge": "rubric", "model": "openai/x"}]
    settings = read_settings(
        config(tmp_path, Path("rows.jsonl"), rewards=rewards, include=["judges"]), [], PpoSettings
    )
    assert (settings.cliprange, settings.kl_coef, settings.gamma, settings.gae_lambda) == (
        0.2, 0.02, 1.0, 0.95,
    )  # fmt: skip
    assert settings.rewards[0].checkpoint == str(tmp_path / "rm")
    assert settings.rewards[1].model == "openai/x"
    assert settings.include == [str(tmp_path / "judges")]
    evaluate = {"tasks": ["micro/selection"], "limit": 5}
    free = read_settings(
        config(tmp_path, Path("rows.jsonl"), rewards=rewards, evaluate=evaluate), [], PpoSettings
    )
    waits = read_settings(tmp_path / "train.yaml", ["stop_on_alarm=true"], PpoSettings)
    assert "evaluate" not in resume_settings(free)
    assert resume_settings(waits)["evaluate"]["limit"] == 5


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        ({"judge": "selektion_contract"}, "Did you mean selection_contract"),
        ({"judge": "selection_contract"}, "has several metrics: add `metric:`, one of selection"),
        ({"judge": "selection_contract", "metric": "selektion"}, "Did you mean selection"),
        ({"judge": "synergy_rubric"}, "needs a model: add `model: SPEC`"),
        ({"checkpoint": "nowhere"}, "nowhere is no folder"),
        ({"checkpoint": str(BUNDLED)}, "not a reward model"),
    ],
)
def test_wrong_rewards(
    reward: dict[str, Any], message: str, cli: Cli, tmp_path: Path, prompts: Path
) -> None:
    path = config(tmp_path, prompts, **{**SHORT, "rewards": [reward]})
    done = cli("train", "ppo", "--config", path)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_a_reward_that_is_given_twice(cli: Cli, tmp_path: Path, prompts: Path) -> None:
    path = config(tmp_path, prompts, **{**SHORT, "rewards": [VALIDITY, VALIDITY]})
    done = cli("train", "ppo", "--config", path)
    assert done.code == 2
    assert "validity is given twice" in done.err


def test_a_reference_of_another_architecture(cli: Cli, tmp_path: Path, prompts: Path) -> None:
    reference = tiny_llama(tmp_path / "other")
    path = config(tmp_path, prompts, **SHORT, reference=str(reference))
    done = cli("train", "ppo", "--config", path)
    assert done.code == 2
    assert "is not of the architecture of micro: they differ in vocab_size" in done.err


def test_a_wrong_contract_names_its_row(cli: Cli, tmp_path: Path) -> None:
    prompt = [{"role": "user", "parts": [{"modality": "text", "text": "sing."}]}]
    row = {"id": "p7", "messages": prompt, "metadata": {"contract": {"requires": ["audio"]}}}
    data = write_jsonl(tmp_path / "rows.jsonl", [row])
    done = cli("train", "ppo", "--config", config(tmp_path, data, **SHORT))
    assert done.code == 2
    assert "row 'p7': its metadata has a contract or targets that are none" in done.err
