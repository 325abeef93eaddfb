"""Saved outputs as a model: which rows are wrong, which are missing, and judging a run again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.helpers import (
    Cli,
    Result,
    answers,
    make_task,
    medium_sample,
    mp4,
    png,
    text_sample,
    wav,
    write_jsonl,
)

IDS = ["s0", "s1", "s2", "s3"]


def score(cli: Cli, *more: str | Path, outputs: str = "rows.jsonl") -> Result:
    arguments = ["--tasks", "mine/demo", "--include", "mine", "--json"]
    return cli("score", "--outputs", outputs, *(more if "--tasks" in more else [*arguments, *more]))


def records(run: Path, task: str = "mine/demo") -> dict[str, dict[str, Any]]:
    lines = (run / task / "records.jsonl").read_bytes().splitlines()
    return {row["sample_id"]: row for row in map(json.loads, lines)}


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A task of four samples, and rows that answer all."""
    write_jsonl(tmp_path / "rows.jsonl", answers(IDS))
    return make_task(tmp_path)


def test_all_rows_are_scored(cli: Cli, demo: Path) -> None:
    result = score(cli)
    assert result.code == 0
    assert result.json["model"] == "replay-rows"
    assert result.json["tasks"]["mine/demo"]["metrics"]["selection"]["n"] == 4
    same = cli(
        "run", "--model", "replay/rows.jsonl", "--tasks", "mine/demo", "--include", "mine", "--json"
    )
    assert same.json == result.json
    path = cli("run", "--model", "rows.jsonl", "--tasks", "mine/demo", "--include", "mine", "--json")
    assert path.json == result.json


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            [*answers(IDS), *answers(["s9"])],
            "rows.jsonl:5: mine/demo has no sample 's9'. Did you mean s",
        ),
        ([*answers(IDS), *answers(["s1"])], "rows.jsonl:5: mine/demo s1 is already on line 2: keep one"),
        (answers(IDS[:3]), "no output for 1 of 4 samples (mine/demo s3). Add them, let"),
        ([], "no output for 4 of 4 samples"),
        (
            answers(IDS, task="mine/dmeo"),
            "rows.jsonl:1: unknown task 'mine/dmeo'. Did you mean mine/demo",
        ),
        (
            answers(IDS, parst=1),
            "rows.jsonl:1: Object contains unknown field `parst` (and 3 more: line 2, line 3, line 4)",
        ),
        ([{"sample_id": "s0"}], 'rows.jsonl:1: a row has a "response", which is a text, or "parts"'),
        ([{"parts": []}], 'rows.jsonl:1: a row has an "id" (or "sample_id") of its sample'),
        (
            [{"sample_id": "s0", "parts": [{"modality": "image", "path": "no.png"}]}],
            "no.png does not exist",
        ),
        (
            [{"sample_id": "s0", "parts": [{"modality": "image", "path": "/etc/hostname"}]}],
            "leads outside its folder",
        ),
        (
            [{"sample_id": "s0", "parts": [{"modality": "image", "path": "../out.png"}]}],
            "leads outside its folder",
        ),
        (
            [{"sample_id": "s0", "parts": [{"modality": "image", "path": "link.png"}]}],
            "leads outside its folder",
        ),
    ],
)
def test_wrong_rows_end_with_exit_code_2_and_their_line(
    cli: Cli, demo: Path, tmp_path: Path, rows: list[dict[str, Any]], words: str
) -> None:
    (tmp_path / "link.png").symlink_to("/etc/hostname")
    write_jsonl(tmp_path / "rows.jsonl", rows)
    result = score(cli)
    assert result.code == 2
    assert result.out == ""
    assert words in result.err
    assert not (tmp_path / "runs").exists()


def test_a_line_that_is_no_json_is_named(cli: Cli, demo: Path, tmp_path: Path) -> None:
    with (tmp_path / "rows.jsonl").open("ab") as file:
        file.write(b'{"sample_id": "s0", "par')
    result = score(cli)
    assert result.code == 2
    assert "rows.jsonl:5: " in result.err


def test_several_wrong_rows_are_named_at_once(cli: Cli, demo: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", answers(["s0", "x", "s1", "s1", "y"]))
    lines = score(cli).err.strip().splitlines()
    assert [line.split("rows.jsonl:")[1].split(":")[0] for line in lines] == ["2", "4"]
    assert lines[0].endswith("(and 1 more: line 5)"), "equal mistakes are one"


def test_missing_rows_score_the_floor_if_allowed(cli: Cli, demo: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", answers(IDS[:3]))
    result = score(cli, "--allow-missing", "--max-failed", "0.25", "--out", "run")
    assert result.code == 0
    selection = result.json["tasks"]["mine/demo"]["metrics"]["selection"]
    assert (selection["value"], selection["n"], selection["failed"]) == (0.75, 4, 1)
    assert records(tmp_path / "run")["s3"]["error"]["kind"] == "missing_output"
    assert score(cli, "--allow-missing", "--out", "other").code == 1


def test_the_first_samples_need_the_first_rows_only(cli: Cli, demo: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", answers(IDS[:2]))
    assert score(cli, "--first", "2").code == 0
    assert score(cli, "--first", "3", "--out", "run").code == 2


def test_repeats_are_rows_of_their_own(cli: Cli, demo: Path, tmp_path: Path) -> None:
    rows = [*answers(IDS), *answers(IDS, "Rome", repeat=1)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert score(cli, "--repeats", "2", "--out", "run").code == 0
    lines = (tmp_path / "run/mine/demo/records.jsonl").read_text().splitlines()
    assert len(lines) == 8
    found = {(r["sample_id"], r["repeat"], r["parts"][0]["text"]) for r in map(json.loads, lines)}
    assert found == {(i, k, t) for i in IDS for k, t in ((0, "Paris"), (1, "Rome"))}


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two tasks of the same suite, with the same sample ids."""
    make_task(tmp_path, "mine/demo", [text_sample("s0"), text_sample("s1")])
    make_task(tmp_path, "mine/more", [text_sample("s0"), text_sample("s2")])
    return tmp_path / "mine"


def test_rows_of_several_tasks_name_theirs_in_full_or_bare(cli: Cli, two: Path, tmp_path: Path) -> None:
    rows = [*answers(["s0", "s1"], task="mine/demo"), *answers(["s0", "s2"], "Rome", task="more")]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    both = ["--tasks", "mine", "--include", two, "--json", "--out", "run"]
    assert score(cli, *both).code == 0
    assert records(tmp_path / "run", "mine/demo")["s0"]["parts"][0]["text"] == "Paris"
    assert records(tmp_path / "run", "mine/more")["s0"]["parts"][0]["text"] == "Rome"


def test_rows_of_several_tasks_must_name_theirs(cli: Cli, two: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", answers(["s0", "s1"]))
    result = score(cli, "--tasks", "mine", "--include", two)
    assert result.code == 2
    assert "rows.jsonl:1: several tasks are scored" in result.err


def test_rows_of_other_known_tasks_are_passed_over(cli: Cli, two: Path, tmp_path: Path) -> None:
    rows = [*answers(["s0", "s1"], task="mine/demo"), *answers(["s0", "s2"], task="mine/more")]
    write_jsonl(tmp_path / "rows.jsonl", [*rows, *answers(["open-sel-01"], task="open/selection")])
    result = score(cli)
    assert result.code == 0
    assert list(result.json["tasks"]) == ["mine/demo"]


def test_a_run_goes_on_with_more_tasks_of_the_same_file(cli: Cli, two: Path, tmp_path: Path) -> None:
    rows = [*answers(["s0", "s1"], task="mine/demo"), *answers(["s0", "s2"], task="mine/more")]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert score(cli, "--out", "run").code == 0
    before = (tmp_path / "run/mine/demo/records.jsonl").read_bytes()
    whole = score(cli, "--tasks", "mine", "--include", two, "--json", "--out", "run")
    assert whole.code == 0, whole.err
    assert set(whole.json["tasks"]) == {"mine/demo", "mine/more"}
    assert (tmp_path / "run/mine/demo/records.jsonl").read_bytes() == before


def media_rows(tmp_path: Path) -> list[dict[str, Any]]:
    (tmp_path / "a.png").write_bytes(png(noise=1))
    (tmp_path / "b.png").write_bytes(png(noise=2))
    (tmp_path / "a.wav").write_bytes(wav())
    (tmp_path / "a.mp4").write_bytes(mp4())
    parts = [
        {"modality": "image", "path": "b.png"},
        {"modality": "text", "text": "first"},
        {"modality": "audio", "path": "a.wav"},
        {"modality": "image", "path": "a.png"},
        {"modality": "text", "text": "ü\u2028 last"},
        {"modality": "video", "path": "a.mp4"},
        {"modality": "image", "path": "b.png"},
    ]
    return [{"sample_id": i, "parts": parts} for i in IDS]


def test_media_are_kept_in_order_and_once(cli: Cli, demo: Path, tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", media_rows(tmp_path))
    assert score(cli, "--out", "run").code == 0
    parts = records(tmp_path / "run")["s2"]["parts"]
    expected = json.loads(rows.read_text().splitlines()[0])["parts"]
    assert [p["modality"] for p in parts] == [p["modality"] for p in expected]
    for found, given in zip(parts, expected, strict=True):
        if "path" in given:
            data = (tmp_path / given["path"]).read_bytes()
            assert found["sha256"] == hashlib.sha256(data).hexdigest()
            assert (tmp_path / "run" / found["path"]).read_bytes() == data
        else:
            assert found["text"] == given["text"]
    kept = [p for p in (tmp_path / "run" / "media").rglob("*") if p.is_file()]
    assert len(kept) == 4
    assert records(tmp_path / "run")["s0"]["scores"]["redundant"]["value"] == 4


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.png", b"", "is empty"),
        ("a.png", png(size=48, noise=1)[:2000], "does not decode"),
        ("a.png", wav(), "should be image, but its bytes are audio/wav"),
        ("a.png", b"I am sorry, I cannot draw.", "not a known image format"),
        ("a.jpg", png(), "named like image/jpeg"),
    ],
)
def test_a_broken_medium_is_a_failed_sample_and_no_crash(
    cli: Cli, demo: Path, tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(data)
    broken = {"sample_id": "s3", "parts": [{"modality": "image", "path": name}]}
    write_jsonl(tmp_path / "rows.jsonl", [*answers(IDS[:3]), broken])
    result = score(cli, "--out", "run", "--max-failed", "0.3")
    assert result.code == 0
    selection = result.json["tasks"]["mine/demo"]["metrics"]["selection"]
    assert (selection["value"], selection["n"], selection["failed"]) == (0.75, 4, 1)
    error = records(tmp_path / "run")["s3"]["error"]
    assert error["kind"] == "invalid_output"
    assert reason in error["message"]


def test_blank_and_empty_answers_are_failed(cli: Cli, demo: Path, tmp_path: Path) -> None:
    rows = [*answers(["s0"]), *answers(["s1"], ""), *answers(["s2"], " \n\t")]
    write_jsonl(tmp_path / "rows.jsonl", [*rows, {"sample_id": "s3", "parts": []}])
    result = score(cli, "--out", "run")
    assert result.code == 1
    errors = {i: r["error"] and r["error"]["kind"] for i, r in records(tmp_path / "run").items()}
    assert errors == {"s0": None, **dict.fromkeys(IDS[1:], "empty_output")}


def test_a_run_that_is_judged_again_equals_its_first_scores(
    cli: Cli, demo: Path, tmp_path: Path
) -> None:
    rows = media_rows(tmp_path)[:3]
    (tmp_path / "broken.png").write_bytes(b"text")
    rows.append({"sample_id": "s3", "parts": [{"modality": "image", "path": "broken.png"}]})
    write_jsonl(tmp_path / "rows.jsonl", rows)
    first = score(cli, "--out", "one")
    again = score(cli, "--out", "two", outputs="one")
    assert (first.code, again.code) == (1, 1)
    assert again.json["tasks"] == first.json["tasks"]
    assert again.json["cost"]["tokens"] == first.json["cost"]["tokens"]
    assert {i: r["scores"] for i, r in records(tmp_path / "two").items()} == {
        i: r["scores"] for i, r in records(tmp_path / "one").items()
    }
    assert {i: r["parts"] for i, r in records(tmp_path / "two").items()} == {
        i: r["parts"] for i, r in records(tmp_path / "one").items()
    }


def test_a_run_without_the_task_has_missing_outputs(cli: Cli, two: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", answers(["s0", "s1"]))
    assert score(cli, "--out", "one").code == 0
    result = score(cli, "--tasks", "mine/more", "--include", two, "--out", "two", outputs="one")
    assert result.code == 2
    assert "no output for 2 of 2 samples" in result.err


def test_other_outputs_are_another_model(cli: Cli, demo: Path, tmp_path: Path) -> None:
    assert score(cli, "--out", "run").code == 0
    write_jsonl(tmp_path / "rows.jsonl", answers(IDS, "Rome"))
    result = score(cli, "--out", "run")
    assert result.code == 2
    assert "the model's weights" in result.err


def test_another_medium_under_the_same_name_is_another_model(
    cli: Cli, demo: Path, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "rows.jsonl", media_rows(tmp_path))
    assert score(cli, "--out", "run").code == 0
    (tmp_path / "a.png").write_bytes(png(noise=3))
    result = score(cli, "--out", "run")
    assert result.code == 2
    assert "the model's weights" in result.err


def test_a_medium_of_the_prompt_that_changes_is_another_task(cli: Cli, tmp_path: Path) -> None:
    folder = make_task(tmp_path, samples=[medium_sample("s0", "image", "a.png")], a__png=png())
    write_jsonl(tmp_path / "rows.jsonl", answers(["s0"]))
    assert score(cli, "--out", "run").code == 0
    (folder / "a.png").write_bytes(png((0, 0, 255)))
    result = score(cli, "--out", "run")
    assert result.code == 2
    assert "mine/demo: samples" in result.err


@pytest.mark.parametrize("outputs", ["nowhere.jsonl", "nowhere"])
def test_outputs_that_are_not_there(cli: Cli, demo: Path, outputs: str) -> None:
    result = score(cli, outputs=outputs)
    assert result.code == 2
    assert "there is no such file, folder or run" in result.err


def test_outputs_that_are_neither(cli: Cli, demo: Path, tmp_path: Path) -> None:
    result = score(cli, outputs="/dev/null")
    assert result.code == 2
    assert "neither a file, nor a folder, nor a run" in result.err
