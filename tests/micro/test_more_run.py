"""The suite `micro_more` through the whole engine: gold answers, and the bundled model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from eval_anything.content import Sample, TextPart
from eval_anything.micro.making.tasks import SCRIPTED as PLANS
from eval_anything.micro.world.gold import part_from_json
from eval_anything.micro.world.render import EXTENSIONS
from eval_anything.runs.directory import read_run
from eval_anything.tasks.registry import Registry
from tests.micro.conftest import render_items, samples
from tests.support.helpers import Cli, write_jsonl
from tests.support.paths import ROOT

LOWER = {"redundant", "guessed"}
PAGE = ROOT / "docs" / "micro.md"


def _row(task: str, sample: Sample, folder: Path) -> dict[str, Any]:
    """The right answers to a sample as a row of a replay file, media written into the folder."""

    def parts(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        for part in render_items(map(part_from_json, items)):
            if isinstance(part, str):
                made.append({"modality": "text", "text": part})
            else:
                path = folder / f"{hash(part.data):x}.{EXTENSIONS[part.modality]}"
                path.write_bytes(part.data)
                made.append({"modality": part.modality, "path": path.name})
        return made

    turns = {"turns": [parts(items) for items in sample.targets.get("gold_turns", ())]}
    more = turns if sample.turns else {}
    return {
        "task": f"micro/{task}",
        "sample_id": sample.id,
        "parts": parts(sample.targets["gold"]),
        **more,
    }


@pytest.mark.slow
def test_gold_answers_score_the_best_value(cli: Cli, tmp_path: Path) -> None:
    """A hundred samples a task; all of them are scored without the engine in test_more_tasks.py."""
    write_jsonl(tmp_path / "gold.jsonl", [_row(t, s, tmp_path) for t in PLANS for s in samples(t)[:100]])
    done = cli("score", "--outputs", "gold.jsonl", "--tasks", "micro_more", "--first", "100", "--json")
    assert done.code == 0, done.err
    assert list(done.json["tasks"]) == [f"micro/{task}" for task in PLANS]
    for task, result in done.json["tasks"].items():
        assert result["samples"] == 100
        assert set(result["groups"]["split"]) == {"seen", "held_out"}
        for name, metric in result["metrics"].items():
            if name.endswith("shuffled"):
                assert metric["value"] < 0.65, f"{task}:{name} leaves no room above chance"
            elif not name.endswith("gain"):
                best = 0.0 if name in LOWER else 1.0
                assert metric["value"] == pytest.approx(best), f"{task}:{name}"
                assert (metric["failed"], metric["unscored"]) == (0, 0)


def test_the_suites_are_apart() -> None:
    registry = Registry()
    assert registry.suite("micro_more").tasks == tuple(f"micro/{task}" for task in PLANS)
    assert not {f"micro/{task}" for task in PLANS} & set(registry.suite("micro").tasks)


def _shown() -> dict[str, tuple[float, float, float, int]]:
    """The figures on the page: value, interval and n by `task:metric`."""
    rows = re.findall(
        r"^\| (micro/\w+) \| `(\w+)` \| (-?[\d.]+) \| (-?[\d.]+) .. (-?[\d.]+) \| (\d+) \|$",
        PAGE.read_text("utf-8"),
        re.MULTILINE,
    )
    return {f"{task}:{name}": (float(v), float(a), float(b), int(n)) for task, name, v, a, b, n in rows}


@pytest.mark.slow
def test_the_bundled_model_has_the_figures_on_the_page(cli: Cli, tmp_path: Path) -> None:
    """On one whole task; in the interval, since processors round differently."""
    shown = _shown()
    assert {name.partition(":")[0] for name in shown} == {f"micro/{task}" for task in PLANS}
    done = cli("run", "--model", "micro", "--tasks", "micro/ablation", "--json")
    assert done.code == 0, done.err
    for name, metric in done.json["tasks"]["micro/ablation"]["metrics"].items():
        value, low, high, n = shown[f"micro/ablation:{name}"]
        assert low <= metric["value"] <= high, name
        assert low <= value <= high
        assert metric["n"] == n
    records = read_run(tmp_path / "runs" / "micro", "micro/ablation")
    assert {len(record.turns) for record in records} == {2}


@pytest.mark.slow
def test_turns_are_drawn_from_the_seed_and_nothing_else(cli: Cli, tmp_path: Path) -> None:
    """Not from the batch, nor from what else is in the run."""
    base = ["run", "--model", "micro", "--limit", "6", "--temperature", "1", "--max-failed", "1"]
    for name, more in {
        "a": ["--tasks", "micro/multi_turn"],
        "b": ["--tasks", "micro/multi_turn", "--model-arg", "batch_size=5"],
        "c": ["--tasks", "micro/multi_turn", "--seed", "1"],
    }.items():
        assert cli(*base, *more, "--out", name).code == 0
    said = {
        name: {
            r.sample_id: [
                [p.text if isinstance(p, TextPart) else p.sha256 for p in parts]
                for parts in (*r.turns, r.parts)
            ]
            for r in read_run(tmp_path / name, "micro/multi_turn")
        }
        for name in "abc"
    }
    assert said["a"] == said["b"]
    assert said["a"] != said["c"]
