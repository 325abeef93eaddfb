"""Checkpoints are evaluated by themselves while a training runs, ours or anyone's."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from align_plugins.evaluation.checkpoints import Evaluations
from align_plugins.experiment.micro_data import DEMONSTRATIONS, PAIRS
from align_plugins.settings import EvaluationSettings
from align_plugins.workdir import NOTE
from eval_anything.runs.directory import read_run_file
from tests.support.configs import config
from tests.support.helpers import Cli
from tests.support.processes import Command

pytestmark = pytest.mark.slow

SELECTION = {"tasks": ["micro/selection"], "limit": 8}


@pytest.mark.usefixtures("forked_evaluations")
def test_every_checkpoint_becomes_a_run(cli: Cli, tmp_path: Path, micro_data: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nbaseline: {}\nsuite: {margin: 0.9}\ndefaults: {margin: 0.9}\n")
    evaluate = {**SELECTION, "policy": "policy.yaml", "metric": "micro/selection:vote_share"}
    path = config(
        tmp_path, micro_data / PAIRS, max_steps=4, save_steps=2, keep=1, evaluate=evaluate, beta=0.3
    )
    done = cli("train", "dpo", "--config", path, "--json")
    out = tmp_path / "out"
    assert done.err == ""
    assert [e["name"] for e in done.json["evaluations"]] == ["start", "step-000002", "step-000004"]
    for name, step in (("start", 0), ("step-000002", 2), ("step-000004", 4)):
        note = json.loads((out / "runs" / name / NOTE).read_bytes())
        assert (note["step"], note["method"], note["training"]) == (step, "dpo", "out")
        assert (note["tokens"] > 0) == (step > 0)
        assert note["evaluation_seconds"] > 0
        run_file = read_run_file(out / "runs" / name)
        assert run_file.status == "done"
        assert run_file.model == ("micro" if name == "start" else f"out/step-{step}")
    assert done.json["metric"] == "micro/selection:vote_share"
    best = done.json["best"]["name"]
    kept = {p.name for p in (out / "checkpoints").iterdir()}
    assert kept == {"checkpoint-4", f"checkpoint-{int(best[5:])}"}
    metrics = ["micro/selection:selection", "micro/selection:vote_share"]
    assert [c["metric"] for c in done.json["compared"]] == metrics, "the primary one, and the chosen one"
    assert (out / "comparison.json").is_file()
    named = [name for names in done.json["bill"].values() for name in names]
    assert "text in" in named
    assert [item["name"] for item in json.loads((out / "bill.json").read_bytes())["items"]] == named
    assert "### Bill of" in (out / "bill.md").read_text()
    assert "<h1>What step-" in (out / "bill.html").read_text()
    assert done.json["gate"]["verdict"] in ("PASS", "WARN", "INCONCLUSIVE")
    assert done.code == (0 if done.json["gate"]["verdict"] in ("PASS", "WARN") else 1)
    compared = cli("compare", out / "runs" / "start", out / "runs" / best)
    assert compared.code == 0
    shown = cli("train", "dpo", "--config", path)
    assert "gate: " in shown.out
    assert "not known: text in" in shown.out
    assert ("none is better than the start" in shown.out) == (not done.json["beats_start"])
    assert f"page: {out / 'report.html'}" in shown.out
    page = (out / "report.html").read_text("utf-8")
    assert ('class="mark best"' in page) == done.json["beats_start"]
    titles = re.findall("<figcaption.*?>(.*?)</figcaption>", page)
    assert titles[:2] == ["Modality selection: vote_share", "Modality selection: selection"]
    assert {"loss", "dpo loss", "margin", "learning rate"} <= {*titles}
    assert page.count('href="runs/s') == 3
    assert "4" in re.findall("<dt>Steps</dt><dd>(.*?)</dd>", page)


@pytest.mark.usefixtures("forked_evaluations")
def test_patience_stops_a_training_that_gets_no_better(
    cli: Cli, tmp_path: Path, micro_data: Path
) -> None:
    """A rate of next to nothing changes no answer: the second checkpoint is as good as the first."""
    evaluate = {**SELECTION, "limit": 4, "patience": 1, "start": False}
    path = config(
        tmp_path,
        micro_data / DEMONSTRATIONS,
        max_steps=6,
        save_steps=1,
        learning_rate=1e-12,
        evaluate=evaluate,
    )
    done = cli("train", "sft", "--config", path, "--json")
    assert done.code == 0, done.err
    assert done.json["step"] == 2
    assert done.json["best"]["name"] == "step-000001"


def test_an_evaluation_that_fails_is_told_and_stops_nothing(
    cli: Cli, tmp_path: Path, micro_data: Path
) -> None:
    path = config(
        tmp_path, micro_data / DEMONSTRATIONS, max_steps=1, evaluate={**SELECTION, "timeout": 0.01}
    )
    done = cli("train", "sft", "--config", path)
    assert done.code == 0
    assert "evaluation of start failed: took longer than 0.01 s" in done.err
    assert (tmp_path / "out" / "final" / "config.json").is_file()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"tasks": ["micro/selektion"]}, "Did you mean micro/selection"),
        ({"metric": "micro/selection:selektion"}, "Did you mean micro/selection:selection"),
        ({"policy": "none.yaml"}, "no such policy"),
        ({"judges": {"nobody": "openai/x"}}, "nobody"),
    ],
)
def test_what_would_stop_an_evaluation_is_found_before_training(
    more: dict[str, Any], message: str, cli: Cli, tmp_path: Path, micro_data: Path
) -> None:
    path = config(tmp_path, micro_data / DEMONSTRATIONS, max_steps=1, evaluate={**SELECTION, **more})
    done = cli("train", "sft", "--config", path)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "out" / "checkpoints").exists()


def _evaluate_without_end(arguments: list[str]) -> int:
    """A training that began an evaluation, and goes on."""
    settings = EvaluationSettings(tasks=["micro/selection"])
    Evaluations(settings, Path(arguments[0]), print).submit("start", "micro", {"step": 0})
    time.sleep(600)
    return 0


@pytest.mark.usefixtures("forked_evaluations")
def test_an_evaluation_ends_with_the_training_that_started_it(tmp_path: Path) -> None:
    """After a kill nothing holds the run: another process goes on with it."""
    parent = Command([tmp_path], tmp_path / "errors", main=_evaluate_without_end)
    records = tmp_path / "start" / "micro" / "selection" / "records.jsonl"
    while not records.is_file():
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    time.sleep(1)
    some = len(records.read_bytes().splitlines())
    found = Evaluations(EvaluationSettings(tasks=["micro/selection"], limit=8), tmp_path, print)
    found.submit("start", "micro", {"step": 0})
    found.wait()
    assert not found.failed
    assert len(records.read_bytes().splitlines()) >= some > 0


@pytest.mark.usefixtures("forked_evaluations")
def test_two_lines_in_a_script_of_anyones(tmp_path: Path) -> None:
    import transformers

    from align_plugins.evaluation.callback import EvalAnythingCallback
    from eval_anything.micro.model import vocabulary
    from eval_anything.micro.model.adapter import BUNDLED
    from eval_anything.micro.model.tokenizer import make_tokenizer
    from eval_anything.models.local.generation import load_causal_lm

    class Codec(transformers.TrainerCallback):  # type: ignore[misc]
        """What such a checkpoint needs beside its tokenizer."""

        def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            vocabulary.save_description(tmp_path / "mine" / f"checkpoint-{state.global_step}")

    ids = vocabulary.ids()
    row = {"input_ids": [ids["<user>"], ids["<assistant>"], ids["<eos>"]]}
    trainer = transformers.Trainer(
        model=load_causal_lm(BUNDLED, "float32"),
        args=transformers.TrainingArguments(
            str(tmp_path / "mine"), max_steps=1, save_steps=1, report_to="none", use_cpu=True,
            disable_tqdm=True, learning_rate=1e-9,
        ),
        train_dataset=[row] * 4,
        data_collator=lambda rows: {
            "input_ids": __import__("torch").tensor([r["input_ids"] for r in rows]),
            "labels": __import__("torch").tensor([r["input_ids"] for r in rows]),
        },
        processing_class=make_tokenizer(),
        callbacks=[Codec()],
    )  # fmt: skip
    said: list[str] = []
    callback = EvalAnythingCallback(
        tasks=["micro/selection"], start="micro", limit=4, report=said.append, trainer=trainer
    )
    trainer.add_callback(callback)
    trainer.train()
    assert callback.evaluations is not None
    assert callback.evaluations.finished() == ["start", "step-000001"], said
    best = callback.evaluations.best()
    assert best is not None
    assert best.name == "step-000001"
    note = json.loads((tmp_path / "mine" / "runs" / "step-000001" / NOTE).read_bytes())
    assert note["step"] == 1
    logged = [entry for entry in trainer.state.log_history if "eval_step" in entry]
    assert [entry["eval_step"] for entry in logged] == [0, 1]
    assert logged[1]["eval_micro/selection:selection"] == best.value
