"""Judges that come to a finished run: they score its answers where they are, and no model is asked."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval_anything import compare
from eval_anything.evaluation.options import JUDGE_VARIABLE
from tests.support.helpers import Cli, make_task, text_sample
from tests.support.judge_server import GOOD, Asked, JudgeServer, judge_server, talk_task
from tests.support.scripted_server import ScriptedServer, says, serve

OTHER = """\
version: 1
kind: rubric
title: Tone
description: Whether the answer is kind.
sees: [text]
scale: [0, 10]
template: rubric.md
metrics:
  tone: {range: [0, 10]}
"""
RUBRIC = "Grade the tone. The answer stands between lines that carry the code {{ fence }}."
TONE = '{"mark": "@MARK@", "explanation": "kind", "grades": {"tone": 4}}'
N = 3


def reply(asked: Asked) -> tuple[int, str]:
    """A verdict for each of the two rubrics; canaries get nothing."""
    verdict = TONE if "Grade the tone" in asked.system else GOOD
    good = "Paris" in str(asked.content)
    return 200, verdict if good else verdict.replace("4}", "0}").replace("7", "0")


@pytest.fixture
def judge() -> Iterator[JudgeServer]:
    with judge_server() as server:
        server.reply = reply
        yield server


@pytest.fixture
def model() -> Iterator[ScriptedServer]:
    with serve(lambda number, body: says("Paris")) as server:
        yield server


@pytest.fixture
def asked(cli: Cli, tmp_path: Path, model: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command of a run whose two judges have no model; the run is in `my run`."""
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    monkeypatch.delenv(JUDGE_VARIABLE, raising=False)
    samples = [text_sample(f"s{i}", f"Capital {i}?") for i in range(N)]
    samples[0]["turns"] = [{"parts": [{"modality": "text", "text": "Are you sure?"}]}]
    make_task(tmp_path, samples=samples, yaml=talk_task("synergy_rubric, tone"))
    (tmp_path / "tone").mkdir()
    (tmp_path / "tone" / "judge.yaml").write_text(OTHER)
    (tmp_path / "tone" / "rubric.md").write_text(RUBRIC)
    command = ["run", "--model", model.spec(), "--tasks", "mine/demo", "--out", "my run"]
    command += ["--include", "mine", "--include", "tone", "--limit", str(N)]
    assert cli(*command).code == 0
    return command


IN_PLACE = ["score", "--outputs", "my run", "--include", "mine", "--include", "tone", "--json"]


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("my run/mine/demo/records.jsonl").read_text().splitlines()]


def values(results: dict[str, Any]) -> dict[str, float | None]:
    metrics = results["tasks"]["mine/demo"]["metrics"]
    return {name: m["value"] and round(m["value"], 6) for name, m in metrics.items()}


@pytest.mark.parametrize("way", ["run", "score"])
def test_a_judge_that_comes_later_scores_what_is_there(
    cli: Cli, asked: list[str], model: ScriptedServer, judge: JudgeServer, way: str
) -> None:
    command = [*asked, "--json"] if way == "run" else IN_PLACE
    before = json.loads(Path("my run/results.json").read_bytes())
    assert values(before) == {"synergy": None, "tone": None}
    one = cli(*command, "--judge", f"synergy_rubric={judge.spec}")
    assert one.code == 0, one.err
    assert values(one.json) == {"synergy": 0.7, "tone": None}
    two = cli(*command, "--judge", judge.spec)
    assert two.code == 0, two.err
    assert values(two.json) == {"synergy": 0.7, "tone": 4.0}
    assert len(model.bodies) == N + 1, "the model is asked once for each answer"
    assert two.json["model"] == before["model"]
    assert [line.get("judged") for line in lines()] == [None] * N + [["synergy_rubric"]] * N + [
        ["tone"]
    ] * N
    # What is copied from an earlier line is not paid for again.
    assert two.json["cost"]["tokens"] == before["cost"]["tokens"]
    tokens = {name: share["tokens"] for name, share in two.json["cost"]["by"].items()}
    canaries = 3 * 2
    for name in ("synergy_rubric", "tone"):
        assert tokens[f"judge {name}"] == {"input": 11 * (N + canaries), "output": 7 * (N + canaries)}
    requests = len(judge.asked)
    again = cli(*command)
    assert (again.code, again.json) == (0, two.json), "the run has its judges"
    assert len(judge.asked) == requests


def test_a_run_judged_in_place_equals_one_judged_at_once(
    cli: Cli, asked: list[str], judge: JudgeServer
) -> None:
    assert cli(*IN_PLACE, "--judge", judge.spec).code == 0
    requests = len(judge.asked)
    at_once = [word if word != "my run" else "at once" for word in asked]
    assert cli(*at_once, "--judge", judge.spec).code == 0
    assert len(judge.asked) == requests, "its questions are the same, so all verdicts are kept"
    first, second = (
        json.loads((Path(run) / "results.json").read_bytes()) for run in ("my run", "at once")
    )
    assert first["tasks"] == second["tasks"]
    assert first["judges"] == second["judges"]
    file = json.loads(Path("my run/run.json").read_bytes())
    assert file["fingerprints"] == json.loads(Path("at once/run.json").read_bytes())["fingerprints"]
    assert "to_judge" not in file


@pytest.mark.usefixtures("short_pauses")
def test_a_judge_that_fails_half_way_goes_on_later(
    cli: Cli, asked: list[str], model: ScriptedServer, judge: JudgeServer
) -> None:
    def fails_on_one(question: Asked) -> tuple[int, str]:
        return (500, "no") if "Capital 1" in str(question.content) else reply(question)

    judge.reply = fails_on_one
    command = [*IN_PLACE, "--judge", f"synergy_rubric={judge.spec}"]
    half = cli(*command)
    assert half.code == 4, half.err
    assert half.json["pending"] == 1
    assert json.loads(Path("my run/run.json").read_bytes())["to_judge"] == ["synergy_rubric"]
    judge.reply = reply
    done = cli(*command)
    assert (done.code, values(done.json)["synergy"]) == (0, 0.7)
    assert len(lines()) == 2 * N, "nothing is scored twice"
    assert len(model.bodies) == N + 1


def test_the_command_that_a_run_prints_can_be_carried_out(
    cli: Cli, asked: list[str], judge: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = cli(*asked).out
    [command] = [line.strip() for line in said.splitlines() if line.startswith("  eval-anything score")]
    assert "'my run'" in command
    assert f"export {JUDGE_VARIABLE}=" in said
    monkeypatch.setenv(JUDGE_VARIABLE, judge.spec)
    done = cli(*shlex.split(command)[1:])
    assert done.code == 0, done.err
    assert f"judges ask {judge.spec} ({JUDGE_VARIABLE})" in done.err
    assert "unscored" not in done.out
    results = json.loads(Path("my run/results.json").read_bytes())
    assert values(results) == {"synergy": 0.7, "tone": 4.0}


def test_a_judge_of_its_own_wins_over_the_one_for_all(
    cli: Cli, asked: list[str], judge: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JUDGE_VARIABLE, "openai/nobody@http://120.7.0.1:9/v1")
    done = cli(
        *IN_PLACE, "--judge", judge.spec, "--judge", f"tone={judge.spec.replace('judge@', 'own@')}"
    )
    assert done.code == 0, done.err
    file = json.loads(Path("my run/run.json").read_bytes())
    assert {name: spec.partition("@")[0] for name, spec in file["judges"].items()} == {
        "synergy_rubric": "openai/judge",
        "tone": "openai/own",
    }


def test_warnings_come_before_the_run(cli: Cli, asked: list[str], judge: JudgeServer) -> None:
    new = [word if word != "my run" else "new" for word in asked]
    planned = cli(*new, "--dry-run")
    words = (
        "1 of 1 primary metrics will be unscored: mine/demo:synergy, since synergy_rubric has no model"
    )
    assert f"warning: {words}" in planned.out
    as_json = cli(*new, "--dry-run", "--json").json
    assert as_json["unscored"] == [{"task": "mine/demo", "metric": "synergy", "judge": "synergy_rubric"}]
    assert as_json["unreadable"] == {}
    assert f"warning: {words}" in cli(*new).err
    assert "warning" not in cli(*new, "--judge", judge.spec, "--dry-run").out


def test_another_model_behind_a_judge_is_another_run(
    cli: Cli, asked: list[str], judge: JudgeServer
) -> None:
    assert cli(*IN_PLACE, "--judge", judge.spec).code == 0
    other = judge.spec.replace("judge@", "other@")
    refused = cli(*IN_PLACE, "--judge", f"tone={other}")
    assert refused.code == 2
    assert f"not the same: --judge tone {judge.spec} -> {other}. Choose" in refused.err
    refused = cli(*IN_PLACE, "--judge", other)
    assert refused.code == 2
    assert "every judge of this run has its model" in refused.err


def test_answers_that_are_missing_are_for_the_model(
    cli: Cli, asked: list[str], judge: JudgeServer
) -> None:
    path = Path("my run/mine/demo/records.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    half = cli(*IN_PLACE, "--judge", judge.spec)
    assert half.code == 2
    assert "my run has no answer to 1 of the samples (mine/demo:s" in half.err
    assert "--out 'my run'" in half.err, "the command that goes on with it"


def test_tasks_that_the_run_does_not_have_are_refused(cli: Cli, asked: list[str]) -> None:
    refused = cli(*IN_PLACE, "--tasks", "open/selection")
    assert refused.code == 2
    assert "my run has no answers to open/selection: it has mine/demo" in refused.err


def test_verdicts_are_kept_and_can_be_asked_for_anew(
    cli: Cli, asked: list[str], judge: JudgeServer
) -> None:
    command = [*IN_PLACE[:-1], "--judge", judge.spec, "--out"]
    first = cli(*command, "first")
    assert "kept from earlier" not in first.out
    requests = len(judge.asked)
    kept = cli(*command, "second")
    assert f"{N + 6} verdicts kept from earlier (--fresh-verdicts asks anew)" in kept.out
    assert len(judge.asked) == requests
    fresh = cli(*command, "third", "--fresh-verdicts")
    assert "kept from earlier" not in fresh.out
    assert len(judge.asked) == 2 * requests


def test_another_judge_leaves_the_other_metrics_comparable(
    cli: Cli, asked: list[str], judge: JudgeServer
) -> None:
    with_one = [*IN_PLACE, "--judge", f"synergy_rubric={judge.spec}", "--out", "one"]
    assert cli(*with_one).code == 0
    assert cli(*with_one[:-1], "both", "--judge", judge.spec).code == 0
    comparison = compare("one", "both")
    assert [m.name for m in comparison.metrics] == ["mine/demo:synergy"]
    other = judge.spec.replace("judge@", "other@")
    assert cli(*with_one[:-1], "other", "--judge", f"tone={other}").code == 0
    comparison = compare("both", "other")
    assert [m.name for m in comparison.metrics] == ["mine/demo:synergy"]
    assert comparison.refused == {"mine/demo:tone": "judge tone"}
    assert "not compared: mine/demo:tone, other judge tone" in comparison.notes
