"""Runs over the whole open suite: saved answers, a judge model, a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.helpers import Cli, mp4, png, wav, write_jsonl
from tests.support.judge_server import Asked, judge_server
from tests.support.open_suite import INSTRUCTED, TASKS, Row, asked_of, rows

GROUP = "open/instruction_following"


def answer_to(row: Row) -> dict[str, object]:
    """Parts of the kinds that are asked for, whatever they show; short answers are right."""
    files = {"image": "a.png", "audio": "a.wav", "video": "a.mp4"}
    text = {"modality": "text", "text": row["targets"].get("answer", "Some words.")}
    *before, last = [
        [text if m == "text" else {"modality": m, "path": files[m]} for m in turn]
        for turn in asked_of(row)
    ]
    return {"parts": last, **({"turns": before} if before else {})}


def replay(folder: Path, limit: int | None = None) -> Path:
    (folder / "a.png").write_bytes(png(noise=1))
    (folder / "a.wav").write_bytes(wav())
    (folder / "a.mp4").write_bytes(mp4())
    answers = [
        {"task": f"open/{task}", "sample_id": row["id"], **answer_to(row)}
        for task in TASKS
        for row in rows(task)[:limit]
    ]
    return write_jsonl(folder / "answers.jsonl", answers)


def test_saved_answers_are_scored_without_a_judge_model(cli: Cli, tmp_path: Path) -> None:
    path = replay(tmp_path)
    result = cli("score", "--outputs", path, "--tasks", "open", "--out", "run", "--json")
    assert result.code == 0, result.err
    tasks = result.json["tasks"]
    assert list(tasks) == [*(f"open/{task}" for task in TASKS)]
    assert tasks["open/selection"]["metrics"]["selection"]["value"] == 1
    assert tasks["open/synergy"]["metrics"]["selection"]["value"] == 1
    assert tasks["open/synergy"]["metrics"]["synergy"]["value"] is None
    assert tasks["open/understanding"]["metrics"]["correct"]["value"] == 1
    assert tasks["open/understanding"]["metrics"]["guessed"]["value"] == 1
    assert tasks["open/understanding"]["metrics"]["gap"]["value"] == 0
    assert tasks["open/interleaved"]["metrics"]["structure"]["value"] == 1
    assert tasks["open/interleaved"]["metrics"]["structure_gain"]["value"] > 0.3
    assert tasks["open/cycle"]["metrics"]["across"]["value"] == 1
    assert tasks["open/cycle"]["metrics"]["right"]["value"] == 1
    assert tasks["open/cycle"]["metrics"]["across_shuffled"]["value"] == 0
    assert tasks["open/multi_turn"]["metrics"]["turn_selection"]["value"] == 1
    assert tasks["open/multi_turn"]["metrics"]["recall"]["value"] == 1
    for name in ("interleaved", "cycle", "multi_turn"):
        metrics = tasks[f"open/{name}"]["metrics"]
        assert metrics["content"]["unscored"] == metrics["content"]["n"] == len(rows(name))
        assert metrics["valid_output"]["value"] == 1
    for modality in INSTRUCTED:
        metric = tasks[f"open/instruction_{modality}"]["metrics"][f"if_{modality}"]
        assert metric["unscored"] == metric["n"] == len(rows(f"instruction_{modality}"))


def always_yes(asked: Asked) -> tuple[int, str]:
    """A judge model that answers yes, 7, or the first choice, whatever form it is asked for."""
    form = asked.body["response_format"]["json_schema"]["schema"]["properties"]
    if "choice" in form:
        return 200, json.dumps({"mark": "@MARK@", "choice": form["choice"]["enum"][0]})
    asks = form["grades"]["properties"]
    grades = {name: schema["enum"][0] if "enum" in schema else 7 for name, schema in asks.items()}
    return 200, json.dumps({"mark": "@MARK@", "explanation": "so it is", "grades": grades})


def test_a_judge_model_scores_every_task(cli: Cli, tmp_path: Path) -> None:
    path = replay(tmp_path, 3)
    named = ["content_checklist", "content_shuffled", "synergy_rubric", "understanding_rubric"]
    named += [f"instruction_{m}" for m in ("text", "image", "audio_probe", "video_probe")]
    with judge_server() as server:
        server.reply = always_yes
        judges = [word for name in named for word in ("--judge", f"{name}={server.spec}")]
        command = ["score", "--outputs", path, "--tasks", "open", "--first", "3", "--out", "run"]
        result = cli(*command, *judges, "--json")
    values = {n: m for task in result.json["tasks"].values() for n, m in task["metrics"].items()}
    for name in (
        "content",
        "content_shuffled",
        "synergy",
        "understanding_quality",
        "if_text",
        "if_image",
    ):
        assert values[name]["unscored"] == 0, name
        assert all(c["sample_id"] for c in _judged(tmp_path / "run", name)), name
    for name in ("if_audio", "if_video"):
        assert values[name]["value"] is not None
    assert "Open_instruction_following" in json.dumps(result.json)


def _judged(run: Path, metric: str) -> list[Row]:
    records = [json.loads(line) for p in run.rglob("records.jsonl") for line in p.open("rb")]
    found = [r for r in records if metric in r["scores"]]
    assert found
    assert all(r["scores"][metric]["value"] is not None for r in found)
    return found


def test_a_checkpoint_runs_the_suite_without_a_judge(cli: Cli, tiny: Path) -> None:
    command = ["run", "--model", tiny, "--tasks", "open", "--first", "2", "--max-failed", "1"]
    result = cli(*command, "--model-arg", "max_new_tokens=4", "--out", "run", "--json")
    assert result.code == 0, result.err
    tasks = result.json["tasks"]
    assert {name: task["samples"] for name, task in tasks.items()} == {f"open/{t}": 2 for t in TASKS}
    # It takes text alone, so questions about media are failures that count, not gaps.
    assert tasks["open/understanding"]["failed"] == 2
    assert tasks["open/understanding"]["metrics"]["correct"]["value"] == 0


def test_instruction_following_is_one_name_for_its_four_tasks(cli: Cli, tmp_path: Path) -> None:
    path = replay(tmp_path, 2)
    four = [f"open/instruction_{m}" for m in INSTRUCTED]
    with judge_server() as server:
        server.reply = always_yes
        named = [f"instruction_{m}" for m in ("text", "image", "audio_probe", "video_probe")]
        judges = [word for name in named for word in ("--judge", f"{name}={server.spec}")]
        command = ["score", "--outputs", path, "--first", "2", *judges, "--json"]
        asked = cli(*command, "--tasks", GROUP, "--out", "full").json
        bare = cli(*command, "--tasks", "instruction_following", "--suite", "open", "--out", "bare").json
    assert list(asked["tasks"]) == list(bare["tasks"]) == four
    assert list(asked["aggregates"]) == ["open/Open_instruction_following"]
    assert asked["aggregates"] == bare["aggregates"]
    shown = cli("tasks", "show", GROUP, "--json").json
    assert [task["name"] for task in shown["tasks"]] == four
    assert GROUP in cli("tasks", "list").out
    wrong = cli("tasks", "show", "open/instruction_folowing")
    assert wrong.code == 2
    assert GROUP in wrong.err


def test_a_group_can_be_added_to_a_run_of_other_tasks(cli: Cli, tmp_path: Path) -> None:
    path = replay(tmp_path, 1)
    command = ["score", "--outputs", path, "--first", "1", "--out", "run", "--json"]
    assert list(cli(*command, "--tasks", "open/cycle").json["tasks"]) == ["open/cycle"]
    both = cli(*command, "--tasks", f"{GROUP},open/cycle").json
    assert set(both["tasks"]) == {"open/cycle", *(f"open/instruction_{m}" for m in INSTRUCTED)}
