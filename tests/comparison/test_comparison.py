"""Two real runs side by side."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from eval_anything import compare, gate
from eval_anything.comparison.answers import difference
from eval_anything.comparison.equivalence import equivalence_of
from eval_anything.comparison.pairs import pair
from eval_anything.comparison.sides import read_side
from eval_anything.content import Failure, Latency, MediaPart, Modality, Record, TextPart, Usage
from eval_anything.errors import UserError
from eval_anything.files.hashing import sha256_of
from eval_anything.runs.directory import read_run
from tests.support.helpers import Cli
from tests.support.lanes import full
from tests.support.runs_of_numbers import Numbers, change_results

SIX = {f"s{i}" for i in range(6)}


@pytest.fixture
def numbers(cli: Cli, tmp_path: Path) -> Numbers:
    return Numbers(cli, tmp_path)


def test_every_metric_is_paired_and_up_is_good(numbers: Numbers) -> None:
    numbers.task("up", 6)
    numbers.task("down", 6, better="lower")
    base = numbers.run("base", {"up": [0, 0, 1, 1, 0, 1], "down": [1, 1, 1, 0, 0, 0]})
    new = numbers.run("new", {"up": [1, 0, 1, 0, 1, 1], "down": [1, 0, 0, 0, 0, 0]})
    found = compare(base, new)
    by_name = {m.name: m for m in found.metrics}
    up = by_name["num/up:value"]
    assert (up.base, up.candidate) == (pytest.approx(0.5), pytest.approx(4 / 6))
    assert up.change.difference == pytest.approx(1 / 6)
    assert (up.losses, up.gains, up.unpaired, up.primary) == (1, 2, 0, True)
    assert [f.sample_id for f in up.flips] == ["s3", "s4", "s0"], "losses first, then gains"
    down = by_name["num/down:value"]
    assert down.change.difference == pytest.approx(2 / 6), "lower is better there"
    assert (down.losses, down.gains) == (0, 2)
    twice = by_name["num/up:twice"]
    assert twice.change.difference == pytest.approx(2 / 6)
    assert not twice.primary
    assert set(found.p_holm) == {"num/up:value", "num/down:value"}
    assert set(found.p_bh) == set(by_name)


def test_groups_say_where_it_changed(numbers: Numbers) -> None:
    numbers.task("t", 40)
    base = numbers.run("base", {"t": [1.0] * 40})
    new = numbers.run("new", {"t": [float(i % 2 == 0) for i in range(40)]})
    groups = {g.group: g for g in compare(base, new).groups}
    assert groups["even"].change.difference == 0
    assert groups["odd"].change.difference == -1
    assert groups["odd"].change.p == pytest.approx(2 * 0.5**20)


def test_failed_samples_count_at_the_floor(numbers: Numbers) -> None:
    numbers.task("t", 10)
    base = numbers.run("base", {"t": [1.0] * 10})
    new = numbers.run("new", {"t": [1.0] * 7 + [None] * 3}, allow_missing=True)
    change = compare(base, new).metrics[0]
    assert change.change.n == 10
    assert change.change.difference == pytest.approx(-0.3)


def test_clusters_are_those_of_the_source(numbers: Numbers) -> None:
    numbers.task("t", 40, cluster=5)
    g = np.random.default_rng(0)
    base = numbers.run("base", {"t": [0.5] * 40})
    new = numbers.run("new", {"t": np.repeat(g.choice([0.0, 0.5, 1.0], 8), 5).tolist()})
    assert compare(base, new).metrics[0].change.clusters == 8


def test_runs_of_other_tasks_or_versions_are_refused(numbers: Numbers, tmp_path: Path) -> None:
    numbers.task("a", 4)
    numbers.task("b", 4)
    base = numbers.run("base", {"a": [1.0] * 4})
    other = numbers.run("other", {"b": [1.0] * 4})
    with pytest.raises(UserError, match="no task in common"):
        compare(base, other)
    later = Numbers(numbers._cli, tmp_path / "later")
    later.task("a", 4, version=2)
    newer = later.run("newer", {"a": [1.0] * 4})
    with pytest.raises(UserError, match="num/a differs in version"):
        compare(base, newer)


def test_a_run_that_is_not_whole_is_refused(numbers: Numbers, cli: Cli) -> None:
    numbers.task("t", 4)
    base = numbers.run("base", {"t": [1.0] * 4})
    new = numbers.run("new", {"t": [1.0] * 4})
    file = json.loads((new / "run.json").read_text())
    (new / "run.json").write_text(json.dumps(file | {"status": "running"}))
    with pytest.raises(UserError, match="is not finished"):
        compare(base, new)
    (new / "run.json").write_text(json.dumps(file))
    (new / "results.json").write_bytes(b'{"tasks": {')
    with pytest.raises(UserError, match="cannot be read as results"):
        compare(base, new)
    (new / "results.json").unlink()
    with pytest.raises(UserError, match=r"has no results\.json"):
        compare(base, new)
    result = cli("compare", base, "nowhere")
    assert result.code == 2
    assert "not the directory of a run" in result.err


def test_samples_of_one_run_alone_are_left_out_and_counted(numbers: Numbers, cli: Cli) -> None:
    numbers.task("t", 6)
    base = numbers.run("base", {"t": [1.0] * 6})
    new = numbers.run("new", {"t": [1.0] * 6})
    path = new / "num/t/records.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    found = compare(base, new)
    assert found.metrics[0].unpaired == 2
    assert found.metrics[0].change.n == 4
    note = f"num/t: compared on the 4 samples that both runs have (6 in {base}, 4 in {new})"
    assert note in found.notes
    assert note in cli("compare", base, new).out


def _other_fingerprint(run: Path, task: str, **parts: str) -> None:
    file = json.loads((run / "run.json").read_text())
    file["fingerprints"][task] |= {key.replace("__", " "): part for key, part in parts.items()}
    (run / "run.json").write_text(json.dumps(file))


def test_what_cannot_be_compared_is_left_out_and_the_rest_is_compared(numbers: Numbers) -> None:
    numbers.task("a", 4)
    numbers.task("b", 4)
    values = {"a": [1.0] * 4, "b": [0.0, 1.0, 1.0, 1.0]}
    base, new = numbers.run("base", values), numbers.run("new", values)
    _other_fingerprint(new, "num/a", version="2")
    found = compare(base, new)
    assert {m.task for m in found.metrics} == {"num/b"}
    assert found.refused == dict.fromkeys(["num/a:twice", "num/a:value"], "version 1 -> 2")
    assert "not compared: num/a, other version 1 -> 2" in found.notes
    gated = gate(new, numbers.policy(""), base)
    assert gated.verdict == "INVALID"
    assert f"num/a:value differs in version 1 -> 2 in {base} and {new}" in gated.reasons[0]
    # A judge that only one run has, or has another one, decides nothing about other metrics.
    _other_fingerprint(new, "num/b", judge__tone="0" * 64)
    assert {m.name for m in compare(base, new).metrics} == {"num/b:value", "num/b:twice"}


def test_another_temperature_is_named_with_both(numbers: Numbers) -> None:
    numbers.task("t", 4)
    base, new = numbers.run("base", {"t": [1.0] * 4}), numbers.run("new", {"t": [1.0] * 4})
    file = json.loads((new / "run.json").read_text())
    file["sampling"] = {"temperature": 0.7}
    file["fingerprints"]["num/t"]["sampling"] = sha256_of(file["sampling"])
    (new / "run.json").write_text(json.dumps(file))
    with pytest.raises(UserError, match=r"num/t differs in temperature 0 -> 0\.7\. Run both"):
        compare(base, new)


def test_records_have_the_modalities_of_question_and_answer(numbers: Numbers) -> None:
    numbers.task("t", 4)
    base = read_side(numbers.run("base", {"t": [1.0] * 4}))
    new = read_side(numbers.run("new", {"t": [1.0] * 4}))
    older = [msgspec.structs.replace(o, inputs=(), outputs=()) for o in base.outlines["num/t"]]
    rows, _ = pair(older, new.outlines["num/t"], "value")
    assert {(row.inputs, row.outputs) for row in rows} == {((Modality.TEXT,), (Modality.TEXT,))}


def test_an_aggregate_is_compared_on_the_samples_of_both(numbers: Numbers, tmp_path: Path) -> None:
    numbers.task("t", 12)
    (tmp_path / "tasks/num/suite.yaml").write_text(
        "title: Numbers\ndescription: One task.\ntasks: [t]\n"
        "aggregates:\n  All: {formula: mean, inputs: {t: t:value}}\n"
    )
    base = numbers.run("base", {"t": [1.0] * 6 + [0.0] * 6})
    new = numbers.run("new", {"t": [1.0] * 12})
    path = new / "num/t/records.jsonl"
    rows = [line for line in path.read_text().splitlines() if json.loads(line)["sample_id"] in SIX]
    path.write_text("".join(row + "\n" for row in rows))
    [change] = compare(base, new).aggregates
    assert (change.base, change.candidate, change.difference) == (1.0, 1.0, 0.0)


def test_aggregates_are_drawn_together(cli: Cli, tmp_path: Path) -> None:
    numbers = Numbers(cli, tmp_path)
    numbers.task("a", 30)
    numbers.task("b", 30)
    (tmp_path / "tasks/num/suite.yaml").write_text(
        "title: Numbers\ndescription: Two tasks.\ntasks: [a, b]\n"
        "aggregates:\n  Both: {formula: mean, inputs: {a: a:value, b: b:value}}\n"
        "  Again: {formula: mean, inputs: {x: Both}}\n"
    )
    g = np.random.default_rng(1)
    first = {"a": g.integers(0, 2, 30).astype(float), "b": g.integers(0, 2, 30).astype(float)}
    base = numbers.run("base", first)
    same = {k: v.copy() for k, v in first.items()}
    same["a"][0] = 1 - same["a"][0]
    new = numbers.run("new", same)
    both, again = compare(base, new).aggregates
    assert (both.name, again.name) == ("num/Both", "num/Again")
    assert abs(both.difference) == pytest.approx(1 / 60)
    assert again.difference == pytest.approx(both.difference)
    width = both.ci95[1] - both.ci95[0]
    unseen = 1 - 0.05 ** (1 / 30)  # of b, where nothing differs
    assert unseen < width < unseen + 0.06, "what both runs share is no error of the difference"


def test_an_aggregate_of_runs_that_answer_alike_still_has_a_width(cli: Cli, tmp_path: Path) -> None:
    numbers = Numbers(cli, tmp_path)
    numbers.task("t", 24, most=10.0)
    (tmp_path / "tasks/num/suite.yaml").write_text(
        "title: Numbers\ndescription: One task.\ntasks: [t]\n"
        "aggregates:\n  All: {formula: mean, inputs: {t: t:value}}\n"
    )
    base = numbers.run("base", {"t": [5.0] * 12 + [6.0] * 12})
    [change] = compare(base, numbers.run("new", {"t": [5.0] * 12 + [6.0] * 12})).aggregates
    unseen = 1 - 0.05 ** (1 / 24)
    assert change.difference == 0
    assert change.ci95[0] == pytest.approx(-10 * unseen, abs=0.45), "as large as the range allows"
    assert change.ci95[1] == pytest.approx(10 * unseen, abs=0.45)


def test_an_invalid_metric_is_said_to_be_so(numbers: Numbers, cli: Cli) -> None:
    numbers.task("t", 4)
    base = numbers.run("base", {"t": [1.0] * 4})
    new = numbers.run("new", {"t": [0.0] * 4})
    change_results(
        new, {"invalid": "its judge sleeps", "value": None}, "tasks", "num/t", "metrics", "value"
    )
    assert "its judge sleeps" in compare(base, new).metrics[0].invalid
    assert "INVALID" in cli("compare", base, new).out


def test_the_command_in_its_three_forms(numbers: Numbers, cli: Cli) -> None:
    numbers.task("t", 30)
    base = numbers.run("base", {"t": [1.0] * 30})
    new = numbers.run("new", {"t": [0.0] * 12 + [1.0] * 18})
    text = cli("compare", base, new)
    assert text.code == 0
    assert "-0.400" in text.out
    assert "largest losses: s0 (1 -> 0)" in text.out
    assert "1 more metrics: --all shows them" in text.out
    everything = cli("compare", base, new, "--all").out
    assert "twice" in everything
    markdown = cli("compare", base, new, "--markdown").out
    assert "| num/t | value | 1.000 | 0.600 | -0.400 |" in markdown
    assert f"lost s0 ([1](<{base}/num/t/records.jsonl>) → [0](<{new}/num/t/records.jsonl>))" in markdown
    found = cli("compare", base, new, "--json").json
    assert found["metrics"][0]["change"]["difference"] == pytest.approx(-0.4)
    assert found["metrics"][0]["change"]["p"] == pytest.approx(2 * 0.5**12)


def _cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.perf
@pytest.mark.slow
def test_forty_tasks_of_two_thousand_samples_take_little_more_than_reading_them(
    numbers: Numbers, cli: Cli
) -> None:
    """In processor time, of whatever machine. One task is run; its records and entries stand in for the
    other 39."""
    numbers.task("t0", 2000)
    g = np.random.default_rng(0)
    runs = [
        numbers.run(name, {"t0": g.integers(0, 2, 2000).astype(float).tolist()})
        for name in ("base", "new")
    ]
    names = [f"num/t{i}" for i in range(40 if full("perf") else 6)]
    for run in runs:
        lines = (run / "num/t0/records.jsonl").read_bytes()
        for name in names[1:]:
            (run / name).mkdir()
            (run / name / "records.jsonl").write_bytes(lines)
        file = json.loads((run / "run.json").read_text())
        file |= {"tasks": names, "fingerprints": dict.fromkeys(names, file["fingerprints"]["num/t0"])}
        (run / "run.json").write_text(json.dumps(file))
        results = json.loads((run / "results.json").read_text())
        results["tasks"] = dict.fromkeys(names, results["tasks"]["num/t0"])
        (run / "results.json").write_text(json.dumps(results))
    reading = _cpu_seconds(lambda: [read_run(run, name) for run in runs for name in names])
    assert _cpu_seconds(lambda: cli("compare", *runs)) < 3 * reading
    policy = numbers.policy("")
    gate = ["gate", "run", "--baseline", runs[0], "--candidate", runs[1], "--policy", policy]
    assert _cpu_seconds(lambda: cli(*gate)) < 3 * reading
    assert _cpu_seconds(lambda: cli("bill", *runs)) < 3 * reading


def test_two_runs_that_are_equal_within_a_margin(numbers: Numbers, cli: Cli) -> None:
    numbers.task("same", 120)
    numbers.task("other", 120, better="lower", most=10.0)
    base = numbers.run("base", {"same": [1.0, 0.0] * 60, "other": [3.0] * 120})
    new = numbers.run("new", {"same": [1.0, 0.0] * 60, "other": [3.0] * 20 + [9.0] * 100})
    report = compare(base, new, equivalence=0.05).equivalence
    assert report is not None
    same, other = report.tasks["num/same:value"], report.tasks["num/other:value"]
    assert (same.verdict, same.difference, same.n) == ("equivalent", 0.0, 120)
    assert (other.verdict, other.difference) == ("different", pytest.approx(-0.5))
    assert report.overall.difference == pytest.approx(-0.25)
    assert report.overall.verdict == "different"
    answers = {answers.task: answers for answers in report.answers}
    assert (answers["num/same"].equal, answers["num/same"].kinds) == (1.0, {})
    assert answers["num/other"].kinds == {"text": 100}
    low, high = answers["num/other"].ci95
    assert low < 20 / 120 < high
    assert compare(base, new).equivalence is None
    text = cli("compare", base, new, "--equivalence", "0.05").out
    assert "equivalent: a loss and a gain of 0.05 of the range are both excluded" in text
    assert "all tasks" in text
    markdown = cli("compare", base, new, "--equivalence", "0.05", "--markdown").out
    assert "| num/other | value | -0.500 |" in markdown
    assert "| different | 120 | 0.167 (0.1" in markdown
    decided = cli("compare", base, new, "--equivalence", "0.05", "--json").json["equivalence"]
    assert decided["tasks"]["num/same:value"]["verdict"] == "equivalent"
    wide = cli("compare", base, new, "--equivalence", "0.001").out
    assert "not known: about" in wide


@pytest.mark.parametrize("margin", ["0", "-0.1", "1", "nan", "inf"])
def test_a_margin_that_is_none(margin: str, numbers: Numbers, cli: Cli) -> None:
    done = cli("compare", "base", "new", "--equivalence", margin)
    assert done.code == 2
    assert "must be a share of the range above 0 and below 1" in done.err


def test_runs_without_a_metric_in_common_are_not_called_equal(numbers: Numbers) -> None:
    numbers.task("t", 2)
    side = read_side(numbers.run("base", {"t": [1.0, 0.0]}))
    with pytest.raises(UserError, match="no sample with a value of a primary metric in both"):
        equivalence_of(side, side, 0.1, [])


def _record(text: str, **more: Any) -> Record:
    return Record(
        sample_id="s",
        repeat=0,
        item="i",
        source_id="s",
        parts=(TextPart(text),),
        order_known=True,
        stop_reason="stop",
        scores={},
        error=None,
        usage=Usage(),
        latency=Latency(),
        **more,
    )


@pytest.mark.parametrize(
    ("base", "candidate", "kind"),
    [
        ("Paris", "Paris", None),
        ("Paris", " Paris\n", "white space"),
        ("Paris", "Paris \ufffd", "cut character"),
        ("Paris", "Paris<|im_end|>\n", "control token"),
        ("Paris", "Rome", "text"),
    ],
)
def test_in_what_answers_differ(base: str, candidate: str, kind: str | None) -> None:
    assert difference(_record(base), _record(candidate)) == kind
    assert difference(_record(candidate), _record(base)) == kind


def test_in_what_answers_differ_besides_the_last_text() -> None:
    failed = msgspec.structs.replace(_record("Paris"), error=Failure("model_error", "no"))
    assert difference(_record("Paris"), failed) == "failure"
    assert difference(failed, failed) is None
    turns = [_record("Paris", turns=((TextPart(text),),)) for text in ("a", "a ", "b")]
    assert [difference(turns[0], turn) for turn in turns] == [None, "white space", "text"]
    shown = (TextPart("Paris"), MediaPart(Modality.IMAGE, "0" * 64, "image/png", Path("/red.png")))
    pictured = msgspec.structs.replace(_record("Paris"), parts=shown)
    assert difference(_record("Paris"), pictured) == "media"
