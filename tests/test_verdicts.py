"""Kept verdicts: nothing is paid for twice, nothing bad is kept, the key is what decides a verdict."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from helpers import Cli, Result, answers, make_task, text_sample, write_jsonl
from judge_server import GOOD, POOR, Asked, JudgeServer, judge_server

from eval_anything.errors import InfrastructureError
from eval_anything.verdicts import Verdicts

TASK = """\
version: 1
title: Talk
description: x
licence: CC0-1.0
inputs: [text]
outputs: [text]
judges: [synergy_rubric]
primary: synergy
contract: {required: [text]}
"""
IDS = [f"s{i}" for i in range(12)]


def fair(asked: Asked) -> tuple[int, str]:
    """7 for the task's answers, nothing for canaries."""
    return 200, GOOD if "Paris" in str(asked.answer) else POOR


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    make_task(tmp_path, samples=[text_sample(i, f"Question {i}?") for i in IDS], yaml=TASK)
    return write_jsonl(tmp_path / "out.jsonl", answers(IDS))


def score(cli: Cli, server: JudgeServer, out: str, model: str = "judge") -> Result:
    spec = server.spec.replace("/judge@", f"/{model}@")
    command = ["score", "--outputs", "out.jsonl", "--tasks", "mine/demo", "--include", "mine", "--json"]
    return cli(*command, "--judge", f"synergy_rubric={spec}", "--out", out)


def test_a_second_run_asks_nothing_and_says_the_same(cli: Cli, outputs: Path) -> None:
    with judge_server() as server:
        server.reply = fair
        first = score(cli, server, "a")
        asked = len(server.asked)
        assert asked == len(IDS) + 6, "each answer once, and two samples' canaries"
        second = score(cli, server, "b")
        assert len(server.asked) == asked
    one, other = (r.json["tasks"]["mine/demo"]["metrics"]["synergy"] for r in (first, second))
    assert one == other
    assert one["value"] == pytest.approx(0.7)
    assert first.json["cost"]["by"]["judge synergy_rubric"]["tokens"]["input"] >= 0
    assert second.json["cost"]["by"]["judge synergy_rubric"]["tokens"] == {"input": 0, "output": 0}


def test_another_model_or_another_answer_is_asked(cli: Cli, outputs: Path) -> None:
    with judge_server() as server:
        server.reply = fair
        score(cli, server, "a")
        asked = len(server.asked)
        score(cli, server, "b", model="other")
        assert len(server.asked) == 2 * asked
        write_jsonl(outputs, [*answers(IDS[:1], "Paris, I think"), *answers(IDS[1:])])
        score(cli, server, "c")
        assert len(server.asked) == 2 * asked + 1


@pytest.mark.parametrize("bad", ["not a verdict", '{"mark": "@MARK@", "grades": {"synergy": 99}}'])
def test_failures_are_not_kept(cli: Cli, outputs: Path, bad: str) -> None:
    with judge_server() as server:
        server.reply = lambda asked: (200, bad)
        assert score(cli, server, "a").json["tasks"]["mine/demo"]["metrics"]["synergy"]["unscored"] == 12
        server.reply = fair
        done = score(cli, server, "b")
    assert done.code == 0
    assert done.json["tasks"]["mine/demo"]["metrics"]["synergy"]["value"] == pytest.approx(0.7)


def _write(path: Path, first: int) -> None:
    verdicts = Verdicts(path)
    for i in range(first, first + 200):
        verdicts.put(f"key {i}", f"text {i}")
        assert verdicts.get(f"key {i}") == f"text {i}"
    verdicts.close()


def test_several_processes_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "verdicts.sqlite"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write, args=(path, 100 * i)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    verdicts = Verdicts(path)
    assert all(verdicts.get(f"key {i}") == f"text {i}" for i in range(500))
    assert verdicts.get("key 500") is None


def test_the_first_verdict_of_a_key_stays(tmp_path: Path) -> None:
    verdicts = Verdicts(tmp_path / "v.sqlite")
    verdicts.put("key", "one")
    verdicts.put("key", "two")
    assert verdicts.get("key") == "one"


def test_a_file_that_is_no_base_says_so(tmp_path: Path) -> None:
    (tmp_path / "v.sqlite").write_bytes(b"not a data base at all" * 100)
    with pytest.raises(InfrastructureError, match=r"v\.sqlite"):
        Verdicts(tmp_path / "v.sqlite").get("key")
