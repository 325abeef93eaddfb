"""From records to numbers: what n counts, repeats, groups, controls, aggregates, unscored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval_anything.errors import UserError
from eval_anything.evaluation.results import ScoredTask, Value, aggregates
from eval_anything.runs.results_file import MetricResult, TaskResult
from eval_anything.statistics.aggregates import amg
from eval_anything.statistics.intervals import mean_interval
from eval_anything.tasks.registry import Aggregate, Suite
from tests.support.helpers import TASK_YAML, Cli, Result, answers, make_task, text_sample, write_jsonl

OWN = """\
version: 1
title: A task
description: What it measures.
licence: CC0-1.0
inputs: [text]
outputs: [text]
primary: mine
contract: {required: [text]}
scorer: score.py:score
metrics: {mine: {range: [0, 1]}, other: {range: [0, 1]}}
group_by: [family]
"""
# The answer is the score; `other` applies to samples of the first family alone.
CODE = """\
from eval_anything.content import Score

def score(sample, response):
    scores = {"mine": Score(float(response.text or 0))}
    if sample.metadata["family"] == "one":
        scores["other"] = Score(1.0)
    return scores
"""


def row(id_: str, value: float | None, repeat: int = 0) -> dict[str, Any]:
    parts = [] if value is None else [{"modality": "text", "text": str(value)}]
    return {"sample_id": id_, "repeat": repeat, "parts": parts}


def sample(id_: str, family: str = "one", source: str = "") -> dict[str, Any]:
    more = {"source_id": source} if source else {}
    return text_sample(id_, metadata={"family": family}, **more)


def score(cli: Cli, *more: str) -> Result:
    arguments = ["score", "--outputs", "rows.jsonl", "--tasks", "mine/demo", "--include", "mine"]
    return cli(*arguments, "--allow-code", "--json", *more)


def test_n_counts_failed_samples_and_only_those_that_a_metric_applies_to(
    cli: Cli, tmp_path: Path
) -> None:
    samples = [sample("a"), sample("b"), sample("c", "two"), sample("d", "two")]
    make_task(tmp_path, samples=samples, yaml=OWN, score__py=CODE)
    rows = [row("a", 1), row("b", None), row("c", 0.5), row("d", None)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    result = score(cli, "--max-failed", "0.5")
    assert result.code == 0
    task = result.json["tasks"]["mine/demo"]
    assert (task["samples"], task["failed"]) == (4, 2)
    mine, other = task["metrics"]["mine"], task["metrics"]["other"]
    assert (mine["value"], mine["n"], mine["failed"], mine["unscored"]) == (0.375, 4, 2, 0)
    assert (other["value"], other["n"], other["failed"]) == (0.5, 2, 1)
    assert score(cli, "--max-failed", "0.49").code == 1


def test_groups_hold_the_primary_metric_apart(cli: Cli, tmp_path: Path) -> None:
    samples = [sample("a"), sample("b"), sample("c", "two"), sample("d", "two")]
    make_task(tmp_path, samples=samples, yaml=OWN, score__py=CODE)
    values = [1, 0.5, 0, 0.25]
    write_jsonl(tmp_path / "rows.jsonl", [row(i, v) for i, v in zip("abcd", values, strict=True)])
    groups = score(cli).json["tasks"]["mine/demo"]["groups"]
    assert set(groups) == {"family"}
    assert {k: (g["value"], g["n"]) for k, g in groups["family"].items()} == {
        "one": (0.75, 2),
        "two": (0.125, 2),
    }


def test_repeats_are_averaged_for_each_sample(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path, samples=[sample("a"), sample("b")], yaml=OWN, score__py=CODE)
    rows = [row("a", 1, 0), row("a", 0, 1), row("a", 0.5, 2), row("b", 1, 0), row("b", 1, 1)]
    write_jsonl(tmp_path / "rows.jsonl", [*rows, row("b", None, 2)])
    result = score(cli, "--repeats", "3", "--max-failed", "0.5")
    mine = result.json["tasks"]["mine/demo"]["metrics"]["mine"]
    per_sample = [0.5, 2 / 3]
    expected = mean_interval(per_sample, ["a", "b"], (0, 1))
    assert mine["n"] == 2
    assert mine["failed"] == 1
    assert mine["value"] == pytest.approx(expected.value)
    assert mine["stderr"] == pytest.approx(expected.stderr)
    assert mine["ci95"] == pytest.approx([expected.low, expected.high])
    repeats = mine["repeats"]
    assert repeats["answers"] == 3
    assert "passes" not in repeats, "a score of 0.5 neither passes nor fails"
    assert repeats["within"]["value"] == pytest.approx((0.25 + 1 / 3) / 2)
    assert repeats["between"]["value"] == 0, "means that are 1/6 apart may be chance"
    assert repeats["consistency"]["value"] == pytest.approx(1 - (2 / 3 + 2 / 3) / 2)


def test_passes_and_consistency_of_several_answers(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path, samples=[sample(name) for name in "abcd"], yaml=OWN, score__py=CODE)
    passed = {"a": 0, "b": 1, "c": 3, "d": 4}
    write_jsonl(
        tmp_path / "rows.jsonl", [row(s, int(i < k), i) for s, k in passed.items() for i in range(4)]
    )
    result = score(cli, "--repeats", "4")
    repeats = result.json["tasks"]["mine/demo"]["metrics"]["mine"]["repeats"]
    at = {j: figure["value"] for j, figure in repeats["passes"].items()}
    assert at == pytest.approx({"1": 0.5, "2": (0 + 0.5 + 1 + 1) / 4, "4": 0.75})
    assert repeats["consistency"]["value"] == pytest.approx((1 + 0.5 + 0.5 + 1) / 4)
    assert all(f["ci95"][0] <= f["value"] <= f["ci95"][1] for f in repeats["passes"].values())
    arguments = ["--tasks", "mine/demo", "--include", "mine", "--allow-code"]
    text = cli("score", "--outputs", "rows.jsonl", *arguments, "--repeats", "4", "--out", "four").out
    assert "mine/demo  mine    4  0.750 (" in text
    assert "4 answers a sample: pass@1 0.500 (" in (tmp_path / "four/report.html").read_text()
    write_jsonl(tmp_path / "once.jsonl", [row(s, int(k > 0)) for s, k in passed.items()])
    once = cli("score", "--outputs", "once.jsonl", *arguments, "--out", "once")
    assert "pass@" not in once.out
    refused = cli("compare", "four", "once")
    assert refused.code == 2
    assert "mine/demo differs in answers a sample 4 -> 1" in refused.err


def test_samples_of_one_source_are_one_cluster(cli: Cli, tmp_path: Path) -> None:
    samples = [sample(f"{s}{i}", source=s) for s in "abcd" for i in range(5)]
    make_task(tmp_path, samples=samples, yaml=OWN, score__py=CODE)
    rows = [row(s["id"], float(s["id"][0] in "ab")) for s in samples]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    mine = score(cli).json["tasks"]["mine/demo"]["metrics"]["mine"]
    assert mine["stderr"] == pytest.approx(mean_interval([1, 1, 0, 0], list("abcd"), (0, 1)).stderr)
    assert mine["n"] == 20


CONTROLS = """
def controls(scored):
    scored = list(scored)
    mean = sum(scores["mine"].value for _, scores in scored) / len(scored)
    return [{"chance": Score(mean, explanation=sample.id)} for sample, _ in scored]

def short(scored):
    return []

def broken(scored):
    raise RuntimeError("no luck")
"""


def controls_task(tmp_path: Path, function: str) -> None:
    yaml = OWN.replace("other: {range: [0, 1]}}", "other: {range: [0, 1]}, chance: {range: [0, 1]}}")
    yaml += f"controls: score.py:{function}\n"
    make_task(tmp_path, samples=[sample(i) for i in "abc"], yaml=yaml, score__py=CODE + CONTROLS)
    write_jsonl(tmp_path / "rows.jsonl", [row("a", 1), row("b", 0.5), row("c", 0)])


def test_controls_are_computed_over_all_scores_and_not_recorded(cli: Cli, tmp_path: Path) -> None:
    controls_task(tmp_path, "controls")
    result = score(cli, "--out", "run")
    chance = result.json["tasks"]["mine/demo"]["metrics"]["chance"]
    assert (chance["value"], chance["n"]) == (0.5, 3)
    line = (tmp_path / "run" / "mine" / "demo" / "records.jsonl").read_text().splitlines()[0]
    assert "chance" not in json.loads(line)["scores"]


@pytest.mark.parametrize(("function", "words"), [("short", "ValueError"), ("broken", "no luck")])
def test_controls_that_fail_are_named_and_cost_no_records(
    cli: Cli, tmp_path: Path, function: str, words: str
) -> None:
    controls_task(tmp_path, function)
    result = score(cli, "--out", "run")
    assert result.code == 2
    assert f"score.py:{function}" in result.err
    assert words in result.err
    lines = (tmp_path / "run" / "mine" / "demo" / "records.jsonl").read_text().splitlines()
    assert len(lines) == 3


def test_unscored_without_a_judge_model_is_not_invalid(cli: Cli, tmp_path: Path) -> None:
    rows = answers([f"open-syn-{i:02d}" for i in range(1, 4)])
    write_jsonl(tmp_path / "rows.jsonl", rows)
    arguments = ["score", "--outputs", "rows.jsonl", "--tasks", "open/synergy", "--first", "3"]
    result = cli(*arguments, "--json", "--out", "run")
    assert result.code == 0
    synergy = result.json["tasks"]["open/synergy"]["metrics"]["synergy"]
    assert synergy["value"] is None
    assert synergy["unscored"] == synergy["n"] == 3
    assert "invalid" not in synergy
    assert result.json["judges"]["synergy_rubric"]["available"] is False
    assert result.json["tasks"]["open/synergy"]["metrics"]["selection"]["value"] is not None


def test_results_do_not_depend_on_the_order_of_records(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path, samples=[sample(str(i)) for i in range(20)], yaml=OWN, score__py=CODE)
    write_jsonl(tmp_path / "rows.jsonl", [row(str(i), (i * 7 % 20) / 19) for i in range(20)])
    first = score(cli, "--out", "run").json
    path = tmp_path / "run" / "mine" / "demo" / "records.jsonl"
    path.write_bytes(b"".join(sorted(path.read_bytes().splitlines(keepends=True), reverse=True)))
    assert score(cli, "--out", "run").json == first


# --- aggregates ---------------------------------------------------------------------------------


def task_values(**metrics: list[float | None]) -> ScoredTask:
    """A task's result with each sample a cluster of its own."""
    values = {
        name: [Value(v, str(i), False) for i, v in enumerate(found)] for name, found in metrics.items()
    }
    summaries = {}
    for name, found in metrics.items():
        numbers = [v for v in found if v is not None]
        mean = sum(numbers) / len(numbers) if numbers else None
        summaries[name] = MetricResult(
            value=mean,
            stderr=None,
            ci95=(0.0, 1.0),
            n=len(found),
            failed=0,
            unscored=len(found) - len(numbers),
            better="higher",
            range=(0.0, 10.0),
        )
    primary = next(iter(summaries))
    return ScoredTask(TaskResult(primary=primary, metrics=summaries, samples=0, failed=0), values)


def suite(**wanted: Aggregate) -> Suite:
    return Suite("s", ("s/x", "s/y"), None, wanted)


def test_a_mean_of_one_metric_has_the_interval_of_that_metric() -> None:
    values = np.random.default_rng(0).random(200).tolist()
    results = {"s/x": task_values(m=values), "s/y": task_values(m=[0.0, 1.0])}
    [found] = aggregates(suite(A=Aggregate("mean", {"x": "x:m"})), results).values()
    expected = mean_interval(values, [str(i) for i in range(200)], (0, 1))
    assert found.value == pytest.approx(expected.value)
    assert found.stderr == pytest.approx(expected.stderr, rel=0.08)
    assert found.ci95 == pytest.approx([expected.low, expected.high], abs=0.01)


def test_metrics_of_one_task_keep_their_correlation() -> None:
    values = np.random.default_rng(0).random(100)
    together = task_values(m=values.tolist(), opposite=(1 - values).tolist())
    other = task_values(m=(1 - values).tolist())
    same = suite(A=Aggregate("mean", {"x": "x:m", "y": "x:opposite"}))
    apart = suite(A=Aggregate("mean", {"x": "x:m", "y": "y:m"}))
    results = {"s/x": together, "s/y": other}
    assert aggregates(same, results)["A"].stderr == pytest.approx(0, abs=1e-12)
    assert aggregates(apart, results)["A"].stderr > 0.01


def test_a_mean_of_one_metric_whose_values_are_all_alike_has_the_interval_of_the_rule_of_three() -> None:
    results = {"s/x": task_values(m=[10.0] * 40), "s/y": task_values(m=[0.0, 1.0])}
    [found] = aggregates(suite(A=Aggregate("mean", {"x": "x:m"})), results).values()
    assert found.ci95 is not None
    assert found.ci95 == pytest.approx((10 * 0.05 ** (1 / 40), 10), abs=0.1)


def test_amg_and_aggregates_of_aggregates() -> None:
    numbers = {"select": 0.25, "t": 9, "v": 8, "a": 7, "tv": 0.5, "ta": 0.6, "va": 0.7}
    results = {
        "s/x": task_values(**{k: [v] * 5 for k, v in numbers.items()}),
        "s/y": task_values(m=[1.0, 3.0]),
    }
    wanted = suite(
        AMU=Aggregate("mean", {"m": "y:m"}),
        AMG=Aggregate("amg", {k: f"s/x:{k}" for k in numbers}),
        Overall=Aggregate("mean", {"AMU": "AMU", "AMG": "AMG"}),
    )
    found = aggregates(wanted, results)
    assert found["AMU"].value == 2
    assert found["AMG"].value == pytest.approx(amg(numbers))
    assert found["AMG"].ci95 is not None
    low, high = found["AMG"].ci95
    assert low < amg(numbers) - 0.5, "five equal values do not prove that all are equal"
    assert high > amg(numbers) + 0.5
    assert found["Overall"].value == pytest.approx((2 + amg(numbers)) / 2)
    assert aggregates(wanted, results) == found


def test_an_aggregate_without_all_of_its_inputs_has_no_value() -> None:
    results = {"s/x": task_values(m=[None, None]), "s/y": task_values(m=[0.0, 1.0])}
    wanted = suite(
        A=Aggregate("mean", {"x": "x:m", "y": "y:m"}), B=Aggregate("mean", {"a": "A", "y": "y:m"})
    )
    found = aggregates(wanted, results)
    assert found["A"].value is None
    assert found["A"].ci95 is None
    assert found["B"].value is None
    assert found["B"].ci95 is None
    assert found["A"].inputs == {"x": "s/x:m", "y": "s/y:m"}, "a comparison needs no suite"
    assert found["B"].inputs == {"a": "s/A", "y": "s/y:m"}
    assert aggregates(wanted, {"s/y": results["s/y"]}) == {}


@pytest.mark.parametrize(
    ("reference", "words"), [("z:m", "wants the task 's/z'"), ("AMU2", "wants 'AMU2'")]
)
def test_an_aggregate_of_something_unknown_is_an_error(reference: str, words: str) -> None:
    results = {"s/x": task_values(m=[0.0, 1.0]), "s/y": task_values(m=[0.0, 1.0])}
    with pytest.raises(UserError, match=words):
        aggregates(suite(A=Aggregate("mean", {"x": reference})), results)


def test_a_suite_run_whole_prints_its_aggregates(cli: Cli, tmp_path: Path) -> None:
    for name in ("mine/a", "mine/b"):
        make_task(tmp_path, name, [text_sample("s0"), text_sample("s1")], TASK_YAML)
    (tmp_path / "mine" / "suite.yaml").write_text(
        "title: t\ndescription: d\ntasks: [a, b]\n"
        "aggregates: {Both: {formula: mean, inputs: {a: 'a:selection', b: 'b:selection'}}}\n"
    )
    rows = [r | {"task": t} for t in ("mine/a", "b") for r in answers(["s0", "s1"])]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    arguments = ["score", "--outputs", "rows.jsonl", "--include", "mine", "--out", "run"]
    whole = cli(*arguments, "--suite", "mine", "--json").json
    assert whole["aggregates"]["mine/Both"]["value"] == 1
    assert "mine/Both" in cli(*arguments, "--suite", "mine").out
