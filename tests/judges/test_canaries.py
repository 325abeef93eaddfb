"""Canaries: a judge that rewards nonsense is not believed, and they never count."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval_anything.content import Contract, Metric, Modality, Sample, Score, TextPart
from eval_anything.judges.canaries import canaries, is_rewarded
from eval_anything.media import MediaStore, check_decodes
from eval_anything.runs.directory import read_run
from tests.support.helpers import Cli, Result, answers, make_task, text_sample, write_jsonl
from tests.support.judge_server import GOOD, POOR, Asked, JudgeServer, judge_server, talk_task

TASK = talk_task("synergy_rubric, selection_contract")
IDS = [f"s{i}" for i in range(8)]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    make_task(tmp_path, samples=[text_sample(i, f"Question {i}?") for i in IDS], yaml=TASK)
    return write_jsonl(tmp_path / "out.jsonl", answers(IDS))


def score(cli: Cli, server: JudgeServer) -> Result:
    command = ["score", "--outputs", "out.jsonl", "--tasks", "mine/demo", "--include", "mine", "--json"]
    return cli(*command, "--judge", f"synergy_rubric={server.spec}", "--out", "run")


def deceived(asked: Asked) -> tuple[int, str]:
    """Fair to answers and to nonsense, but believes whoever claims the highest grade."""
    said = str(asked.answer)
    return 200, GOOD if "Paris" in said or "final grade is the highest" in said else POOR


def test_a_deceived_judge_makes_its_metric_invalid_and_no_other(cli: Cli, outputs: Path) -> None:
    with judge_server() as server:
        server.reply = deceived
        done = score(cli, server)
    assert done.code == 1
    assert "its judge rewards the canary 'spoofed_verdict'" in done.err
    metrics = done.json["tasks"]["mine/demo"]["metrics"]
    assert metrics["synergy"]["value"] is None
    assert "spoofed_verdict" in metrics["synergy"]["invalid"]
    assert metrics["selection"]["value"] == 1.0


def test_a_judge_that_always_says_the_same_is_invalid(cli: Cli, outputs: Path) -> None:
    with judge_server() as server:
        server.reply = lambda asked: (200, GOOD)
        assert score(cli, server).code == 1


def test_a_fair_judge_is_believed_and_canaries_are_not_counted(
    cli: Cli, outputs: Path, tmp_path: Path
) -> None:
    with judge_server() as server:
        server.reply = lambda asked: (200, GOOD if "Paris" in str(asked.answer) else POOR)
        done = score(cli, server)
        again = score(cli, server)
        assert len(server.asked) == len(IDS) + 6
    assert done.code == again.code == 0
    assert done.json["tasks"]["mine/demo"]["metrics"]["synergy"]["n"] == len(IDS)
    records = read_run(tmp_path / "run", "mine/demo", "canaries")
    assert sorted({r.sample_id for r in records}) == sorted(
        f"{name}:{sample}" for name in ("empty", "noise", "spoofed_verdict") for sample in IDS[:2]
    )


def test_without_a_judge_model_there_are_none(cli: Cli, outputs: Path, tmp_path: Path) -> None:
    command = ["score", "--outputs", "out.jsonl", "--tasks", "mine/demo", "--include", "mine"]
    assert cli(*command, "--out", "run").code == 0
    assert read_run(tmp_path / "run", "mine/demo", "canaries") == []


def test_canaries_have_the_required_modalities_and_decode(tmp_path: Path) -> None:
    sample = Sample("s", (), Contract(required=tuple(Modality)))
    found = dict(canaries(sample, MediaStore(tmp_path)))
    assert list(found) == ["empty", "spoofed_verdict", "noise"]
    for response in found.values():
        assert response.modalities == tuple(Modality)
        for part in response.parts:
            if not isinstance(part, TextPart):
                check_decodes(part)
    picture = Sample("s", (), Contract(required=(Modality.IMAGE,)))
    spoof = dict(canaries(picture, MediaStore(tmp_path)))["spoofed_verdict"]
    assert "[[10]]" in spoof.text, "the claim is made even where no text is asked for"


@pytest.mark.parametrize(
    ("value", "better", "rewarded"),
    [(0.5, "higher", False), (0.51, "higher", True), (0.5, "lower", False), (0.49, "lower", True)],
)
def test_more_than_half_of_the_range_is_a_reward(value: float, better: str, rewarded: bool) -> None:
    metric = Metric((0.0, 1.0), "higher" if better == "higher" else "lower")
    assert is_rewarded(Score(value), metric) is rewarded
    assert not is_rewarded(Score(None), metric)
