"""Scoring code of a folder: allowed or not, failing, lying about its metrics; fingerprints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.helpers import (
    TASK_YAML,
    Cli,
    Result,
    answers,
    make_task,
    medium_sample,
    png,
    text_sample,
    write_jsonl,
)

YAML = """\
version: 1
title: A task
description: What it measures.
licence: CC0-1.0
inputs: [text, image]
outputs: [text]
primary: mine
contract: {required: [text]}
scorer: score.py:score
template: prompt.j2
metrics:
  mine: {range: [0, 1]}
  faults: {range: [0, 4], better: lower}
  half: {range: [0, 1], floor: 0.5}
"""
GOOD = """\
from eval_anything.content import Score

def score(sample, response):
    return {"mine": Score(float(response.text == "Paris")), "faults": Score(1.0), "half": Score(1.0)}
"""
IDS = [f"s{i}" for i in range(100)]


def run_with(
    cli: Cli,
    tmp_path: Path,
    code: str = GOOD,
    rows: list[dict[str, Any]] | None = None,
    ids: list[str] = IDS,
    allow: bool = True,
) -> Result:
    make_task(
        tmp_path,
        "mine/demo",
        [text_sample(i) for i in ids],
        YAML,
        score__py=code,
        prompt__j2="{{ text }}",
    )
    write_jsonl(tmp_path / "rows.jsonl", answers(ids) if rows is None else rows)
    arguments = ["score", "--outputs", "rows.jsonl", "--tasks", "mine/demo", "--include", "mine"]
    return cli(*arguments, "--json", "--out", "run", *(["--allow-code"] if allow else []))


def metric(result: Result, name: str = "mine") -> dict[str, Any]:
    found: dict[str, Any] = result.json["tasks"]["mine/demo"]["metrics"][name]
    return found


def records(tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "run" / "mine" / "demo" / "records.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_code_of_a_folder_runs_only_if_allowed(cli: Cli, tmp_path: Path) -> None:
    code = "open('ran', 'w').close()\n" + GOOD
    refused = run_with(cli, tmp_path, code, allow=False)
    assert refused.code == 2
    assert "add --allow-code" in refused.err
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "run").exists()


def test_allowed_code_scores(cli: Cli, tmp_path: Path) -> None:
    result = run_with(cli, tmp_path)
    assert result.code == 0
    assert metric(result)["value"] == 1
    assert metric(result)["n"] == 100
    for record in records(tmp_path):
        assert record["scores"]["faults"] == {
            "value": 1.0,
            "judge": "mine/demo",
            "range": [0.0, 4.0],
            "better": "lower",
        }


def test_code_of_an_included_judge_runs_only_if_allowed(cli: Cli, tmp_path: Path) -> None:
    judge = tmp_path / "judges" / "own"
    judge.mkdir(parents=True)
    (judge / "score.py").write_text(GOOD)
    (judge / "judge.yaml").write_text(
        "version: 1\nkind: program\ntitle: t\ndescription: d\nsees: [text]\nscorer: score.py:score\n"
        + YAML[YAML.index("metrics:") :]
    )
    yaml = YAML[: YAML.index("scorer:")] + "judges: [own]\n"
    make_task(tmp_path, "mine/demo", yaml=yaml)
    write_jsonl(tmp_path / "rows.jsonl", answers([f"s{i}" for i in range(4)]))
    arguments = ["score", "--outputs", "rows.jsonl", "--tasks", "mine/demo", "--json"]
    arguments += ["--include", "mine", "--include", "judges"]
    refused = cli(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert "judge own has code of its own" in refused.err
    assert metric(cli(*arguments, "--allow-code"))["value"] == 1


BAD = {
    "raises": ("raise KeyError('x')", "failed on this response: KeyError: 'x'"),
    "undeclared": ("return {'main': Score(1.0)}", "gave 'main', which `metrics` does not declare"),
    "too much": ("return {'mine': Score(1.5)}", "gave 1.5 for mine, outside 0.0..1.0"),
    "not finite": ("return {'mine': Score(float('nan'))}", "finite number"),
    "no number": ("return {'mine': 'high'}", "failed on this response"),
    "no mapping": ("return 1.0", "failed on this response"),
    "nothing": ("return None", "failed on this response"),
    "not recordable": ("return {'mine': Score(1.0, details={'x': object()})}", "failed on"),
    "no text": ("return {'mine': Score('high')}", "failed on"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_scorer_that_fails_leaves_the_sample_unscored(cli: Cli, tmp_path: Path, kind: str) -> None:
    line, words = BAD[kind]
    code = f"from eval_anything.content import Score\ndef score(sample, response):\n    {line}\n"
    result = run_with(cli, tmp_path, code, ids=["a", "b", "c"])
    assert result.code == 1
    found = metric(result)
    assert (found["value"], found["n"], found["unscored"], found["failed"]) == (None, 3, 3, 0)
    assert found["invalid"] == "3 of 3 samples are unscored"
    for record in records(tmp_path):
        assert record["scores"]["mine"]["value"] is None
        assert words in record["scores"]["mine"]["explanation"]
        assert record["error"] is None


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        ("0.1 + 0.2 + 0.7 + 2e-16", 1.0),
        ("1.0000000000000002", 1.0),
        ("1 + 0.9e-9", 1.0),
        ("-1e-17", 0.0),
        ("0.3", 0.3),
        ("1 + 1.1e-9", None),
        ("-1e-8", None),
    ],
)
def test_float_rounding_is_inside_of_the_range(
    cli: Cli, tmp_path: Path, value: str, recorded: float | None
) -> None:
    scorer = f"def score(sample, response):\n    return {{'mine': {value} if response.parts else 0}}\n"
    result = run_with(cli, tmp_path, scorer, ids=["a"])
    assert metric(result)["value"] == recorded
    (record,) = records(tmp_path)
    assert record["scores"]["mine"]["value"] == recorded


@pytest.mark.parametrize(("faults", "code"), [(0, 0), (2, 0), (3, 1)])
def test_above_two_percent_unscored_a_metric_is_invalid(
    cli: Cli, tmp_path: Path, faults: int, code: int
) -> None:
    scorer = (
        "from eval_anything.content import Score\ndef score(sample, response):\n"
        f"    if int(sample.id[1:]) < {faults}: raise ValueError\n"
        "    mine = Score(0.5 + int(sample.id[1:]) % 2 / 2)\n"
        "    return {'mine': mine, 'faults': Score(0.0), 'half': Score(0.0)}\n"
    )
    result = run_with(cli, tmp_path, scorer)
    assert result.code == code
    found = metric(result)
    assert found["unscored"] == faults
    assert found["n"] == 100
    assert ("invalid" in found) == bool(code)
    if code:
        assert found["value"] is None
    else:
        values = [0.5 + i % 2 / 2 for i in range(faults, 100)]
        assert found["value"] == pytest.approx(sum(values) / len(values))


def test_scores_of_numpy_are_recorded_as_numbers(cli: Cli, tmp_path: Path) -> None:
    code = (
        "import numpy as np\nfrom eval_anything.content import Score\n"
        "def score(sample, response):\n"
        "    return {'mine': Score(np.float64(0.25)), 'half': Score(np.bool_(True)),\n"
        "            'faults': Score(3, explanation='bad \\udcff')}\n"
    )
    result = run_with(cli, tmp_path, code, ids=["a", "b"])
    assert result.code == 0
    assert metric(result)["value"] == 0.25
    assert metric(result, "half")["value"] == 1
    assert records(tmp_path)[0]["scores"]["faults"]["explanation"] == "bad \ufffd"


def test_failed_samples_score_the_floor_of_each_metric(cli: Cli, tmp_path: Path) -> None:
    rows = [*answers(["a", "b", "c"]), {"sample_id": "d", "parts": []}]
    result = run_with(cli, tmp_path, rows=rows, ids=["a", "b", "c", "d"])
    assert result.code == 1
    assert "the model failed 1 of 4 samples" not in result.out
    failed = next(r for r in records(tmp_path) if r["sample_id"] == "d")
    assert failed["error"]["kind"] == "empty_output"
    assert {n: s["value"] for n, s in failed["scores"].items()} == {"mine": 0, "faults": 4, "half": 0.5}
    assert metric(result)["value"] == 0.75
    assert metric(result, "faults")["value"] == (3 * 1 + 4) / 4
    assert metric(result, "half")["value"] == (3 + 0.5) / 4
    for name in ("mine", "faults", "half"):
        assert (metric(result, name)["n"], metric(result, name)["failed"]) == (4, 1)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import nonsense_that_is_not_there\n" + GOOD, "does not import: ModuleNotFoundError"),
        ("1 / 0\n" + GOOD, "does not import: ZeroDivisionError"),
    ],
)
def test_code_that_does_not_import_is_the_users_error(
    cli: Cli, tmp_path: Path, code: str, words: str
) -> None:
    result = run_with(cli, tmp_path, code)
    assert result.code == 2
    assert f"score.py {words}" in result.err


# --- fingerprints -------------------------------------------------------------------------------


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    samples = [text_sample("a"), medium_sample("b", "image", "a.png"), text_sample("c")]
    return make_task(
        tmp_path, "mine/demo", samples, YAML, score__py=GOOD, prompt__j2="{{ text }}", a__png=png()
    )


def fingerprint(cli: Cli, folder: Path, *more: str) -> dict[str, str]:
    """The fingerprint of the task in a fresh run."""
    write_jsonl(folder.parents[1] / "rows.jsonl", answers(["a", "b", "c"]))
    out = folder.parents[1] / f"run{len(list(folder.parents[1].glob('run*')))}"
    arguments = ["--tasks", "mine/demo", "--include", folder, "--allow-code", "--out", out, *more]
    result = cli("run", "--model", "replay/rows.jsonl", *arguments)
    assert result.code == 0, result.err
    found: dict[str, str] = json.loads((out / "run.json").read_text())["fingerprints"]["mine/demo"]
    return found


def replace(name: str, old: str, new: str) -> Any:
    def change(folder: Path) -> None:
        text = (folder / name).read_text("utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), "utf-8")

    return change


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (replace("score.py", "Score(1.0)", "Score(0.9)"), "judge mine/demo"),
        (replace("samples.jsonl", "France", "Spain"), "samples"),
        (replace("samples.jsonl", '"id": "c"', '"id": "c", "targets": {"x": 1}'), "samples"),
        (replace("prompt.j2", "{{ text }}", "{{ text }}!"), "template"),
        (replace("task.yaml", "version: 1", "version: 2"), "version"),
        (replace("task.yaml", "floor: 0.5", "floor: 0.4"), "metrics"),
        (lambda folder: (folder / "a.png").write_bytes(png((0, 0, 255))), "samples"),
    ],
    ids=["code", "sample", "target", "template", "version", "floor", "medium"],
)
def test_a_fingerprint_changes_with_what_decides_the_numbers(
    cli: Cli, demo: Path, change: Any, key: str
) -> None:
    before = fingerprint(cli, demo)
    change(demo)
    after = fingerprint(cli, demo)
    assert {k for k in before if before[k] != after[k]} == {key}


def test_a_fingerprint_does_not_change_with_limit_seed_title_or_rows(cli: Cli, demo: Path) -> None:
    before = fingerprint(cli, demo)
    replace("task.yaml", "title: A task", "title: Another")(demo)
    assert fingerprint(cli, demo, "--limit", "1", "--seed", "7", "--repeats", "1") == before
    (demo / "samples.jsonl").write_text("\n\n".join((demo / "samples.jsonl").read_text().splitlines()))
    assert fingerprint(cli, demo, "--max-failed", "1") == before


def test_the_code_fingerprint_covers_engine_modules_that_are_imported(tmp_path: Path) -> None:
    from eval_anything.files.code import code_fingerprint

    plain, with_stats, with_content = (tmp_path / name for name in ("a.py", "b.py", "c.py"))
    plain.write_text("x = 1\n")
    with_stats.write_text("from eval_anything.statistics import intervals\n")
    with_content.write_text("from eval_anything.content import Score\n")
    import hashlib

    def of_file_alone(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    assert code_fingerprint(plain) == of_file_alone(plain)
    assert code_fingerprint(with_stats) != of_file_alone(with_stats)
    assert code_fingerprint(with_content) == of_file_alone(with_content)


def test_a_scorer_that_raises_costs_only_the_metrics_that_apply(cli: Cli, tmp_path: Path) -> None:
    """`other` does not apply to any sample, so a crash on a response does not count against it."""
    code = (
        "from eval_anything.content import Score\n\n"
        "def score(sample, response):\n"
        "    if 'boom' in response.text:\n"
        "        raise RuntimeError('no luck')\n"
        "    return {'mine': Score(1.0)}\n"
    )
    yaml = TASK_YAML.replace("judges: [selection_contract]\nprimary: selection", "primary: mine")
    yaml += "scorer: score.py:score\nmetrics: {mine: {range: [0, 1]}, other: {range: [0, 1]}}\n"
    ids = [f"s{i}" for i in range(100)]
    make_task(tmp_path, samples=[text_sample(i) for i in ids], yaml=yaml, score__py=code)
    rows = [*answers(ids[:1], "boom"), *answers(ids[1:])]
    outputs = write_jsonl(tmp_path / "out.jsonl", rows)
    command = ["score", "--outputs", outputs, "--tasks", "mine/demo", "--include", "mine"]
    done = cli(*command, "--allow-code", "--json")
    assert done.code == 0, done.err
    metrics = done.json["tasks"]["mine/demo"]["metrics"]
    assert (metrics["mine"]["n"], metrics["mine"]["unscored"]) == (100, 1)
    assert "other" not in metrics
