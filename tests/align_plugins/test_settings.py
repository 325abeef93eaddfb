"""Settings: typed, with every mistake named, and changed on the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from align_plugins.evaluation.report import training_report
from align_plugins.methods.dpo import DpoSettings
from align_plugins.methods.sft import SftTrainer
from align_plugins.settings import TrainSettings, bound_to_length, read_settings
from eval_anything.errors import UserError
from tests.support.configs import config
from tests.support.helpers import Cli


def test_a_file_and_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config(tmp_path, Path("rows.jsonl"), evaluate={"tasks": ["micro/selection"]})
    monkeypatch.chdir("/")
    changes = ["beta=0.5", "learning_rate=1e-5", "evaluate.limit=20", "lora.rank=4", "out=elsewhere"]
    settings = read_settings(path, changes, DpoSettings)
    assert (settings.beta, settings.learning_rate, settings.out) == (0.5, 1e-5, "elsewhere")
    assert settings.files == [tmp_path / "rows.jsonl"]  # beside the file, not where the command ran
    assert settings.evaluate is not None
    assert settings.evaluate.limit == 20
    assert settings.lora is not None
    assert settings.lora.rank == 4


def test_arguments_of_the_evaluated_model_may_be_numbers(tmp_path: Path) -> None:
    arguments = {"max_new_tokens": 8, "output": "text", "greedy": True}
    evaluate = {"tasks": ["micro/selection"], "model_args": arguments}
    path = config(tmp_path, Path("rows.jsonl"), evaluate=evaluate)
    settings = read_settings(path, ["evaluate.model_args.batch_size=4"], DpoSettings)
    assert settings.evaluate is not None
    expected = {"max_new_tokens": "8", "output": "text", "greedy": "true", "batch_size": "4"}
    assert settings.evaluate.options("micro", tmp_path).model_args == expected


@pytest.mark.parametrize("method", ["sft", "reward", "dpo", "ppo", "feedback"])
def test_help_of_a_method_lists_its_settings(cli: Cli, method: str) -> None:
    rows = {row[0]: row[1:] for row in cli("train", method, "--help", "--json").json}
    assert rows["model"][0] == "required"
    assert rows["seed"][0] == "0"
    text = cli("train", method, "--help").out
    assert text.startswith(f"usage: eval-anything train {method} --config FILE [KEY=VALUE ...]")
    assert max(map(len, text.splitlines())) <= 130


def test_help_of_dpo_says_what_its_settings_mean(cli: Cli) -> None:
    text = cli("train", "dpo", "--help").out
    assert re.search(r"^beta +0.1 +strength of the tie to the reference", text, re.MULTILINE)
    assert re.search(r"^lora.rank +16 ", text, re.MULTILINE)
    unknown = cli("train", "dop", "--help")
    assert (unknown.code, "Did you mean dpo" in unknown.err) == (2, True)


def test_a_tie_with_the_start_is_no_best_checkpoint() -> None:
    def evaluated(name: str, value: float) -> dict[str, Any]:
        return {"name": name, "tokens": 1, "value": value, "ci95": (0, 1), "evaluation_seconds": 1}

    for value, beats in ((0.5, False), (0.6, True)):
        history = [evaluated("start", 0.5), evaluated("step-1", value)]
        summary = {"method": "dpo", "step": 1, "tokens": 1, "seconds": 1, "final": "out/final"}
        more = {"evaluations": history, "metric": "a:b", "best": history[1], "beats_start": beats}
        text = "\n".join(training_report(summary | more).lines)
        assert ("none is better than the start" in text) == (not beats)
        assert (" best" in text) == beats


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("bta=1", "unknown key 'bta'. Did you mean beta"),
        ("evaluate.limt=1", "unknown key 'limt'. Did you mean limit"),
        ("beta.x=1", "beta has no keys"),
        ("beta", "must be KEY=VALUE"),
        ("beta=high", "float"),
        ("beta=0", "beta must be above 0"),
        ("loss_type=hinge", "hinge"),
        ("modality_weights={image: -1}", "must not be below 0"),
        ("per_device_train_batch_size=0", "per_device_train_batch_size must be above 0"),
    ],
)
def test_wrong_changes(change: str, message: str, tmp_path: Path) -> None:
    path = config(tmp_path, Path("rows.jsonl"))
    with pytest.raises(UserError, match=message):
        read_settings(path, [change], DpoSettings)


def test_a_misspelt_key_in_the_file_is_named_with_its_line(cli: Cli, tmp_path: Path) -> None:
    path = config(tmp_path, Path("rows.jsonl"))
    path.write_text(path.read_text() + "batchsize: 4\n")
    found = cli("train", "sft", "--config", path)
    assert found.code == 2
    line = len(path.read_text().splitlines())
    assert f"train.yaml:{line}: unknown key 'batchsize'" in found.err
    assert "per_device_train_batch_size" in found.err


def test_an_unknown_method_is_named(cli: Cli, tmp_path: Path) -> None:
    found = cli("train", "dop", "--config", config(tmp_path, Path("rows.jsonl")))
    assert found.code == 2
    assert "unknown method 'dop'. Did you mean dpo" in found.err


def test_a_method_of_another_package_is_found(tmp_path: Path) -> None:
    """Its entry point is all that is needed."""
    about = tmp_path / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[eval_anything.trainers]\nmine = mine:Mine\n")
    (tmp_path / "mine.py").write_text(
        "from align_plugins.settings import TrainSettings\n"
        "from align_plugins.trainer import Trained, Trainer\n"
        "class Mine(Trainer):\n"
        "    name = 'mine'\n"
        "    settings_type = TrainSettings\n"
        "    def train(self, progress):\n"
        "        return Trained({'steps': self.settings.max_steps}, ['done'])\n"
    )
    path = config(tmp_path, Path("rows.jsonl"))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "eval_anything",
            "train",
            "mine",
            "--config",
            path,
            "max_steps=3",
            "--json",
        ],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["{", '"steps":', "3", "}"]


def test_help_and_wrong_settings_load_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from eval_anything.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'transformers', 'align_plugins.training.engine')\n"
        "print([m for m in heavy if m in sys.modules])\n"
    )
    path = config(tmp_path, Path("rows.jsonl"))
    for words in (["train", "--help"], ["train", "sft", "--config", str(path), "seed=x"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]"


def test_the_evaluation_never_imports_the_trainers() -> None:
    import re

    import eval_anything

    for file in Path(eval_anything.__file__).parent.rglob("*.py"):
        assert not re.search(
            r"^\s*(from|import) align_plugins", file.read_text("utf-8"), re.MULTILINE
        ), file


def test_sft_takes_no_keys_of_dpo(tmp_path: Path) -> None:
    path = config(tmp_path, Path("rows.jsonl"))
    with pytest.raises(UserError, match="unknown key 'beta'"):
        SftTrainer.from_config(path, ["beta=1"])


@pytest.mark.parametrize(
    ("scheduler", "warmup", "bound"),
    [
        ("constant", 0.5, ""),
        ("constant_with_warmup", 0.0, ""),
        ("constant_with_warmup", 3.0, ""),
        ("constant_with_warmup", 0.5, "warmup_steps: 0.5, a share of all steps"),
        ("linear", 3.0, "lr_scheduler_type: linear"),
        ("cosine", 0.0, "lr_scheduler_type: cosine"),
    ],
)
def test_what_binds_a_training_to_its_length(scheduler: Any, warmup: float, bound: str) -> None:
    settings = TrainSettings(model="", data="", out="", lr_scheduler_type=scheduler, warmup_steps=warmup)
    assert bound_to_length(settings) == bound
