"""Scores and aggregates of the suites amu and amg from saved outputs; the paper's printed table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from eval_anything.statistics.aggregates import amg
from eval_anything.tasks.load import load_task
from eval_anything.tasks.registry import Registry
from tests.support import official
from tests.support.helpers import Cli, mp4, png, wav, write_jsonl
from tests.support.judge_server import Asked, JudgeServer, judge_server

FOLDERS = Registry().folders
OURS = [name for name in FOLDERS if name.startswith(("amu/", "amg/"))]

LIMIT = 6
QUALITY = {"perception": 3, "reasoning": 5, "instruction-following": 6, "safety": 8}
PAIRS = {"synergy": 6, "text_image": 5, "text_audio": 4, "image_audio": 9}


def judged(asked: Asked) -> tuple[int, str]:
    """A judge with an opinion on each metric; nothing for canaries. Questions 0 are answered right."""
    schema = asked.body["response_format"]["json_schema"]["schema"]["properties"]
    if "choice" in schema:
        text = asked.content[-1]["text"]
        choice = "a dog" if "thing 0" in text else "a bird"
        letter = re.search(rf"^([A-D])\. {choice}$", text, re.M)
        assert letter is not None
        return 200, json.dumps({"mark": asked.mark, "choice": letter[1]})
    grades: dict[str, float] = {}
    for name in schema["grades"]["properties"]:
        grades[name] = PAIRS.get(name, 7)
        if name == "understanding_quality":
            rubric = re.search(r'rubric of this question: "(.*)"', asked.system)
            assert rubric is not None
            named = {"safety": 8, "instruction following": 6}
            grades[name] = named.get(rubric[1], 5 if "item 7" in str(asked.content) else 3)
    if "mine:" not in str(asked.answer):
        grades = dict.fromkeys(grades, 0)
    return 200, json.dumps({"mark": asked.mark, "explanation": "so it is", "grades": grades})


@pytest.fixture
def judge() -> Iterator[JudgeServer]:
    with judge_server() as server:
        server.reply = judged
        yield server


JUDGES = ("understanding_rubric", "synergy_pairs", "instruction_text", "instruction_image")
PROBES = ("instruction_audio_probe", "instruction_video_probe")


def judge_options(server: JudgeServer, *names: str) -> list[str]:
    return [part for name in names for part in ("--judge", f"{name}={server.spec}")]


def responses(sets: Path, folder: Path, leave_out: tuple[str, ...] = ()) -> Path:
    """Saved outputs for the first items of all tasks, with the media that each task wants; to the
    prompts of selection in turn text with image, text, nothing but a sound."""
    (folder / "i.png").write_bytes(png(size=32))
    (folder / "a.wav").write_bytes(wav())
    (folder / "v.mp4").write_bytes(mp4())
    media = {
        "i": {"modality": "image", "path": "i.png"},
        "a": {"modality": "audio", "path": "a.wav"},
        "v": {"modality": "video", "path": "v.mp4"},
    }
    rows = []
    for name in OURS:
        for number, sample in enumerate(load_task(FOLDERS[name], data=[sets]).samples[:LIMIT]):
            letters = {
                "synergy": "tia",
                "instruction_image": "ti",
                "instruction_audio": "ta",
                "instruction_video": "tv",
                "selection": ("ti", "t", "a")[number % 3],
                "per_prompt": ("ti", "tia", "t")[number % 3],
            }.get(name.partition("/")[2], "t")
            text = {"modality": "text", "text": f"mine: {name} {sample.id}"}
            parts = [text if letter == "t" else media[letter] for letter in letters]
            if f"{name} {number}" not in leave_out:
                rows.append({"task": name, "sample_id": sample.id, "parts": parts})
    return write_jsonl(folder / "outputs.jsonl", rows)


@pytest.mark.slow
def test_all_scores_and_aggregates_from_saved_outputs(
    cli: Cli, sets: Path, tmp_path: Path, judge: JudgeServer
) -> None:
    outputs = responses(sets, tmp_path)
    done = cli(
        *("score", "--outputs", outputs, "--tasks", "amu,amg", "--data", sets, "--json"),
        *("--first", str(LIMIT), "--out", tmp_path / "run", *judge_options(judge, *JUDGES, *PROBES)),
    )
    assert done.code == 0, done.err
    tasks, aggregates = done.json["tasks"], done.json["aggregates"]

    def value(name: str) -> float:
        task, _, metric = name.partition(":")
        found: float = tasks[task]["metrics"][metric]["value"]
        return found

    quality = {name: value(f"amu/{name}:understanding_quality") for name in ("perception", "reasoning")}
    assert quality == {"perception": 3, "reasoning": 5}
    assert value("amu/instruction_following:understanding_quality") == 6
    assert value("amu/safety:understanding_quality") == 8
    assert aggregates["amu/AMU"]["value"] == pytest.approx((3 + 5 + 6 + 8) / 4)

    select = value("amg/selection:vote_share")
    assert select == pytest.approx((0.52 + 0.6 + 0.44) / 3)
    inputs = {
        "select": select,
        "t": value("amg/instruction_text:if_text"),
        "v": value("amg/instruction_image:if_image"),
        "a": value("amg/instruction_audio:if_audio"),
        "tv": value("amg/synergy:text_image"),
        "ta": value("amg/synergy:text_audio"),
        "va": value("amg/synergy:image_audio"),
    }
    assert inputs == pytest.approx(
        {"select": select, "t": 7, "v": 7, "a": 5, "tv": 0.5, "ta": 0.4, "va": 0.9}
    )
    assert value("amg/instruction_video:if_video") == 5
    both = aggregates["amg/AMG"]["value"]
    assert both == pytest.approx(amg(inputs))
    assert both == pytest.approx(select * (7 * 0.5 + 6 * 0.4 + 6 * 0.9))
    overall = aggregates["eval_anything/Overall"]  # not the last task's score
    assert overall["value"] == pytest.approx((5.5 + both) / 2)
    assert overall["ci95"][0] <= overall["value"] <= overall["ci95"][1]

    # Ours, beside them and in none of the paper's numbers.
    assert aggregates["amg/Selection_chance_corrected"]["value"] == pytest.approx(1)
    assert value("amg/selection:brier") == pytest.approx(
        sum(sum(v**2 for v in votes.values()) - 2 * best + 1 for votes, best in zip(
            official.VOTES, (0.52, 0.6, 0.44), strict=True)) / 3
    )  # fmt: skip
    used = {ref for one in aggregates.values() for ref in one["inputs"].values()}
    assert not [ref for ref in used if "per_prompt" in ref or "brier" in ref]
    # All pairs are on one scale, by one judge.
    pairs = [
        tasks["amg/synergy"]["metrics"][name] for name in ("text_image", "text_audio", "image_audio")
    ]
    assert [pair["range"] for pair in pairs] == [[0, 1]] * 3
    # Judges see the question, its media and the references: the first implementation's did not.
    asked = [a for a in judge.asked if "What is to be seen and heard in item 0?" in str(a.content)]
    assert asked
    assert "Answer 9 to item 0." in asked[0].system
    assert {part["type"] for part in asked[0].content} >= {"text", "image_url", "input_audio"}
    # The last task alone, and again: nothing is asked twice.
    before = len(judge.asked)
    again = cli(
        *("score", "--outputs", outputs, "--tasks", "eval_anything", "--data", sets, "--json"),
        *("--first", str(LIMIT), "--out", tmp_path / "run", *judge_options(judge, *JUDGES, *PROBES)),
    )
    assert again.json["aggregates"]["eval_anything/Overall"] == overall
    assert len(judge.asked) == before


def test_items_without_an_answer_stay_in_the_mean(
    cli: Cli, sets: Path, tmp_path: Path, judge: JudgeServer
) -> None:
    outputs = responses(sets, tmp_path, ("amu/safety 0", "amg/synergy 1", "amg/selection 2"))
    done = cli(
        *("score", "--outputs", outputs, "--tasks", "amu/safety,amg/synergy,amg/selection"),
        *("--data", sets, "--first", str(LIMIT), "--allow-missing", "--max-failed", "1", "--json"),
        *judge_options(judge, *JUDGES[:2]),
    )
    assert done.code == 0, done.err
    metrics = {name: task["metrics"] for name, task in done.json["tasks"].items()}
    assert metrics["amu/safety"]["understanding_quality"]["value"] == pytest.approx(8 * 5 / 6)
    assert metrics["amg/synergy"]["text_image"]["value"] == pytest.approx(0.5 * 5 / 6)
    assert metrics["amg/selection"]["vote_share"]["value"] == pytest.approx((1.04 + 1.2 + 0.44) / 6)
    assert all(m["n"] == LIMIT for task in metrics.values() for m in task.values())


def test_per_prompt_scores_choice_following_and_synergy_of_one_answer(
    cli: Cli, sets: Path, tmp_path: Path, judge: JudgeServer
) -> None:
    outputs = responses(sets, tmp_path)
    arguments = ["score", "--outputs", outputs, "--tasks", "amg/per_prompt", "--data", sets]
    arguments += ["--first", "3", "--json"]
    judges = judge_options(judge, "synergy_pairs", "instruction_parts")
    done = cli(*arguments, "--out", tmp_path / "run", *judges)
    assert done.code == 0, done.err
    found = done.json["tasks"]["amg/per_prompt"]["metrics"]
    # ti: the best choice, (7 + 7) / 2 * 0.5; tia: .04 of .6, times the mean of its pairs; t: no vote.
    expected = [3.5, 0.04 / 0.6 * 7 * (0.5 + 0.4 + 0.9) / 3, 0.0]
    assert found["amg_per_prompt"]["value"] == pytest.approx(sum(expected) / 3)
    assert done.json["aggregates"] == {}
    without = cli(*arguments, "--out", tmp_path / "unjudged")
    assert without.code == 0, without.err
    assert "amg_per_prompt" not in without.json["tasks"]["amg/per_prompt"]["metrics"]
    assert without.json["tasks"]["amg/per_prompt"]["metrics"]["vote_share"]["value"] is not None


def test_nothing_produced_and_what_nobody_could_vote_for(cli: Cli, sets: Path, tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(mp4())
    rows = [
        {"sample_id": "u000", "parts": []},
        {"sample_id": "u001", "parts": [{"modality": "video", "path": "v.mp4"}]},
    ]
    outputs = write_jsonl(tmp_path / "outputs.jsonl", rows)
    done = cli(
        *("score", "--outputs", outputs, "--tasks", "amg/selection", "--data", sets),
        *("--first", "2", "--max-failed", "1", "--out", tmp_path / "run", "--json"),
    )
    assert done.code == 0, done.err
    metrics = done.json["tasks"]["amg/selection"]["metrics"]
    assert metrics["vote_share"]["value"] == 0
    strange = 1 + sum(v**2 for v in official.VOTES[1].values())
    assert metrics["brier"]["value"] == pytest.approx((2 + strange) / 2)


# --- the printed table ------------------------------------------------------------------------------


def test_the_printed_table_comes_from_the_suites_own_aggregates(cli: Cli) -> None:
    cells = cli("tasks", "show", "eval_anything", "--reference", "--json").json["cells"]
    assert len(cells) == 21
    wrong = {(c["model"], c["aggregate"]): (c["printed"], c["computed"]) for c in cells if not c["same"]}
    assert wrong == {
        ("Qwen2-VL", "AMG"): (2.16, pytest.approx(2.16521445)),
        ("Chameleon-7B", "AMU"): (2.41, 2.415),
    }
    text = cli("tasks", "show", "eval_anything", "--reference")
    assert "19 of 21 derived cells are the printed digits." in text.out
    assert "Qwen2-VL, AMG: printed 2.16, computed 2.16521445" in text.out
    assert [
        len(cli("tasks", "show", s, "--reference", "--json").json["cells"]) for s in ("amu", "amg")
    ] == [
        7,
        7,
    ]
    assert cli("tasks", "show", "micro_quick", "--reference").code == 2
    assert cli("tasks", "show", "open/synergy", "--reference").code == 2


def test_the_columns_of_the_table_are_metrics_of_the_suites(cli: Cli) -> None:
    from eval_anything.leaderboard.reference import read_reference

    registry = Registry()
    for column in read_reference().columns:
        task, colon, metric = column.key.partition(":")
        if colon:
            assert metric in cli("tasks", "show", task, "--json").json["metrics"], column.key
        else:
            suite, _, aggregate = column.key.partition("/")
            assert aggregate in registry.suite(suite).aggregates, column.key
