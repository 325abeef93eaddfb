"""Prompts as files: what a model is to be asked goes out, and answers come back."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from tests.support.helpers import TASK_YAML, Cli, make_task, medium_sample, png, text_sample

IMAGE = TASK_YAML.replace("contract: {required: [text]}", "contract: {required: [image]}")
TEMPLATE = TASK_YAML + "template: prompt.txt\n"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_prompts_go_out_and_answers_come_back(cli: Cli, tmp_path: Path) -> None:
    turn = {"parts": [{"modality": "text", "text": "Sure?"}, {"modality": "text", "from_turn": 1}]}
    make_task(tmp_path, "mine/asks", [text_sample("a", "Why?")], TEMPLATE, prompt__txt="Q: {{ text }}")
    make_task(tmp_path, "mine/sees", [medium_sample("b", "image", "b.png")], IMAGE, b__png=png())
    make_task(tmp_path, "mine/talks", [text_sample("c", turns=[turn], targets={"answer": "secret"})])
    names = "mine/asks,mine/sees,mine/talks"
    out = cli("tasks", "export", "prompts", names, "--include", "mine", "--out", "my prompts")
    assert out.code == 0, out.err
    folder = tmp_path / "my prompts"
    asks, sees, talks = rows(folder / "prompts.jsonl")
    assert asks["messages"][0]["parts"] == [{"modality": "text", "text": "Q: Why?"}]
    assert (asks["task"], asks["id"], asks["required"]) == ("mine/asks", "a", ["text"])
    medium = sees["messages"][0]["parts"][1]
    assert (folder / medium["path"]).read_bytes() == png()
    assert talks["turns"] == [{"fresh": False, **turn}]
    assert "secret" not in (folder / "prompts.jsonl").read_text()
    empty = rows(folder / "answers.jsonl")
    assert empty == [
        {"task": "mine/asks", "id": "a", "response": None},
        {"task": "mine/sees", "id": "b", "parts": None},
        {"task": "mine/talks", "id": "c", "turns": [""], "response": None},
    ]
    # Nothing is answered yet; then all is.
    [command] = [line.strip() for line in out.out.splitlines() if line.startswith("  eval-anything")]
    words = [*shlex.split(command)[1:], "--out", "run"]
    assert "no output for 3 of 3 samples" in cli(*words).err
    (folder / "drawn.png").write_bytes(png((0, 0, 255)))
    empty[0]["response"] = "Because."
    empty[1]["parts"] = [{"modality": "image", "path": "drawn.png"}]
    empty[2] |= {"turns": ["Paris"], "response": "Yes"}
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in empty))
    done = cli(*words, "--json")
    assert done.code == 0, done.err
    assert {t: r["metrics"]["selection"]["value"] for t, r in done.json["tasks"].items()} == {
        "mine/asks": 1.0,
        "mine/sees": 1.0,
        "mine/talks": 1.0,
    }


def test_answers_are_never_overwritten(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path)
    command = ["tasks", "export", "prompts", "mine/demo", "--include", "mine", "--out", "out"]
    assert cli(*command, "--json").json["tasks"] == {"mine/demo": 4}
    again = cli(*command)
    assert again.code == 2
    assert "--out out holds files, perhaps answers" in again.err


def test_whole_suites_and_unknown_names(cli: Cli, tmp_path: Path) -> None:
    done = cli("tasks", "export", "prompts", "open/selection", "multi_turn", "--out", "out", "--json")
    assert list(done.json["tasks"]) == ["open/selection", "open/multi_turn"]
    unknown = cli("tasks", "export", "prompts", "open/selektion", "--out", "other")
    assert unknown.code == 2
    assert "Did you mean open/selection" in unknown.err
    assert not (tmp_path / "other").exists()
