"""Judges that compare, that change their minds and that cost money; what numbers say of their judge."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eval_anything.judges.assemble import make_judge
from eval_anything.judges.calibration.labels import Labels
from eval_anything.judges.calibration.measure import calibrate
from eval_anything.judges.folder import find_judges
from eval_anything.micro.pairs.labels import micro_labels
from tests.support.helpers import Cli, answers, make_task, text_sample, write_jsonl
from tests.support.judge_server import Asked, JudgeServer, judge_server
from tests.support.labelled import (
    JUDGE_YAML,
    SCORE_PY,
    flipping,
    grade,
    judge_pairs,
    make_judge_folder,
    pair,
)
from tests.support.lanes import only_in
from tests.support.micro_judge import MicroJudge, unlike


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with judge_server() as judge:
        yield judge


# --- a judge that compares -----------------------------------------------------------------------


def comparing(right: Callable[[int], bool], sticky: Callable[[int], bool]) -> Any:
    """A pairwise judge that takes the good response of a pair if `right`, or the first if `sticky`."""

    def reply(asked: Asked) -> tuple[int, str]:
        texts = " ".join(part.get("text", "") for part in asked.content)
        found = re.findall(r"(good|bad) (\d+)", texts)
        better = "tie"  # a canary
        if len(found) == 2:
            number = int(found[0][1])
            first = sticky(number) or (found[0][0] == "good") == right(number)
            better = "first" if first else "second"
        return 200, json.dumps({"mark": asked.mark, "explanation": "so", "better": better})

    return reply


def test_a_pairwise_judge_compares_the_two_responses_of_a_pair(
    cli: Cli, tmp_path: Path, server: JudgeServer
) -> None:
    """Of 40 pairs 10 follow the position, and 6 of the others are judged wrongly."""
    server.reply = comparing(lambda i: i >= 16, lambda i: i < 10)
    empty = {"a": [], "b": []}
    rows = [
        *judge_pairs(40),
        {**pair("none", "good 99", "", "a"), "b": []},
        {**pair("neither", "", "", "tie"), **empty},
    ]
    labels = write_jsonl(tmp_path / "l.jsonl", rows)
    command = ["judges", "calibrate", "synergy_pairwise", "--labels", labels]
    command += ["--judge", f"synergy_pairwise={server.spec}"]
    result = cli(*command, "--json")
    assert result.code == 0, result.err
    found = result.json["pairs"]
    assert (result.json["metric"], found["n"], found["unscored"]) == ("synergy_win_rate", 42, 0)
    figures = found["figures"]
    assert figures["accuracy"]["n"] == 41
    assert figures["accuracy"]["value"] == pytest.approx((24 + 10 * 0.5 + 1) / 41)
    assert (figures["position_bias"]["value"], figures["position_bias"]["n"]) == (10 / 40, 40)
    assert figures["first_preference"]["value"] == 10 / 40
    assert figures["self_consistency"]["value"] == 1
    assert len(server.asked) == 2 * 2 * 40, "both orders, twice; a missing response asks nobody"
    again = cli(*command)
    assert len(server.asked) == 2 * 2 * 40, "all verdicts were kept"
    assert "verdicts that follow the position" in again.out
    assert "0 calls" in again.out


def test_a_pairwise_judge_takes_no_grades(cli: Cli, tmp_path: Path, server: JudgeServer) -> None:
    labels = write_jsonl(tmp_path / "l.jsonl", [grade("g", "words", 3)])
    command = ["judges", "calibrate", "synergy_pairwise", "--labels", labels]
    result = cli(*command, "--judge", f"synergy_pairwise={server.spec}")
    assert result.code == 2
    assert "compares two responses, and 'g' of l.jsonl is one with a grade" in result.err
    assert not server.asked


def test_a_probe_without_questions_is_told_so(cli: Cli, tmp_path: Path, server: JudgeServer) -> None:
    labels = write_jsonl(tmp_path / "l.jsonl", [grade("g", "words", 3), grade("h", "words", 4)])
    name = "instruction_audio_probe"
    command = ["judges", "calibrate", name, "--labels", labels, "--metric", "if_audio"]
    result = cli(*command, "--judge", f"{name}={server.spec}")
    assert result.code == 2
    assert "applies to no sample of l.jsonl: a probe needs the questions of targets.probe" in result.err


# --- what a run says of what its judges can show ---------------------------------------------------


def test_a_pairwise_calibration_is_found_by_runs_that_compare(
    cli: Cli, tmp_path: Path, server: JudgeServer
) -> None:
    """The other run is part of a win rate's fingerprint, and no part of how good the judge is."""
    server.reply = comparing(lambda i: i >= 8, lambda i: False)
    spec = f"synergy_pairwise={server.spec}"
    labels = write_jsonl(tmp_path / "l.jsonl", judge_pairs(40))
    cli("judges", "calibrate", "synergy_pairwise", "--labels", labels, "--judge", spec)
    ids = judged_task(tmp_path, "synergy_pairwise", "synergy_win_rate")
    command = ["score", "--tasks", "mine/demo", "--include", "mine"]
    for name, word in (("base", "bad"), ("mine", "good")):
        rows = [row for i, id_ in enumerate(ids) for row in answers([id_], f"{word} {i}")]
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    assert cli(*command, "--outputs", "base.jsonl", "--out", "base").code == 0
    command += ["--outputs", "mine.jsonl", "--against", "base", "--judge", spec, "--out", "compared"]
    found = cli(*command, "--json").json
    card = found["judges"]["synergy_pairwise"]["calibration"]
    assert (card["figure"], card["value"]) == ("accuracy", 0.8)
    metric = found["tasks"]["mine/demo"]["metrics"]["synergy_win_rate"]
    assert metric["value"] == 12 / 20
    seen = (1.959964 + 0.841621) * metric["stderr"]
    assert metric["mde"] == {"seen": pytest.approx(seen), "true": pytest.approx(seen / 0.6)}


def judged_task(root: Path, judge: str, metric: str) -> list[str]:
    """Makes mine/demo with twenty samples, judged by one judge; their ids."""
    yaml = (
        "version: 1\ntitle: T\ndescription: D\nlicence: CC0-1.0\ninputs: [text]\noutputs: [text]\n"
        f"judges: [{judge}]\nprimary: {metric}\ncontract: {{required: [text]}}\n"
    )
    ids = [f"s{i}" for i in range(20)]
    make_task(root, yaml=yaml, samples=[text_sample(i, f"Question {i}?") for i in ids])
    return ids


def test_a_judge_that_gives_nearly_all_the_same_grade_is_said(
    cli: Cli, tmp_path: Path, server: JudgeServer
) -> None:
    """At the end of a run, in results.json and by a calibration; failures of the model do not count."""
    spec = f"synergy_rubric={server.spec}"
    server.reply = lambda asked: graded(asked, lambda i: True)
    ids = judged_task(tmp_path, "synergy_rubric", "synergy")
    rows = [r for i, id_ in enumerate(ids) for r in answers([id_], f"{'good' if i else 'bad'} {i}0")]
    outputs = write_jsonl(tmp_path / "o.jsonl", rows)
    command = ["score", "--outputs", outputs, "--tasks", "mine/demo", "--include", "mine"]
    result = cli(*command, "--judge", spec, "--out", "run")
    assert result.code == 0, result.err
    count = len(ids) - 1
    assert f"to {count} of {len(ids)} answers: it may not tell them apart" in result.out
    tasks = json.loads((tmp_path / "run/results.json").read_bytes())["tasks"]
    same = tasks["mine/demo"]["metrics"]["synergy"]["same"]
    assert (same["count"], same["n"]) == (count, len(ids))
    alike = {"explanation": "so", "grades": {"synergy": 8}}
    server.reply = lambda asked: (200, json.dumps({"mark": asked.mark, **alike}))
    labels = write_jsonl(tmp_path / "l.jsonl", judge_pairs(10))
    measured = cli("judges", "calibrate", "synergy_rubric", "--labels", labels, "--judge", spec)
    assert "warning: the judge gives" in measured.out


@pytest.mark.parametrize(
    ("wrong", "quality", "words"),
    [
        (None, "not calibrated", "but its judge was not measured on pairs"),
        (4, "accuracy 0.900", "which is a true one of"),
        (38, "accuracy 0.050", "but no true one is so large, through this judge"),
    ],
)
def test_a_judged_number_says_what_it_can_show(
    cli: Cli, tmp_path: Path, server: JudgeServer, wrong: int | None, quality: str, words: str
) -> None:
    """On the terminal, in results.json and on the page; half of the answers are good."""
    spec = f"synergy_rubric={server.spec}"
    if wrong is not None:
        server.reply = lambda asked: graded(asked, lambda i: i >= wrong)
        labels = write_jsonl(tmp_path / "l.jsonl", judge_pairs(40))
        assert (
            cli("judges", "calibrate", "synergy_rubric", "--labels", labels, "--judge", spec).code == 0
        )
    server.reply = lambda asked: graded(asked, lambda i: True)
    ids = judged_task(tmp_path, "synergy_rubric", "synergy")
    rows = [r for i, id_ in enumerate(ids) for r in answers([id_], f"{('good', 'bad')[i % 2]} {i}0")]
    outputs = write_jsonl(tmp_path / "o.jsonl", rows)
    command = ["score", "--outputs", outputs, "--tasks", "mine/demo", "--include", "mine"]
    result = cli(*command, "--judge", spec, "--out", "run")
    assert result.code == 0, result.err
    assert f"judge synergy_rubric: {quality}" in result.out
    assert "mine/demo:synergy: can show a difference of" in result.out
    assert words in result.out
    metric = json.loads((tmp_path / "run/results.json").read_bytes())["tasks"]["mine/demo"]["metrics"][
        "synergy"
    ]
    assert metric["judge"] == "synergy_rubric"
    seen = (1.959964 + 0.841621) * metric["stderr"] * 2**0.5
    assert metric["mde"]["seen"] == pytest.approx(seen)
    true = seen / 0.8 if wrong == 4 else None
    assert metric["mde"]["true"] == (None if true is None else pytest.approx(true))
    page = (tmp_path / "run/report.html").read_text()
    assert quality in page
    assert words in page


def graded(asked: Asked, right: Callable[[int], bool]) -> tuple[int, str]:
    """A rubric judge that takes good for bad where it is not right; anything else is a canary."""
    found = re.search(r"(good|bad) (\d+)", " ".join(part.get("text", "") for part in asked.answer))
    high = found is not None and (found[1] == "good") == right(int(found[2]))
    verdict = {"mark": asked.mark, "explanation": "so", "grades": {"synergy": 8 if high else 3}}
    return 200, json.dumps(verdict)


@pytest.mark.slow
def test_a_calibration_on_another_metric_is_none_of_this_one(cli: Cli, tmp_path: Path) -> None:
    """The bundled judge is calibrated on synergy alone; numbers without a judge carry nothing."""
    command = ["run", "--model", "micro", "--tasks", "micro/synergy_judged", "--limit", "8"]
    result = cli(*command, "--out", "run", "--json")
    metrics = result.json["tasks"]["micro/synergy_judged"]["metrics"]
    assert metrics["synergy"]["calibration"]["figure"] == "accuracy"
    assert metrics["synergy"]["mde"]["true"] > metrics["synergy"]["mde"]["seen"] > 0
    others = [m for name, m in metrics.items() if "_" in name and m.get("judge")]
    assert others
    for metric in others:
        assert metric["calibration"] is None
        assert metric["mde"]["true"] is None


# --- asked again -----------------------------------------------------------------------------------


def test_a_judge_that_changes_its_mind(cli: Cli, tmp_path: Path, server: JudgeServer) -> None:
    """Of 20 pairs that are asked about twice, 5 are judged otherwise the second time."""
    seen: set[str] = set()

    def reply(asked: Asked) -> tuple[int, str]:
        words = " ".join(part.get("text", "") for part in asked.answer)
        number = int(words.split()[-1])
        turned = words in seen and number % 8 == 0
        seen.add(words)
        return graded(asked, lambda _: not turned)

    server.reply = reply
    labels = write_jsonl(tmp_path / "l.jsonl", judge_pairs(40))
    command = ["judges", "calibrate", "synergy_rubric", "--labels", labels, "--again", "20"]
    found = cli(*command, "--judge", f"synergy_rubric={server.spec}", "--json").json["pairs"]["figures"]
    assert (found["accuracy"]["value"], found["accuracy"]["n"]) == (1, 40)
    assert found["self_consistency"]["n"] == 20
    assert found["self_consistency"]["value"] == 15 / 20, "every other pair is in the subset"
    low, high = found["alpha_self"]["ci95"]
    assert -1 < low < found["alpha_self"]["value"] < high < 1
    assert len(server.asked) == 80 + 40


def test_nothing_is_asked_again_on_demand(cli: Cli, tmp_path: Path) -> None:
    make_judge_folder(tmp_path / "own")
    labels = write_jsonl(tmp_path / "l.jsonl", [pair(f"p{i}", "7", "3", "a") for i in range(4)])
    command = ["judges", "calibrate", "digit", "--include", "own", "--allow-code", "--labels", labels]
    found = cli(*command, "--again", "0", "--json").json["pairs"]["figures"]
    assert set(found) == {"accuracy", "kappa", "length_bias"}
    found = cli(*command, "--again", "9", "--json").json["pairs"]["figures"]
    assert (found["self_consistency"]["value"], found["self_consistency"]["n"]) == (1, 4)
    assert cli(*command, "--again", "-1").code == 2


def test_a_program_that_is_not_always_the_same(cli: Cli, tmp_path: Path) -> None:
    """It is asked again for real: one that counts its calls is found out."""
    code = SCORE_PY + "calls = []\n\ndef restless(sample, response):\n    calls.append(1)\n"
    code += "    return {'quality': Score(len(calls) % 7)}\n"
    yaml = JUDGE_YAML.replace(":score", ":restless")
    make_judge_folder(tmp_path / "own", yaml=yaml, files={"score.py": code})
    labels = write_jsonl(tmp_path / "l.jsonl", [grade(f"g{i}", "7", i % 3) for i in range(40)])
    command = ["judges", "calibrate", "digit", "--include", "own", "--allow-code", "--labels", labels]
    found = cli(*command, "--json").json["grades"]["figures"]
    assert found["alpha_self"]["value"] < 0.9
    assert found["self_consistency"]["value"] < 1


# --- what it costs ---------------------------------------------------------------------------------

# The judge's server says that a reply took 11 tokens in and 7 out: 25 units of money.
PRICES = """\
date: "2026-01-01"
source: a test
currency: USD
models:
  judge: {input: 1000000, output: 2000000}
"""


@pytest.fixture
def prices(own_home: Path) -> None:
    own_home.mkdir()
    (own_home / "prices.yaml").write_text(PRICES)


@pytest.mark.usefixtures("prices")
def test_a_budget_stops_it_and_what_is_paid_is_kept(
    cli: Cli, tmp_path: Path, server: JudgeServer, own_home: Path
) -> None:
    server.reply = flipping(0.9)
    labels = write_jsonl(tmp_path / "l.jsonl", judge_pairs(100))
    command = ["judges", "calibrate", "synergy_rubric", "--labels", labels, "--again", "10"]
    command += ["--judge", f"synergy_rubric={server.spec}", "--json"]
    stopped = cli(*command, "--budget", "1000")
    assert (stopped.code, stopped.out) == (5, "")
    assert "the budget is spent" in stopped.err
    assert not (own_home / "calibrations").exists()
    asked = len(server.asked)
    assert 40 <= asked <= 40 + 64, "those under way may end"
    done = cli(*command, "--budget", "100000").json
    assert len(server.asked) == 220, "no verdict was paid for twice"
    assert done["cost"] == {
        "calls": 220 - asked,
        "tokens": {"input": 11 * (220 - asked), "output": 7 * (220 - asked)},
        "money": pytest.approx(25 * (220 - asked)),
        "currency": "USD",
        "prices": "2026-01-01",
    }
    shown = cli(*command[:-1]).out
    assert "0 calls, 0 tokens in and 0 out: 0.00 USD (prices of 2026-01-01)" in shown


def test_a_price_that_nobody_knows(cli: Cli, tmp_path: Path, server: JudgeServer) -> None:
    server.reply = flipping(0.9)
    labels = write_jsonl(tmp_path / "l.jsonl", judge_pairs(5))
    command = ["judges", "calibrate", "synergy_rubric", "--labels", labels]
    command += ["--judge", f"synergy_rubric={server.spec}"]
    refused = cli(*command, "--budget", "3")
    assert refused.code == 2
    assert "the price of 'judge' is not known" in refused.err
    assert not server.asked
    assert cli(*command, "--json").json["cost"]["money"] is None, "unknown, not 0"


@pytest.mark.usefixtures("prices")
@pytest.mark.parametrize("judge", ["synergy_rubric", "synergy_pairwise"])
def test_a_dry_run_estimates_and_asks_nobody(
    cli: Cli, tmp_path: Path, server: JudgeServer, own_home: Path, judge: str
) -> None:
    labels = write_jsonl(tmp_path / "l.jsonl", judge_pairs(10))
    command = ["judges", "calibrate", judge, "--labels", labels, "--again", "5", "--dry-run"]
    command += ["--judge", f"{judge}={server.spec}"]
    found = cli(*command, "--json")
    assert found.code == 0, found.err
    assert (found.json["labels"], found.json["again"]) == (10, 5)
    part = found.json["cost"]["by"][f"judge {judge}"]
    assert part["calls"] == 2 * (10 + 5), "two responses, or two orders"
    assert part["money"] == part["tokens"]["input"] + 2 * part["tokens"]["output"] > 0
    shown = cli(*command).out
    assert f"{judge} would be asked about 10 labels, 5 of them twice" in shown
    assert "(prices of 2026-01-01)" in shown
    assert not server.asked
    assert not (own_home / "calibrations").exists()


# --- errors that are known -------------------------------------------------------------------------


@pytest.mark.learning
@pytest.mark.slow
@pytest.mark.parametrize(
    ("judge", "right", "sticky"),
    [
        ("synergy_rubric", 0.8, 0.0),
        ("synergy_pairwise", 0.8, 0.2),
        pytest.param("synergy_rubric", 1.0, 0.0, marks=only_in("learning")),
        pytest.param("synergy_pairwise", 1.0, 0.0, marks=only_in("learning")),
    ],
)
def test_the_known_errors_of_a_judge_that_sees_are_found(
    tmp_path: Path, server: JudgeServer, judge: str, right: float, sticky: float
) -> None:
    """A test server that sees exactly and errs with known probability; every figure must hold that."""
    labels = micro_labels(tmp_path, 120 if right < 1 else 40)
    labels = Labels(labels.name, list(unlike(labels.rows)))
    server.reply = MicroJudge(labels.rows, tmp_path / "seen", right, sticky)
    scorer = make_judge(find_judges()[judge], False, server.spec)
    found = calibrate(scorer, next(iter(scorer.metrics)), labels, "", 60, lambda failed: None)
    assert found.pairs is not None
    assert found.pairs.unscored == 0
    follows = (1 - sticky) * right
    known = {
        "accuracy": follows + sticky / 2,
        "self_consistency": follows**2 + ((1 - sticky) * (1 - right)) ** 2 + sticky**2,
    }
    if judge == "synergy_pairwise":
        known |= {"position_bias": sticky, "first_preference": sticky}
    for name, truth in known.items():
        figure = found.pairs.figures[name]
        assert figure.ci95 is not None
        assert figure.ci95[0] <= truth <= figure.ci95[1], (name, truth, figure)
        if right == 1:
            assert figure.value == truth, name
