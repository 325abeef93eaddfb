"""Old names of settings: they work in files and on the command line, and a note names the new ones."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from align_plugins.experiment.plan import PLAN
from align_plugins.methods.dpo import DpoSettings
from align_plugins.methods.feedback.run_method import stage_inputs
from align_plugins.methods.feedback.settings import FeedbackSettings
from align_plugins.methods.ppo.loop_state import LoopState
from align_plugins.methods.ppo.rewards import RewardSource
from align_plugins.methods.ppo.settings import PpoSettings
from align_plugins.methods.reward import RewardSettings
from align_plugins.settings import Lora, MethodSettings, TrainSettings, read_settings
from eval_anything.errors import UserError
from eval_anything.files.hashing import sha256_of
from tests.support.helpers import Cli

VALUES: dict[str, Any] = {
    "epochs": 2.5,
    "batch_size": 3,
    "accumulation": 4,
    "schedule": "linear",
    "warmup": 0.25,
    "save_every": 5,
    "log_every": 6,
    "trackers": ["tensorboard"],
    "lora.targets": ["q_proj"],
    "loss": "ipo",
    "clip": 0.1,
    "value_clip": 0.3,
    "value_weight": 0.7,
    "kl_weight": 0.9,
}
"""A value other than the default for each old name."""

TYPES: list[type[TrainSettings]] = [TrainSettings, DpoSettings, RewardSettings, PpoSettings]
ALIASES = [(type_, old, name) for type_ in TYPES for old, name in type_.old_names.items()]


def nested(name: str, value: Any) -> dict[str, Any]:
    """Settings in which a dotted name has a value."""
    for word in reversed(name.split(".")):
        value = {word: value}
    return dict(value)


def written(folder: Path, type_: type[MethodSettings], **settings: Any) -> Path:
    """A settings file of a method."""
    rewards = {"rewards": [{"judge": "validity"}]} if type_ is PpoSettings else {}
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({"model": "micro", "data": "d", "out": "o", **rewards, **settings}))
    return path


def value_of(settings: Any, name: str) -> Any:
    for word in name.split("."):
        settings = getattr(settings, word)
    return settings


def test_every_old_name_is_tested() -> None:
    assert {old for _, old, _ in ALIASES} == set(VALUES)


@pytest.mark.parametrize(("type_", "old", "name"), ALIASES)
def test_an_old_name_in_a_file(
    type_: type[TrainSettings], old: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = read_settings(written(tmp_path, type_, **nested(old, VALUES[old])), [], type_)
    assert value_of(settings, name) == VALUES[old]
    (note,) = capsys.readouterr().err.splitlines()
    assert f"{old} is now {name}" in note
    assert settings == read_settings(written(tmp_path, type_, **nested(name, VALUES[old])), [], type_)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("type_", "old", "name"), ALIASES)
def test_an_old_name_on_the_command_line(
    type_: type[TrainSettings], old: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, type_)
    settings = read_settings(path, [f"{old}={json.dumps(VALUES[old])}"], type_)
    assert value_of(settings, name) == VALUES[old]
    (note,) = capsys.readouterr().err.splitlines()
    assert f"{old} is now {name}" in note


@pytest.mark.parametrize(("type_", "old", "name"), ALIASES)
def test_both_names_are_an_error(
    type_: type[TrainSettings], old: str, name: str, tmp_path: Path
) -> None:
    value = json.dumps(VALUES[old])
    message = f"{old} is the old name of {name}, and both are given: keep {name}"
    for changes in ([f"{old}={value}", f"{name}={value}"], [f"{name}={value}", f"{old}={value}"]):
        with pytest.raises(UserError, match=message):
            read_settings(written(tmp_path, type_), changes, type_)
    group, _, word = old.rpartition(".")
    both = {word: VALUES[old], name.rpartition(".")[2]: VALUES[old]}
    path = written(tmp_path, type_, **({group: both} if group else both))
    line = next(
        i for i, text in enumerate(path.read_text().splitlines(), 1) if f"{word}:" in text.split()
    )
    with pytest.raises(UserError, match=f"settings.yaml:{line}: {message}"):
        read_settings(path, [], type_)


def test_one_note_for_all(cli: Cli, tmp_path: Path) -> None:
    path = written(tmp_path, TrainSettings, batch_size=4, warmup=0)
    done = cli("train", "sft", "--config", path, "epochs=2")
    assert done.code == 2  # its data are missing
    assert done.err.splitlines()[0] == (
        "note: settings have new names: batch_size is now per_device_train_batch_size, warmup is now "
        "warmup_steps, epochs is now num_train_epochs. The old names still work."
    )
    assert done.err.count("is now") == 3


def test_a_change_overrides_an_old_name_in_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, TrainSettings, batch_size=4, save_steps=5)
    changes = ["per_device_train_batch_size=8", "save_every=6"]
    settings = read_settings(path, changes, TrainSettings)
    assert (settings.per_device_train_batch_size, settings.save_steps) == (8, 6)


def test_old_names_in_a_group_that_is_changed_as_a_whole(tmp_path: Path) -> None:
    settings = read_settings(
        written(tmp_path, DpoSettings), ["lora={rank: 2, targets: [k]}"], DpoSettings
    )
    assert settings.lora == Lora(rank=2, target_modules=["k"])
    with pytest.raises(UserError, match=r"lora.targets is the old name of lora.target_modules"):
        read_settings(
            written(tmp_path, DpoSettings), ["lora={target_modules: [k], targets: [k]}"], DpoSettings
        )


def test_a_mistake_under_an_old_name_has_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, TrainSettings)
    path.write_text(path.read_text() + "batch_size: many\n")
    with pytest.raises(UserError, match=r"settings.yaml:4: .*per_device_train_batch_size"):
        read_settings(path, [], TrainSettings)


def test_old_names_in_groups_of_other_methods(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of `feedback`; groups that refer to each other too."""
    path = tmp_path / "settings.yaml"
    path.write_text(
        "model: micro\ndata: d\nout: o\n"
        "critic: {training: &shared {epochs: 8, batch_size: 16}}\n"
        "dpo: {<<: *shared, loss: ipo}\n"
        "reward: {lora: {targets: [q]}}\n"
        "ppo: {clip: 0.1}\n"
    )
    changes = ["ppo.kl_weight=0.3", "critic.training.per_device_train_batch_size=2", "dpo.epochs=1"]
    settings = read_settings(path, changes, FeedbackSettings)
    assert settings.critic.training == {"num_train_epochs": 8, "per_device_train_batch_size": 2}
    both = {"num_train_epochs": 1, "per_device_train_batch_size": 16}
    assert settings.dpo == {**both, "loss_type": "ipo"}
    assert settings.reward == {"lora": {"target_modules": ["q"]}}
    assert settings.ppo == {"cliprange": 0.1, "kl_coef": 0.3}
    note = capsys.readouterr().err
    assert "dpo.loss is now dpo.loss_type" in note
    assert "ppo.kl_weight is now ppo.kl_coef" in note
    with pytest.raises(UserError, match=r"dpo.loss is the old name of dpo.loss_type"):
        read_settings(path, ["dpo.loss=ipo", "dpo.loss_type=ipo"], FeedbackSettings)


def test_a_method_may_have_a_setting_with_an_old_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Own(TrainSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
        warmup: str = ""

    settings = read_settings(written(tmp_path, Own, warmup="slow"), [], Own)
    assert (settings.warmup, settings.warmup_steps) == ("slow", 0.03)
    assert capsys.readouterr().err == ""


START: dict[str, Any] = {"model": "m", "data": "d", "out": "o", "seed": 3}


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (
            TrainSettings(
                **START, num_train_epochs=8.0, learning_rate=1e-3, per_device_train_batch_size=16
            ),
            "2ca63d8e6c2d",
        ),
        (
            DpoSettings(
                **START,
                loss_type="ipo",
                per_device_train_batch_size=4,
                gradient_accumulation_steps=2,
                lr_scheduler_type="linear",
                warmup_steps=0.1,
                save_steps=5,
                logging_steps=1,
                report_to=["tensorboard"],
                lora=Lora(rank=4, target_modules=["q_proj"]),
            ),
            "d0cc74c95b4d",
        ),
        (RewardSettings(**START, num_train_epochs=2.0), "1c9f6b033e6e"),
        (
            PpoSettings(
                **START,
                rewards=[RewardSource(judge="validity")],
                cliprange=0.1,
                cliprange_value=0.3,
                vf_coef=0.5,
                kl_coef=0.05,
            ),
            "e5dcd7b87f0a",
        ),
    ],
)
def test_stages_keep_their_names(settings: TrainSettings, key: str) -> None:
    """The hashes that these settings had under their old names."""
    assert sha256_of(stage_inputs(settings, "data", "weights"))[:12] == key


def test_the_plan_of_the_experiment_is_still_valid(tmp_path: Path) -> None:
    """Its file stays as it was before its arms ran."""
    plan = yaml.safe_load(PLAN.read_text())["settings"]
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({"model": "micro", "data": "d", "out": "o", **plan}))
    settings = read_settings(path, [], FeedbackSettings)
    assert settings.ppo["kl_coef"] == plan["ppo"]["kl_weight"]
    assert settings.dpo["per_device_train_batch_size"] == plan["dpo"]["batch_size"]


def test_the_state_of_older_rounds_is_read() -> None:
    state = LoopState(0.1)
    state.load_state_dict({"step": 3, "kl_weight": 0.7, "first": math.pi})
    assert (state.step, state.kl_coef, state.first) == (3, 0.7, math.pi)
    assert not hasattr(state, "kl_weight")


def test_an_older_training_is_resumed(cli: Cli, tmp_path: Path, demonstrations: Path) -> None:
    """Its train.json has old names; so may have the settings file."""
    more = {"data": str(demonstrations), "device": "cpu", "threads": 1, "max_steps": 2}
    path = written(tmp_path, TrainSettings, **more, batch_size=4, save_every=1, keep=9)
    assert cli("train", "sft", "--config", path).code == 0
    out = tmp_path / "o"
    begun = json.loads((out / "train.json").read_text())
    assert begun["settings"]["per_device_train_batch_size"] == 4
    present_names = {name: old for old, name in TrainSettings.old_names.items()}
    begun["settings"] = {present_names.get(key, key): v for key, v in begun["settings"].items()}
    (out / "train.json").write_text(json.dumps(begun))
    (out / "result.json").unlink()
    before = (out / "checkpoints" / "checkpoint-2" / "training.json").read_bytes()
    assert cli("train", "sft", "--config", path).code == 0
    assert (out / "checkpoints" / "checkpoint-2" / "training.json").read_bytes() == before
    done = cli("train", "sft", "--config", path, "batch_size=2")
    assert "per_device_train_batch_size 4 -> 2" in done.err


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file of demonstrations."""
    from align_plugins.experiment.micro_data import demonstrations as draw
    from align_plugins.experiment.micro_data import write_demonstrations

    path = tmp_path_factory.mktemp("data") / "demonstrations.jsonl"
    write_demonstrations(path, draw(8, 1))
    return path
