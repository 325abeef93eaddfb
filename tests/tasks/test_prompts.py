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
    whole = ["score", "--outputs", "my prompts", "--tasks", "mine/asks", "--include", "mine"]
    assert "holds exported prompts: score my prompts/answers.jsonl" in cli(*whole).err
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


def test_a_share_of_the_prompts(cli: Cli, tmp_path: Path) -> None:
    """The same options as those of `run` choose the same samples, and stand in the command to score."""
    yaml = TASK_YAML + "group_by: [kind]\n"
    samples = [text_sample(f"s{i}", metadata={"kind": "ab"[i // 6], "n": i % 2}) for i in range(12)]
    make_task(tmp_path, "mine/asks", samples, yaml)
    make_task(tmp_path, "mine/other", samples[:2], yaml)
    for number, (options, expected) in enumerate(
        [
            (["--first", "2"], ["s0", "s1"]),
            (["--where", "kind=b", "--where", "n=1"], ["s7", "s9", "s11"]),
            (["--limit", "4"], None),
            (["--where", "kind=b", "--limit", "2"], None),
        ]
    ):
        command = ["tasks", "export", "prompts", "mine/asks", "--include", "mine", *options]
        out = cli(*command, "--out", f"out {number}")
        assert out.code == 0, out.err
        answers = rows(tmp_path / f"out {number}" / "answers.jsonl")
        ids = [row["id"] for row in answers]
        assert expected is None or ids == expected
        lines = [json.dumps({**row, "response": "Paris"}) + "\n" for row in answers]
        (tmp_path / f"out {number}" / "answers.jsonl").write_text("".join(lines))
        [score] = [line.strip() for line in out.out.splitlines() if line.startswith("  eval-anything")]
        done = cli(*shlex.split(score)[1:], "--out", f"run {number}", "--json")
        assert done.code == 0, done.err
        assert done.json["tasks"]["mine/asks"]["samples"] == len(ids) > 0
    assert len(rows(tmp_path / "out 2" / "answers.jsonl")) == 4
    groups = [
        row["id"] in {f"s{i}" for i in range(6)} for row in rows(tmp_path / "out 2" / "answers.jsonl")
    ]
    assert sum(groups) == 2, "a draw from both groups"
    assert (
        "samples: 4 of 12 of mine/asks; drawn from all groups"
        in cli(
            *(
                "tasks",
                "export",
                "prompts",
                "mine/asks",
                "--include",
                "mine",
                "--limit",
                "4",
                "--out",
                "a",
            )
        ).out
    )
    wrong = cli(
        "tasks", "export", "prompts", "mine/asks", "--include", "mine", "--where", "kind=c", "--out", "b"
    )
    assert (wrong.code, (tmp_path / "b").exists()) == (2, False)
    wrong = cli(
        "tasks", "export", "lm_eval", "mine/asks", "--include", "mine", "--first", "2", "--out", "b"
    )
    assert "--first: lm_eval draws samples itself" in wrong.err


def test_the_limit_of_a_suite(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path, "mine/asks", [text_sample(f"s{i}") for i in range(5)])
    suite = "title: Quick\ndescription: Some.\ntasks: [mine/asks]\nlimit: 2\n"
    (tmp_path / "mine" / "quick").mkdir()
    (tmp_path / "mine" / "quick" / "suite.yaml").write_text(suite)
    out = cli("tasks", "export", "prompts", "quick", "--include", "mine", "--out", "out")
    assert "mine/asks: 2 prompts" in out.out, out.err
    [score] = [line.strip() for line in out.out.splitlines() if line.startswith("  eval-anything")]
    assert "no output for 2 of 2 samples" in cli(*shlex.split(score)[1:], "--out", "run").err


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
