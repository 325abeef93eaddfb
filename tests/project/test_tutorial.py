"""The benchmark that docs/adding_a_benchmark.md adds: its own scoring code tells colours apart.

That its commands run, in the order of the page, is tested with those of all pages.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.helpers import Cli, png, write_jsonl
from tests.support.pages import File, steps
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "adding_a_benchmark.md"


def add_benchmark(folder: Path) -> list[dict[str, Any]]:
    """Writes the files of the page, and returns its samples."""
    for step in steps(PAGE):
        if isinstance(step, File):
            path = folder / step.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.content, "utf-8")
    lines = (folder / "mine/colours/samples.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def score(
    cli: Cli, folder: Path, samples: list[dict[str, Any]], colours: list[tuple[int, int, int]]
) -> Any:
    rows = []
    for sample, colour in zip(samples, colours, strict=True):
        (folder / f"{sample['id']}.png").write_bytes(png(colour))
        parts = [{"modality": "image", "path": f"{sample['id']}.png"}]
        rows.append({"sample_id": sample["id"], "parts": parts})
    write_jsonl(folder / "answers.jsonl", rows)
    command = ["score", "--outputs", "answers.jsonl", "--tasks", "mine/colours", "--include", "."]
    assert cli(*command, "--out", "refused").code == 2
    result = cli(*command, "--allow-code", "--out", "run", "--json")
    assert result.code == 0, result.err
    return {name: m["value"] for name, m in result.json["tasks"]["mine/colours"]["metrics"].items()}


def test_the_right_colours_score_and_the_control_falls(cli: Cli, tmp_path: Path) -> None:
    samples = add_benchmark(tmp_path)
    found = score(cli, tmp_path, samples, [tuple(s["targets"]["colour"]) for s in samples])
    assert found["colour"] > 0.95
    assert found["colour_shuffled"] < 0.1


def test_the_colours_of_other_prompts_score_in_the_control_alone(cli: Cli, tmp_path: Path) -> None:
    samples = add_benchmark(tmp_path)
    colours = [tuple(s["targets"]["colour"]) for s in samples]
    found = score(cli, tmp_path, samples, [*colours[1:], colours[0]])
    assert found["colour"] < 0.1
    assert found["colour_shuffled"] > 0.95


def test_a_grey_picture_scores_nothing(cli: Cli, tmp_path: Path) -> None:
    samples = add_benchmark(tmp_path)
    found = score(cli, tmp_path, samples, [(90, 90, 90)] * len(samples))
    assert found["colour"] == found["colour_shuffled"] == 0
