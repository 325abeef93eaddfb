"""The main job on the micro world: gold answers are perfect, the bundled model is as committed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from eval_anything.micro.model.adapter import BUNDLED
from eval_anything.micro.world.render import EXTENSIONS
from eval_anything.runs.directory import read_run
from eval_anything.tasks.load import load_task
from eval_anything.tasks.registry import Registry
from tests.benchmarks.rebuild import FIGURES, disagreements
from tests.micro.conftest import gold_parts
from tests.support.helpers import Cli, write_jsonl
from tests.support.lanes import only_in

TASKS = ("selection", "synergy", "instruction_following", "understanding")


def _rows(name: str, limit: int, folder: Path) -> list[dict[str, Any]]:
    """Gold answers of a task as rows of a replay file, their media written into the folder."""
    rows = []
    for sample in load_task(Registry().folders[name]).samples[:limit]:
        parts: list[dict[str, Any]] = []
        for i, part in enumerate(gold_parts(sample)):
            if isinstance(part, str):
                parts.append({"modality": "text", "text": part})
            else:
                path = folder / f"{sample.id}-{i}.{EXTENSIONS[part.modality]}"
                path.write_bytes(part.data)
                parts.append({"modality": part.modality, "path": path.name})
        rows.append({"task": name, "sample_id": sample.id, "parts": parts})
    return rows


@pytest.mark.slow
def test_gold_answers_score_the_best_value_on_every_sample(cli: Cli, tmp_path: Path) -> None:
    """All of selection; a hundred of the others, which test_micro_tasks.py scores without the engine."""
    limits = {task: 1000 if task == "selection" else 100 for task in TASKS}
    rows = [row for task, limit in limits.items() for row in _rows(f"micro/{task}", limit, tmp_path)]
    write_jsonl(tmp_path / "gold.jsonl", rows)
    done = cli("score", "--outputs", "gold.jsonl", "--tasks", "micro", "--only-answered", "--json")
    assert done.code == 0, done.err
    for task, result in done.json["tasks"].items():
        assert result["samples"] >= (500 if task == "micro/selection" else 100)
        for name, metric in result["metrics"].items():
            if "shuffled" not in name and "gain" not in name:
                best = metric["range"][metric["better"] == "higher"]
                assert metric["value"] == pytest.approx(best), f"{task}:{name}"
    aggregates = done.json["aggregates"]
    assert aggregates["micro/AMU"]["value"] == pytest.approx(10)
    assert aggregates["micro/AMG"]["value"] == pytest.approx(30)
    assert aggregates["micro/Overall"]["value"] == pytest.approx(20)
    synergy = done.json["tasks"]["micro/synergy"]["metrics"]
    assert synergy["synergy_shuffled"]["value"] < 0.5, "chance agreement is no synergy"


@only_in("learning")
@pytest.mark.learning
@pytest.mark.slow
def test_the_bundled_model_has_its_committed_figures(cli: Cli) -> None:
    """Greedy figures lie in the committed intervals, and leave room for alignment."""
    done = cli("run", "--model", "micro", "--json")
    assert done.code == 0, done.err
    rebuilt = {
        f"{task}:{name}": metric
        for task, result in done.json["tasks"].items()
        for name, metric in result["metrics"].items()
    } | done.json["aggregates"]
    committed = json.loads((BUNDLED / FIGURES).read_bytes())
    assert len(committed) > 20
    assert disagreements(committed, rebuilt) == []
    assert 0.72 <= rebuilt["micro/selection:selection"]["value"] <= 0.88
    assert 0.42 <= rebuilt["micro/synergy:synergy"]["value"] <= 0.58
    seen = done.json["tasks"]["micro/selection"]["groups"]["split"]
    assert set(seen) == {"seen", "held_out"}


@pytest.mark.slow
def test_micro_quick_takes_at_most_20_seconds(cli: Cli) -> None:
    start = time.monotonic()
    assert cli("run", "--model", "micro", "--suite", "micro_quick", "--json").code == 0
    assert time.monotonic() - start < 20


def _answers(run: Path, task: str) -> dict[str, list[str]]:
    return {
        record.sample_id: [getattr(p, "text", None) or p.sha256 for p in record.parts]  # type: ignore[union-attr]
        for record in read_run(run, task)
    }


@pytest.mark.slow
def test_sampling_depends_on_the_seed_and_on_nothing_else(cli: Cli, tmp_path: Path) -> None:
    """Not on the batch, not on the order, not on what other tasks are in the run."""
    base = ["run", "--model", "micro", "--limit", "24", "--temperature", "1", "--json", "--tasks"]
    for name, more in {
        "a": ["synergy"],
        "b": ["synergy", "--model-arg", "batch_size=5"],
        "c": ["selection,synergy"],
        "d": ["synergy", "--seed", "1"],
    }.items():
        assert cli(*base, *more, "--out", name).code == 0
    answers = {name: _answers(tmp_path / name, "micro/synergy") for name in "abcd"}
    assert answers["a"] == answers["b"] == answers["c"]
    assert answers["a"] != answers["d"]


@pytest.mark.slow
def test_repeats_differ_at_temperature_and_are_averaged(cli: Cli, tmp_path: Path) -> None:
    command = ["run", "--model", "micro", "--tasks", "synergy", "--limit", "12", "--temperature", "1"]
    done = cli(*command, "--repeats", "3", "--json", "--out", "r")
    metric = done.json["tasks"]["micro/synergy"]["metrics"]["synergy"]
    assert metric["n"] == 12
    records = read_run(tmp_path / "r", "micro/synergy")
    assert sorted({r.repeat for r in records}) == [0, 1, 2]
    texts = {(r.sample_id, tuple(getattr(p, "sha256", "") for p in r.parts)) for r in records}
    assert len(texts) > 12


def test_the_page_shows_media_and_escapes_text(cli: Cli, tmp_path: Path) -> None:
    rows = _rows("micro/selection", 30, tmp_path)
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    rows[0]["parts"] = [{"modality": "text", "text": hostile}]
    write_jsonl(tmp_path / "gold.jsonl", rows)
    command = ["score", "--outputs", "gold.jsonl", "--tasks", "micro/selection", "--first", "30"]
    done = cli(*command, "--out", "run")
    assert done.code == 0, done.err
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page
    sources = [s.split('"')[0] for s in page.split('src="')[1:]]
    assert len(sources) >= 5
    assert all((tmp_path / "run" / source).is_file() for source in sources)


def test_a_micro_checkpoint_elsewhere_is_recognised(cli: Cli, tmp_path: Path) -> None:
    for file in BUNDLED.iterdir():
        (tmp_path / "ckpt").mkdir(exist_ok=True)
        (tmp_path / "ckpt" / file.name).write_bytes(file.read_bytes())
    done = cli("run", "--model", "ckpt", "--tasks", "synergy", "--limit", "4", "--json")
    assert done.code == 0, done.err
    assert list(done.json["tasks"]) == ["micro/synergy"]
    assert done.json["model"] == "ckpt"


def test_a_prompt_medium_that_micro_cannot_hear_fails_that_sample_only(cli: Cli, tmp_path: Path) -> None:
    """A picture that is none of the micro world: the sample is recorded as failed, the rest is fine."""
    folder = tmp_path / "mine" / "odd"
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(
        "version: 1\ntitle: Odd\ndescription: One odd medium.\nlicence: CC0-1.0\n"
        "inputs: [text, image]\noutputs: [text]\njudges: [selection_contract]\nprimary: selection\n"
        "contract: {required: [text]}\n"
    )
    Image.new("RGB", (40, 20), "red").save(folder / "odd.png")
    odd = [{"modality": "image", "path": "odd.png"}, {"modality": "text", "text": "what colour is it?"}]
    plain = [{"modality": "text", "text": "which pitch belongs to the top row?"}]
    write_jsonl(
        folder / "samples.jsonl",
        [
            {"id": "odd", "messages": [{"role": "user", "parts": odd}]},
            *({"id": f"p{i}", "messages": [{"role": "user", "parts": plain}]} for i in range(10)),
        ],
    )
    done = cli("run", "--model", "micro", "--tasks", "mine/odd", "--include", "mine", "--json")
    assert done.code == 0, done.err
    assert done.json["tasks"]["mine/odd"]["metrics"]["selection"]["n"] == 11
    assert done.json["tasks"]["mine/odd"]["failed"] == 1
