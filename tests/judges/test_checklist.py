"""Checklists against a real HTTP server: what is asked, what answers are worth, what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from eval_anything.content import Contract, Message, Modality, Response, Sample, Score, TextPart
from eval_anything.judges.assemble import make_judge
from eval_anything.judges.folder import judge_at
from tests.support.helpers import Cli, answers, make_task, text_sample, write_jsonl
from tests.support.judge_server import Asked, JudgeServer, judge_server, talk_task

JUDGE = """\
version: 1
kind: rubric
title: Own
description: A checklist.
sees: [text]
template: rubric.jinja
checklist:
  - id: subject
    question: Is it about the capital?
    weight: 3
  - id: manner
    question: Is it polite?
    optional: true
metrics: {points: {range: [0, 8]}}
"""
CRITERIA = JUDGE[JUDGE.index("  - id") : JUDGE.index("metrics")]
TASK = talk_task("own", "points")


def make_folder(root: Path, yaml: str = JUDGE) -> Path:
    folder = root / "own"
    folder.mkdir(parents=True)
    (folder / "judge.yaml").write_text(yaml)
    (folder / "rubric.jinja").write_text(
        "Judge what stands between lines that carry the code {{ fence }}."
    )
    return folder


def sample(**points: Any) -> Sample:
    message = Message("user", (TextPart("What is the capital of France?"),))
    return Sample("s", (message,), Contract((Modality.TEXT,)), {"points": points})


def answered(folder: Path, one: Sample, *grades: Mapping[str, Any]) -> tuple[Score, list[Asked]]:
    """The score when the judge answers its requests so, and what it was asked."""

    async def score(server: JudgeServer) -> Score:
        scorer = make_judge(judge_at(folder), False, server.spec)
        try:
            return (await scorer.score(one, Response((TextPart("Paris"),))))["points"]
        finally:
            await scorer.close()

    def reply(asked: Asked) -> tuple[int, str]:
        given = grades[(asked.number - 1) % len(grades)]
        return 200, json.dumps({"mark": "@MARK@", "explanation": "so", "grades": given})

    with judge_server() as server:
        server.reply = reply
        return asyncio.run(score(server)), server.asked


@pytest.mark.parametrize(
    ("points", "grades", "value"),
    [
        ({}, {"subject": "yes", "manner": "yes"}, 8),
        ({}, {"subject": "no", "manner": "no"}, 0),
        ({}, {"subject": "yes", "manner": "no"}, 6),
        ({}, {"subject": "partly", "manner": "yes"}, 5),
        ({}, {"subject": "partly", "manner": None}, 4),
        ({}, {"subject": " Yes", "manner": "NO"}, 6),
        ({}, {"subject": "yes", "manner": "no", "beauty": "yes"}, 6),
        # Weights 1.5 + 1.5 for the subject, 1 for the manner.
        ({"subject": ["a", "b"]}, {"subject.1": "yes", "subject.2": "no", "manner": "yes"}, 5),
        ({"subject": "a"}, {"subject.1": "partly", "manner": "no"}, 3),
        (
            {"manner": ["a", "b", "c", "d"]},
            {"subject": "yes"} | {f"manner.{i}": "no" for i in "1234"},
            6,
        ),
    ],
)
def test_the_value_is_the_weighted_mean(
    points: dict[str, Any], grades: dict[str, Any], value: float, tmp_path: Path
) -> None:
    score, asked = answered(make_folder(tmp_path), sample(**points), grades)
    assert score.value == pytest.approx(value)
    assert len(asked) == 1
    kept = {c["id"]: c["grades"] for c in score.details["criteria"]}
    assert kept == {key: [grades[key]] for key in grades if key != "beauty"}
    assert sum(c["weight"] for c in score.details["criteria"]) == pytest.approx(4)
    for question in points.get("subject", []):
        assert question in [c["question"] for c in score.details["criteria"]]


def test_with_a_scale_criteria_are_graded_and_questions_of_the_sample_are_answered(
    tmp_path: Path,
) -> None:
    folder = make_folder(tmp_path, JUDGE.replace("checklist:", "scale: [1, 5]\nchecklist:"))
    score, (asked,) = answered(folder, sample(manner="kind?"), {"subject": 4, "manner.1": "partly"})
    assert score.value == pytest.approx(8 * (3 * 3 / 4 + 1 / 2) / 4)
    form = asked.body["response_format"]["json_schema"]
    assert form["strict"] is True
    grades = form["schema"]["properties"]["grades"]
    assert grades["properties"] == {
        "subject": {"type": "number"},
        "manner.1": {"type": "string", "enum": ["yes", "partly", "no"]},
    }
    assert grades["required"] == list(grades["properties"])
    assert grades["additionalProperties"] is False


def test_what_the_model_reads(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    _, (asked,) = answered(
        folder, sample(subject=["Paris is named.\nOnly it."]), {"subject.1": "yes", "manner": None}
    )
    lines = asked.system.splitlines()
    assert (
        lines[2]
        == 'Answer each of these apart, under its name in "grades"; "partly" is what is half met:'
    )
    assert lines[3].startswith("- subject: Is it about the capital? The authors of the request list")
    assert lines[4:6] == ['  - subject.1 ("yes", "partly" or "no"): Paris is named.', "    Only it."]
    form = '"yes", "partly" or "no"'
    assert lines[6] == f"- manner ({form}; null if the request has nothing of the kind): Is it polite?"
    assert lines[-1].endswith(f'"grades": {{"subject.1": {form}, "manner": {form}, or null}}}}')
    grades = asked.body["response_format"]["json_schema"]["schema"]["properties"]["grades"]
    assert grades["properties"]["manner"] == {
        "type": ["string", "null"],
        "enum": ["yes", "partly", "no", None],
    }


@pytest.mark.parametrize(
    ("grades", "reason"),
    [
        ({"subject": "yes"}, "no grade for manner"),
        ({"subject": None, "manner": "yes"}, "None for subject"),
        ({"subject": "mostly", "manner": "yes"}, "'mostly' for subject"),
        ({"subject": 1, "manner": "yes"}, "1.0 for subject"),
        ({"subject": True, "manner": "yes"}, "no JSON verdict"),
        ({"subject": ["yes"], "manner": "yes"}, "no JSON verdict"),
    ],
)
def test_a_missing_answer_is_unscored_and_not_kept(
    grades: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path)
    score, _ = answered(folder, sample(), grades)
    assert score.value is None
    assert reason in score.explanation
    again, asked = answered(folder, sample(), {"subject": "yes", "manner": "yes"})
    assert again.value == 8
    assert len(asked) == 1


def test_if_nothing_applies_there_is_no_score(tmp_path: Path) -> None:
    yaml = JUDGE.replace("weight: 3", "optional: true")
    score, _ = answered(make_folder(tmp_path, yaml), sample(), {"subject": None, "manner": None})
    assert score.value is None
    assert "no criterion applies" in score.explanation


def test_repeats_are_averaged_and_their_spread_is_noted(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, JUDGE + "repeats: 2\n")
    given = [{"subject": "yes", "manner": "no"}, {"subject": "no", "manner": "no"}]
    score, asked = answered(folder, sample(), *given)
    assert len(asked) == 2
    assert score.value == pytest.approx(3)
    assert score.details["spread"] == pytest.approx(3 * 2**0.5)
    (subject, manner) = score.details["criteria"]
    assert sorted(subject["grades"]) == ["no", "yes"]
    assert manner["grades"] == ["no", "no"]


@pytest.mark.parametrize("wrong", [{"a": "b"}, [1], ["a", " "], 7], ids=repr)
def test_a_target_that_is_no_list_of_texts_stops_the_run_before_it_begins(
    wrong: Any, cli: Cli, tmp_path: Path
) -> None:
    make_folder(tmp_path / "mine")
    targets = {"points": {"subject": wrong}}
    make_task(tmp_path, samples=[text_sample("s0"), text_sample("s1", targets=targets)], yaml=TASK)
    write_jsonl(tmp_path / "out.jsonl", answers(["s0", "s1"]))
    with judge_server() as server:
        command = ["score", "--outputs", "out.jsonl", "--tasks", "mine/demo", "--include", "mine"]
        done = cli(*command, "--judge", f"own={server.spec}")
        assert server.asked == []
    assert done.code == 2
    assert "mine/demo, sample 's1': targets.points.subject must be a list of texts" in done.err


def test_a_dry_run_counts_the_lines_of_the_checklist(cli: Cli, tmp_path: Path) -> None:
    make_folder(tmp_path / "mine", JUDGE + "repeats: 2\n")
    write_jsonl(tmp_path / "out.jsonl", answers(["s"]))
    spec = "own=openai/judge@http://127.0.0.1:9/v1"
    by = []
    for number, points in enumerate(({}, {"subject": ["a"] * 11})):
        name = f"mine/demo{number}"
        make_task(tmp_path, name, [text_sample("s", targets={"points": points})], TASK)
        command = ["score", "--outputs", "out.jsonl", "--tasks", name, "--include", "mine"]
        done = cli(*command, "--judge", spec, "--dry-run", "--json")
        by.append(done.json["cost"]["by"]["judge own"])
    assert [b["calls"] for b in by] == [2, 2]
    assert by[1]["tokens"]["output"] - by[0]["tokens"]["output"] == 2 * 10 * 10
    assert by[1]["tokens"]["input"] - by[0]["tokens"]["input"] == 2 * 10 * 30


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        ("", "", []),
        ("weight: 3", "weigth: 3", ["judge.yaml:10: unknown key 'weigth'"]),
        ("weight: 3", "weight: 0", ["judge.yaml:10: weight must be above 0, not 0"]),
        ("weight: 3", "weight: -1", ["judge.yaml:10: weight must be above 0, not -1"]),
        ("weight: 3", "weight: .inf", ["judge.yaml:10: weight must be above 0, not inf"]),
        ("id: manner", "id: subject", ["judge.yaml:11: id 'subject' is given twice"]),
        ("id: manner", "id: 2 much", ["judge.yaml:11: id must be small letters"]),
        ("question: Is it polite?", "question: ' '", ["judge.yaml:12: question is empty"]),
        (
            CRITERIA,
            "  []\n",
            ["yaml:7: checklist is empty"],
        ),
        (
            "checklist:\n" + CRITERIA,
            "",
            ["yaml:2: a rubric judge needs `sc"],
        ),
        (
            "{points:",
            "{other: {range: [0, 1]}, points:",
            ["judge.yaml:14: a checklist makes one metric"],
        ),
        (
            "weight: 3\n  - id: manner",
            "weight: 0\n  - id: Manner",
            ["yaml:10: weight", "yaml:11: id must"],
        ),
        ("kind: rubric", "kind: pairwise", ["judge.yaml:7: a pairwise judge has no checklist"]),
    ],
)
def test_validate(old: str, new: str, messages: list[str], cli: Cli, tmp_path: Path) -> None:
    folder = make_folder(tmp_path, JUDGE.replace(old, new, 1))
    result = cli("judges", "validate", folder)
    assert result.code == (2 if messages else 0), result.err
    for message in messages:
        assert message in result.err


def test_the_fingerprint_covers_the_checklist(tmp_path: Path) -> None:
    changes = [
        ("", ""),
        ("weight: 3", "weight: 4"),
        ("polite", "kind"),
        ("    optional: true\n", ""),
        ("checklist:", "scale: [0, 1]\nchecklist:"),
    ]
    found = set()
    for i, (old, new) in enumerate(changes):
        folder = make_folder(tmp_path / str(i), JUDGE.replace(old, new, 1))
        found.add(make_judge(judge_at(folder), False, "openai/judge@http://127.0.0.1:9/v1").fingerprint)
    assert len(found) == len(changes)
