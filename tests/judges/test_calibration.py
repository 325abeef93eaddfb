"""`judges calibrate`, `validate` and `show`: programs, a judge model on a server, micro pairs."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import msgspec
import pytest

from eval_anything.evaluation.options import JUDGE_VARIABLE
from eval_anything.files.places import content_folder
from eval_anything.judges.assemble import make_judge
from eval_anything.judges.calibration.labels import read_labels
from eval_anything.judges.calibration.store import calibrations_of, load_calibration, quality_of
from eval_anything.judges.folder import find_judges
from eval_anything.micro.pairs.labels import micro_labels
from tests.support.helpers import (
    Cli,
    answers,
    make_task,
    medium_sample,
    png,
    text_sample,
    wav,
    write_jsonl,
)
from tests.support.judge_server import JudgeServer, judge_server
from tests.support.labelled import (
    JUDGE_YAML,
    SCORE_PY,
    flipping,
    grade,
    judge_pairs,
    make_judge_folder,
    pair,
    text,
)
from tests.support.paths import ROOT


@pytest.fixture
def digit(tmp_path: Path) -> list[str | Path]:
    """The arguments that calibrate a judge whose score is the first digit of the response."""
    make_judge_folder(tmp_path / "own")
    return ["judges", "calibrate", "digit", "--include", tmp_path / "own", "--allow-code"]


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with judge_server() as judge:
        judge.socket.listen(256)  # many connections at once; beyond the queue they wait for seconds
        yield judge


# --- what is measured ----------------------------------------------------------------------------


def test_pairs(cli: Cli, tmp_path: Path, digit: list[str | Path]) -> None:
    rows = [
        *(pair(f"right{i}", "7", "3", "a") for i in range(5)),
        *(pair(f"wrong{i}", "6 and very long", "2", "b") for i in range(2)),
        pair("tied", "5", "5", "b"),
        pair("failed", "5", "?", "a"),
        pair("no-side", "8", "1", "tie"),
    ]
    labels = write_jsonl(tmp_path / "labels.jsonl", rows)
    result = cli(*digit, "--labels", labels, "--json")
    assert (result.code, result.err) == (0, "")
    found = result.json
    assert (found["judge"], found["metric"], found["n"]) == ("digit", "quality", 10)
    assert (found["labels"], found["grades"]) == ("labels.jsonl", None)
    pairs = found["pairs"]
    assert (pairs["n"], pairs["unscored"], pairs["reason"]) == (10, 1, "a question mark")
    assert pairs["figures"]["accuracy"]["value"] == pytest.approx((5 + 0.5) / 9)
    assert pairs["figures"]["accuracy"]["n"] == 9
    assert pairs["figures"]["kappa"]["n"] == 10
    assert pairs["figures"]["length_bias"] == {
        "value": 1.0,
        "ci95": pytest.approx([0, 1], abs=1),
        "n": 2,
    }


def test_grades(cli: Cli, tmp_path: Path, digit: list[str | Path]) -> None:
    """Labels 1 to 5 lie on a judge's 0 to 10; the middle parts good from bad."""
    given = [(1, 0), (1, 3), (2, 1), (4, 6), (4, 8), (5, 9), (5, 2)]  # label, the judge's score
    rows = [grade(f"g{i}", str(score), label) for i, (label, score) in enumerate(given)]
    rows.append(grade("failed", "?", 5))
    found = cli(*digit, "--labels", write_jsonl(tmp_path / "l.jsonl", rows), "--json").json
    assert found["pairs"] is None
    assert (found["grades"]["n"], found["grades"]["unscored"]) == (8, 1)
    figures = found["grades"]["figures"]
    assert {name: f["n"] for name, f in figures.items()} == {
        "rho": 7, "alpha_interval": 7, "sensitivity": 5, "specificity": 3, "kappa_quadratic": 7,
        "self_consistency": 8, "alpha_self": 7,
    }  # fmt: skip
    assert figures["sensitivity"]["value"] == pytest.approx(3 / 5)
    assert figures["specificity"]["value"] == 1
    assert figures["self_consistency"]["value"] == pytest.approx(7 / 8), "a failure repeats nothing"
    assert figures["alpha_self"]["value"] == 1
    from scipy.stats import spearmanr

    assert figures["rho"]["value"] == pytest.approx(spearmanr(*zip(*given, strict=True)).statistic)
    assert 0 < figures["kappa_quadratic"]["value"] < 1
    assert 0 < figures["alpha_interval"]["value"] < 1


def test_a_metric_of_which_less_is_better_is_turned_round(cli: Cli, tmp_path: Path) -> None:
    yaml = JUDGE_YAML.replace("range: [0, 10]", "range: [0, 10], better: lower")
    make_judge_folder(tmp_path / "own", yaml=yaml)
    rows = [*(pair(f"p{i}", "2", "9", "a") for i in range(4))]
    rows += [grade(f"g{i}", str(9 - i), i) for i in range(9)]
    labels = write_jsonl(tmp_path / "l.jsonl", rows)
    command = ["judges", "calibrate", "digit", "--include", "own", "--allow-code", "--labels", labels]
    found = cli(*command, "--json").json
    assert found["pairs"]["figures"]["accuracy"]["value"] == 1
    assert found["grades"]["figures"]["rho"]["value"] == pytest.approx(1)
    shown = cli(*command).out
    assert "4 pairs" in shown
    assert "9 graded responses" in shown


def test_pairs_with_one_source_are_one_cluster(
    cli: Cli, tmp_path: Path, digit: list[str | Path]
) -> None:
    widths = []
    for sources in (50, 10):
        rows = [
            pair(f"p{i}", "7", "3", "ab"[i < 10], source_id=f"s{i * sources // 50}") for i in range(50)
        ]
        found = cli(*digit, "--labels", write_jsonl(tmp_path / "l.jsonl", rows), "--json").json
        low, high = found["pairs"]["figures"]["accuracy"]["ci95"]
        widths.append(high - low)
    assert widths[1] > 1.3 * widths[0]


def test_media_are_read_and_are_part_of_what_the_labels_are(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(png())
    (tmp_path / "broken.png").write_bytes(png(noise=3, size=64)[:200])
    (tmp_path / "tone.wav").write_bytes(wav())
    row = {
        **medium_sample("m", "audio", "tone.wav"),
        "a": [{"modality": "image", "path": "red.png"}],
        "b": [{"modality": "image", "path": "broken.png"}],
        "preferred": "a",
        "contract": {"required": ["image"]},
    }
    labels = write_jsonl(tmp_path / "l.jsonl", [row])
    before = read_labels(labels).sha256
    found = cli(
        "judges",
        "calibrate",
        "selection_contract",
        "--labels",
        labels,
        "--metric",
        "selection",
        "--json",
    )
    assert found.json["sha256"] == before
    assert found.json["pairs"]["figures"]["accuracy"]["value"] == 1, "a broken medium is the floor"
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("red.png", "broken.png", "tone.wav", "l.jsonl"):
        shutil.copy(tmp_path / name, moved)
    assert read_labels(moved / "l.jsonl").sha256 == before
    (moved / "red.png").write_bytes(png((1, 2, 3)))
    assert read_labels(moved / "l.jsonl").sha256 != before


def test_a_judge_that_always_fails(cli: Cli, tmp_path: Path, digit: list[str | Path]) -> None:
    rows = [*(pair(f"p{i}", "?", "3", "a") for i in range(3)), grade("g0", "?", 1), grade("g1", "?", 2)]
    labels = write_jsonl(tmp_path / "l.jsonl", rows)
    found = cli(*digit, "--labels", labels, "--json").json
    assert found["pairs"]["figures"]["accuracy"]["value"] == 0
    assert found["grades"]["figures"]["rho"] == {"value": None, "ci95": None, "n": 0}
    assert found["grades"]["figures"]["sensitivity"]["value"] == 0
    shown = cli(*digit, "--labels", labels)
    assert shown.code == 0
    assert "unscored: 3 of 3 (100.0%), wrong in accuracy and kappa" in shown.out
    assert "unscored: 2 of 2 (100.0%), wrong in sensitivity and specificity" in shown.out
    assert "a difference has -1.00 of its size and cannot be seen" in shown.out


# --- a judge model -------------------------------------------------------------------------------


def test_a_judge_that_is_right_eight_times_in_ten(cli: Cli, tmp_path: Path, server: JudgeServer) -> None:
    server.reply = flipping(0.8)
    labels = write_jsonl(tmp_path / "l.jsonl", judge_pairs(120))
    command = ["judges", "calibrate", "synergy_rubric", "--labels", labels]
    found = cli(*command, "--judge", f"synergy_rubric={server.spec}", "--json").json
    accuracy = found["pairs"]["figures"]["accuracy"]
    assert accuracy["n"] == 120
    assert accuracy["ci95"][0] <= 0.8 <= accuracy["ci95"][1]
    assert accuracy["ci95"][1] - accuracy["ci95"][0] < 0.16
    assert found["pairs"]["figures"]["kappa"]["value"] == pytest.approx(
        2 * accuracy["value"] - 1, abs=0.05
    )
    assert found["model"] == "openai/judge", "without the server's address"
    assert len(server.asked) == 240 + 2 * 50, "fifty pairs are asked about twice"
    assert found["pairs"]["figures"]["self_consistency"]["value"] == 1
    assert found["pairs"]["figures"]["self_consistency"]["n"] == 50


def test_replies_without_a_verdict_are_counted_and_shown(
    cli: Cli, tmp_path: Path, server: JudgeServer
) -> None:
    server.reply = flipping(1.0, failing=0.3)
    labels = write_jsonl(tmp_path / "l.jsonl", judge_pairs(60))
    command = ["judges", "calibrate", "synergy_rubric", "--labels", labels]
    command += ["--judge", f"synergy_rubric={server.spec}", "--again", "0"]
    found = cli(*command, "--json").json
    failed = sum(random.Random(f"judge {i}").random() < 0.3 for i in range(60))
    assert found["pairs"]["unscored"] == failed > 5
    assert found["pairs"]["figures"]["accuracy"]["value"] == pytest.approx(1 - failed / 60)
    assert found["pairs"]["figures"]["accuracy"]["n"] == 60
    shown = cli(*command)
    assert shown.code == 0
    assert f"unscored: {failed} of 60 ({failed / 60:.1%})" in shown.out
    assert "no usable verdict" in shown.out
    assert "60/60 labels, " in shown.err
    assert f"{failed} failed" in shown.err


def test_a_server_that_refuses_stops_it_and_keeps_nothing(
    cli: Cli, tmp_path: Path, server: JudgeServer, own_home: Path
) -> None:
    server.reply = lambda asked: (401, "no")
    labels = write_jsonl(tmp_path / "l.jsonl", judge_pairs(3))
    result = cli(
        "judges",
        "calibrate",
        "synergy_rubric",
        "--labels",
        labels,
        "--judge",
        f"synergy_rubric={server.spec}",
    )
    assert result.code == 2
    assert "OPENAI_API_KEY" in result.err
    assert not (own_home / "calibrations").exists()


# --- the micro world -----------------------------------------------------------------------------


def test_the_program_that_is_the_truth_is_never_wrong(cli: Cli, tmp_path: Path) -> None:
    """The judge is the scoring code of the task micro/synergy, on the pairs' files."""
    code = (content_folder("benchmarks") / "micro/synergy/score.py").read_text("utf-8")
    pairs = ("text_image", "text_audio", "text_video", "image_audio", "image_video", "video_audio")
    metrics = "".join(f"  {name}: {{range: [0, 1]}}\n" for name in ("synergy", *pairs))
    yaml = JUDGE_YAML.partition("metrics:")[0].replace(":score", ":synergy") + f"metrics:\n{metrics}"
    make_judge_folder(tmp_path / "own", "exact", yaml, {"score.py": code})
    command = ["judges", "calibrate", "exact", "--micro", "--limit", "40"]
    result = cli(*command, "--include", "own", "--allow-code", "--json")
    assert result.code == 0, result.err
    assert (result.json["n"], result.json["pairs"]["unscored"]) == (40, 0)
    assert result.json["pairs"]["figures"]["accuracy"]["value"] == 1


def test_the_page_shows_the_bundled_calibration() -> None:
    folder = content_folder("judges") / "micro_synergy_rm"
    (bundled,) = json.loads((folder / "calibration.json").read_bytes())
    figures = bundled["pairs"]["figures"]
    page = (ROOT / "docs/judging.md").read_text("utf-8")
    value, (low, high) = figures["accuracy"]["value"], figures["accuracy"]["ci95"]
    again = figures["self_consistency"]["value"]
    row = f"| reward_model | {value:.3f} ({low:.3f} .. {high:.3f}) | {again:.3f} | {bundled['n']} |"
    assert f"| `micro_synergy_rm` {row}" in page


@pytest.mark.slow
def test_the_bundled_reward_model_on_micro_pairs(cli: Cli) -> None:
    command = ["judges", "calibrate", "micro_synergy_rm", "--micro", "--limit", "40", "--again", "10"]
    found = cli(*command, "--json").json
    assert found["metric"] == "synergy"
    assert found["pairs"]["figures"]["self_consistency"] == {"value": 1, "ci95": ANY, "n": 10}
    accuracy = found["pairs"]["figures"]["accuracy"]
    assert accuracy["n"] == 40
    assert 0.5 < accuracy["ci95"][1] <= 1


def test_micro_labels_are_the_same_each_time(tmp_path: Path) -> None:
    first, again = (micro_labels(tmp_path / name, 12) for name in "ab")
    assert first.sha256 == again.sha256
    assert micro_labels(tmp_path / "c", 13).sha256 != first.sha256
    assert {row.label for row in first.rows} == {1.0, -1.0}


# --- what is kept --------------------------------------------------------------------------------


def test_the_newest_is_loaded_and_older_ones_are_kept(
    cli: Cli, tmp_path: Path, digit: list[str | Path], own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = write_jsonl(tmp_path / "l.jsonl", [pair(f"p{i}", "7", "3", "a") for i in range(6)])
    fingerprints = set()
    for year, limit in (("2030", "6"), ("2031", "4")):
        monkeypatch.setattr("time.strftime", lambda *_, year=year: f"{year}-01-01T00:00:00Z")
        fingerprints.add(cli(*digit, "--labels", labels, "--limit", limit, "--json").json["fingerprint"])
    (fingerprint,) = fingerprints
    kept = json.loads((own_home / "calibrations" / f"{fingerprint}.json").read_bytes())
    assert [(c["date"][:4], c["n"]) for c in kept] == [("2031", 4), ("2030", 6)]
    loaded = load_calibration(fingerprint)
    assert loaded is not None
    assert loaded.n == 4
    assert loaded.quality is not None
    assert (loaded.quality.figure, loaded.quality.value) == ("accuracy", 1)
    assert load_calibration("0" * 64) is None
    assert [c.n for c in calibrations_of("digit")] == [4]
    (tmp_path / "own/digit/score.py").write_text(SCORE_PY + "\n# another judge\n")
    other = cli(*digit, "--labels", labels, "--json").json["fingerprint"]
    assert other != fingerprint
    assert len(calibrations_of("digit")) == 2


def test_a_bundled_judge_may_carry_its_calibrations(
    cli: Cli, tmp_path: Path, digit: list[str | Path], own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = write_jsonl(tmp_path / "l.jsonl", [grade(f"g{i}", str(i), i) for i in range(5)])
    found = cli(*digit, "--labels", labels, "--json").json
    shutil.rmtree(own_home)
    assert load_calibration(found["fingerprint"]) is None
    bundled = tmp_path / "bundled"
    (bundled / "digit").mkdir(parents=True)
    (bundled / "digit" / "calibration.json").write_text(json.dumps([found]))
    monkeypatch.setattr("eval_anything.judges.calibration.store.content_folder", lambda kind: bundled)
    loaded = load_calibration(found["fingerprint"])
    assert loaded is not None
    assert msgspec.json.decode(msgspec.json.encode(loaded.quality)) == {
        "metric": "quality", "figure": "rho", "value": pytest.approx(1), "ci95": [-1, 1], "n": 5,
        "labels": "l.jsonl",
        "figures": {name: f["value"] for name, f in found["grades"]["figures"].items()},
    }  # fmt: skip
    shown = cli("judges", "show", "digit", "--include", "own")
    assert "against l.jsonl" in shown.out
    (bundled / "digit" / "calibration.json").write_text("{")
    broken = cli("judges", "show", "digit", "--include", "own")
    assert broken.code == 2
    assert "calibration.json cannot be read" in broken.err


def test_show_says_how_good_a_judge_is(cli: Cli, tmp_path: Path, digit: list[str | Path]) -> None:
    assert "not calibrated" in cli("judges", "show", "synergy_rubric").out
    assert "not calibrated: exact" in cli("judges", "show", "validity").out
    assert cli("judges", "show", "validity", "--json").json["calibrations"] == []
    labels = write_jsonl(tmp_path / "l.jsonl", [pair(f"p{i}", "7", "3", "ab"[i > 6]) for i in range(9)])
    printed = cli(*digit, "--labels", labels).out
    assert "Through this judge a difference has 0.56 of its size and needs 3.2 times" in printed
    shown = cli("judges", "show", "digit", "--include", "own").out
    assert "digit, quality, against l.jsonl" in shown
    assert re.search(r"accuracy \(a tie counts half\) +0\.778  0\.", shown)


def test_results_carry_the_calibration_of_their_judges(
    cli: Cli, tmp_path: Path, server: JudgeServer
) -> None:
    server.reply = flipping(0.9)
    spec = f"synergy_rubric={server.spec}"
    labels = write_jsonl(tmp_path / "l.jsonl", judge_pairs(20))
    yaml = (
        "version: 1\ntitle: T\ndescription: D\nlicence: CC0-1.0\ninputs: [text]\noutputs: [text]\n"
        "judges: [validity, synergy_rubric]\nprimary: synergy\ncontract: {required: [text]}\n"
    )
    make_task(tmp_path, yaml=yaml, samples=[text_sample("s0")])
    outputs = write_jsonl(tmp_path / "o.jsonl", answers(["s0"], "good 1"))
    command = ["score", "--outputs", outputs, "--tasks", "mine/demo", "--include", "mine", "--json"]
    before = cli(*command, "--judge", spec, "--out", "before").json["judges"]
    assert before["validity"]["calibration"] == "exact"
    assert before["synergy_rubric"]["calibration"] is None
    found = cli(
        "judges", "calibrate", "synergy_rubric", "--labels", labels, "--judge", spec, "--json"
    ).json
    after = cli(*command, "--judge", spec, "--out", "after").json["judges"]
    figures = found["pairs"]["figures"]
    assert after["synergy_rubric"]["calibration"] == {
        "metric": "synergy", "figure": "accuracy", "labels": "l.jsonl", **figures["accuracy"],
        "figures": {name: figure["value"] for name, figure in figures.items()},
    }  # fmt: skip


# --- wrong input ---------------------------------------------------------------------------------


GOOD_ROW = pair("ok", "7", "3", "a")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{", "not valid JSON"),
        ({**GOOD_ROW, "id": "ok"}, "id 'ok' is already on line 1"),
        ({**GOOD_ROW, "id": "x", "preferred": "c"}, "'c'"),
        ({**GOOD_ROW, "id": "x", "label": 3}, 'a row has "parts" and "label", or "a", "b"'),
        ({**text_sample("x"), "parts": text("7")}, 'a row has "parts" and "label"'),
        ({**text_sample("x"), "a": text("7"), "preferred": "a"}, 'a row has "parts" and "label"'),
        (grade("x", "7", 3, lable=1), "unknown key 'lable': remove it. Did you mean label"),
        (grade("x", "7", "three"), "expected `float | null`, got `str`"),  # type: ignore[arg-type]
        ({**grade("x", "7", 3), "messages": []}, "messages must end with one of the user"),
        ({**grade("x", "7", 3), "parts": [{"modality": "image", "path": "no.png"}]}, "does not exist"),
        ({**grade("x", "7", 3), "parts": [{"modality": "image", "path": "../no.png"}]}, "leads outside"),
    ],
)
def test_wrong_rows(
    cli: Cli, tmp_path: Path, digit: list[str | Path], own_home: Path, row: Any, words: str
) -> None:
    lines = [json.dumps(GOOD_ROW), "", row if isinstance(row, str) else json.dumps(row)]
    labels = tmp_path / "l.jsonl"
    labels.write_text("\n".join(lines))
    result = cli(*digit, "--labels", labels, "--limit", "1")
    assert (result.code, result.out) == (2, "")
    assert f"{labels}:3: " in result.err
    assert words in result.err
    assert not own_home.exists()


def test_other_wrong_input(cli: Cli, tmp_path: Path, digit: list[str | Path]) -> None:
    labels = write_jsonl(tmp_path / "l.jsonl", [GOOD_ROW])
    (tmp_path / "empty.jsonl").write_text("\n")

    def refused(*arguments: str | Path) -> str:
        result = cli(*arguments)
        assert (result.code, result.out) == (2, "")
        return result.err

    def calibrate(name: str, *arguments: str | Path) -> str:
        return refused("judges", "calibrate", name, *arguments)

    assert "holds no labels" in refused(*digit, "--labels", tmp_path / "empty.jsonl")
    assert "No such file" in refused(*digit, "--labels", tmp_path / "nowhere.jsonl")
    assert "one of the arguments --labels --micro is required" in refused(*digit)
    assert "--allow-code" in refused(*digit[:-1], "--labels", labels)
    assert "takes no model" in refused(*digit, "--labels", labels, "--judge", "digit=openai/x")
    assert "must be digit=SPEC" in refused(*digit, "--labels", labels, "--judge", "other=openai/x")
    assert "no metric 'qualty'. Did you mean quality" in refused(
        *digit, "--labels", labels, "--metric", "qualty"
    )
    assert "Did you mean synergy_rubric" in calibrate("synergy_rubrik", "--labels", labels)
    assert "--judge synergy_rubric=SPEC" in calibrate("synergy_rubric", "--labels", labels)
    assert "choose one with --metric" in calibrate("selection_contract", "--labels", labels)


def test_the_model_is_named_as_for_a_run(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By NAME=SPEC, by a SPEC for all judges that ask a chat model, or by the environment variable."""
    labels = write_jsonl(tmp_path / "l.jsonl", [GOOD_ROW])
    command = ["judges", "calibrate", "synergy_rubric", "--labels", labels, "--dry-run", "--json"]
    spec = "openai/gpt-4o@http://127.0.0.1:9/v1?a=b"
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    monkeypatch.delenv(JUDGE_VARIABLE, raising=False)
    without = cli(*command)
    assert without.code == 2
    assert f"--judge synergy_rubric=SPEC or --judge SPEC, or set {JUDGE_VARIABLE}" in without.err
    ways = [["--judge", spec], ["--judge", f"synergy_rubric={spec}"], []]
    monkeypatch.setenv(JUDGE_VARIABLE, "nonsense")
    for way in ways:
        if not way:
            monkeypatch.setenv(JUDGE_VARIABLE, spec)
        done = cli(*command, *way)
        assert done.code == 0, done.err
        assert done.json["cost"]["by"]["judge synergy_rubric"]["calls"] == 4
    for judge in ("micro_synergy_rm", "validity"):
        refused = cli("judges", "calibrate", judge, "--labels", labels, "--judge", spec)
        assert refused.code == 2
        assert f"{judge} asks no chat model" in refused.err


# --- judges validate -----------------------------------------------------------------------------


RUBRIC_YAML = """\
version: 1
kind: rubric
title: R
description: D
sees: [text]
template: rubric.jinja
scale: [0, 10]
metrics:
  quality: {range: [0, 1]}
"""
RUBRIC = "Grade it.\nThe mark is {{ fence }}.\n{% if expected %}{{ expected | length }}{% endif %}\n"


@pytest.mark.parametrize(
    "judge", sorted(p.parent for p in content_folder("judges").glob("*/judge.yaml"))
)
def test_bundled_judges_are_valid(cli: Cli, judge: Path) -> None:
    result = cli("judges", "validate", judge, "--json")
    assert result.code == 0, result.err
    assert (result.json["judge"], result.json["valid"]) == (judge.name, True)


def test_own_judges_are_valid_and_not_run(cli: Cli, tmp_path: Path) -> None:
    code = "open('ran', 'w')\n" + SCORE_PY
    program = make_judge_folder(tmp_path, "program", files={"score.py": code})
    said, note = cli("judges", "validate", program).out.splitlines()
    assert said == "program: program, gives quality; no mistakes found"
    assert note == "its code was read, not run: --allow-code imports and calls it"
    assert not (tmp_path / "ran").exists()
    rubric = make_judge_folder(tmp_path, "rubric", RUBRIC_YAML, {"rubric.jinja": RUBRIC})
    assert cli("judges", "validate", rubric).code == 0


@pytest.mark.parametrize(
    ("yaml", "files", "place"),
    [
        (JUDGE_YAML.replace("kind: program", "kind: progam"), None, "judge.yaml:2: "),
        (JUDGE_YAML.replace("title", "titel"), None, "judge.yaml:3: unknown key 'titel'"),
        (
            JUDGE_YAML.replace(":score", ":scores"),
            None,
            "judge.yaml:6: scorer: score.py defines no function",
        ),
        (JUDGE_YAML.replace(":score", ""), None, "judge.yaml:6: scorer: must be `file.py:function`"),
        (JUDGE_YAML, {}, "judge.yaml:6: scorer: score.py:score does not exist"),
        (JUDGE_YAML, {"score.py": "def score(:\n"}, "judge.yaml:6: scorer: score.py: "),
        (RUBRIC_YAML, {"rubric.jinja": RUBRIC + "{% if %}"}, "rubric.jinja:4: template: "),
        (
            RUBRIC_YAML,
            {"rubric.jinja": RUBRIC + "{{ fense }}"},
            "rubric.jinja:4: template: 'fense' is un",
        ),
        (
            RUBRIC_YAML,
            {"rubric.jinja": RUBRIC + "\n{% if expected %}{{ expected.text.x }}{% endif %}"},
            "rubric.jinja:5: template: ",
        ),
        (RUBRIC_YAML, {"rubric.jinja": "Grade it."}, "rubric.jinja: template: {{ fence }} is missing"),
        (
            RUBRIC_YAML.replace("scale: [0, 10]", "scale: [9, 1]"),
            {"rubric.jinja": RUBRIC},
            "judge.yaml:7: scale",
        ),
    ],
)
def test_mistakes_have_their_place(
    cli: Cli, tmp_path: Path, yaml: str, files: Mapping[str, str] | None, place: str
) -> None:
    folder = make_judge_folder(tmp_path, "mine", yaml, files)
    result = cli("judges", "validate", folder)
    assert (result.code, result.out) == (2, "")
    assert f"{folder}/{place}" in result.err


def test_a_path_that_is_no_judge(cli: Cli, tmp_path: Path) -> None:
    assert "no such folder" in cli("judges", "validate", "nowhere").err
    assert "no judge.yaml" in cli("judges", "validate", tmp_path).err


def test_the_bundled_calibration_is_of_the_bundled_judge() -> None:
    """A new checkpoint or guard makes the stored figures another judge's: measure them again."""
    folder = find_judges()["micro_synergy_rm"]
    card = quality_of(make_judge(folder, False, None).fingerprint)
    assert card is not None, "judges calibrate micro_synergy_rm --micro --json"
    assert card.n == 500
    figures = json.loads((folder.path / "figures.json").read_bytes())
    assert card.value == pytest.approx(figures["synergy"]["value"])
