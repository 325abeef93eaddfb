"""The gate on real runs: verdicts, exit codes, what it leaves behind, and every wrong use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from xml.etree import ElementTree

import numpy as np
import pytest

from eval_anything import gate
from eval_anything.gating.decide import Differences, Requirement, decide, prove
from eval_anything.gating.policy import POLICY
from tests.support.helpers import Cli
from tests.support.runs_of_numbers import Numbers, change_results

GOOD = [1.0] * 70 + [0.0] * 30


def less(values: Sequence[float], count: int) -> list[float]:
    """The same with `count` of the ones lost."""
    return [0.0] * count + list(values[count:])


@pytest.fixture
def numbers(cli: Cli, tmp_path: Path) -> Numbers:
    made = Numbers(cli, tmp_path)
    made.task("a", 100)
    made.task("b", 100)
    return made


@pytest.fixture
def base(numbers: Numbers) -> Path:
    return numbers.run("base", {"a": GOOD, "b": GOOD})


def test_the_same_answers_pass(numbers: Numbers, base: Path) -> None:
    new = numbers.run("new", {"a": GOOD, "b": GOOD})
    result = gate(new, numbers.policy(""), base)
    assert (result.verdict, result.exit_code, result.reasons) == ("PASS", 0, [])


def test_a_loss_beyond_the_margin_blocks_and_is_named(numbers: Numbers, base: Path) -> None:
    new = numbers.run("new", {"a": less(GOOD, 20), "b": GOOD})
    result = gate(new, numbers.policy(""), base)
    assert (result.verdict, result.exit_code) == ("BLOCK", 1)
    assert result.reasons[0].startswith("num/a:value is worse")
    assert "by 20.0% of its range" in result.reasons[0]
    assert {t.name: t.verdict for t in result.against[0].tasks} == {
        "num/a:value": "BLOCK",
        "num/b:value": "no loss shown",
    }


def test_a_loss_within_the_margin_warns(numbers: Numbers, base: Path) -> None:
    new = numbers.run("new", {"a": less(GOOD, 20), "b": GOOD})
    result = gate(new, numbers.policy("defaults: {margin: 0.3}\nsuite: {margin: 0.4}\n"), base)
    assert (result.verdict, result.exit_code) == ("WARN", 0)
    assert "within its margin of 30.0%" in result.reasons[0]


def test_too_few_samples_settle_nothing_and_say_how_many_would(numbers: Numbers) -> None:
    numbers.task("few", 12)
    base = numbers.run("base2", {"few": [1.0, 0.0] * 6})
    new = numbers.run("new2", {"few": [0.0, 1.0] * 3 + [1.0, 0.0] * 3})
    result = gate(new, numbers.policy(""), base)
    assert (result.verdict, result.exit_code) == ("INCONCLUSIVE", 2)
    assert "times the samples would settle it" in result.reasons[0]


def test_one_sample_settles_nothing(numbers: Numbers) -> None:
    numbers.task("one", 1)
    base = numbers.run("base2", {"one": [1.0]})
    result = gate(numbers.run("new2", {"one": [1.0]}), numbers.policy(""), base)
    assert result.verdict == "INCONCLUSIVE"
    assert "no known spread" in result.reasons[0]


def test_all_samples_failed_blocks(numbers: Numbers, base: Path) -> None:
    new = numbers.run("new", {"a": [None] * 99 + [1.0], "b": GOOD}, allow_missing=True)
    assert gate(new, numbers.policy(""), base).verdict == "BLOCK"


def test_margins_are_shares_of_the_range_and_lower_may_be_better(numbers: Numbers) -> None:
    numbers.task("down", 100, better="lower", most=10.0)
    base = numbers.run("base2", {"down": [2.0] * 100})
    worse = numbers.run("new2", {"down": [3.0] * 60 + [2.0] * 40})
    result = gate(worse, numbers.policy(""), base)
    assert result.verdict == "BLOCK"
    assert "by 6.0% of its range" in result.reasons[0]
    assert gate(base, numbers.policy(""), worse).verdict == "PASS"


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        ("{tier: critical, floor: 0.5}", "PASS"),
        ("{tier: critical, floor: 0.95}", "BLOCK"),
        ("{tier: critical, floor: 0.7}", "INCONCLUSIVE"),
        ("{tier: supporting, floor: 0.95}", "WARN"),
    ],
)
def test_floors_hold_on_the_interval(numbers: Numbers, base: Path, rule: str, verdict: str) -> None:
    new = numbers.run("new", {"a": GOOD, "b": GOOD})
    result = gate(new, numbers.policy(f"tasks:\n  num/a: {rule}\n"), base)
    assert result.verdict == verdict
    if verdict != "PASS":
        assert "floor" in result.reasons[0]


def test_a_floor_that_is_not_settled_says_how_many_samples_would(numbers: Numbers, base: Path) -> None:
    new = numbers.run("new", {"a": GOOD, "b": GOOD})
    for floor, words in ((0.65, "3.9 times"), (0.75, "2.8 times"), (0.6999, "")):
        policy = numbers.policy(f"tasks:\n  num/a: {{tier: critical, floor: {floor}}}\n")
        result = gate(new, policy, base)
        assert result.verdict == "INCONCLUSIVE"
        remedy = f"does not settle it; {words} the samples would" if words else "does not settle it"
        assert remedy in result.reasons[0]
        assert ("times" in result.reasons[0]) == bool(words), "one that no number of samples settles"


# --- proof ---------------------------------------------------------------------------------------


def proofs(run: Path, policy: Path, base: Path) -> tuple[str, dict[str, str]]:
    """The verdict, and that on each proof by its name."""
    result = gate(run, policy, base)
    assert result.verdict != "INVALID", result.reasons
    return result.verdict, {proof.name: proof.verdict for proof in result.against[0].proofs}


def mixed(changes: int) -> list[float]:
    """GOOD with so many samples lost and as many gained."""
    return [0.0] * changes + GOOD[changes : 100 - changes] + [1.0] * changes


def test_a_critical_task_that_is_not_proven_is_inconclusive(numbers: Numbers, base: Path) -> None:
    new = numbers.run("new", {"a": mixed(20), "b": GOOD})
    wide = "suite: {margin: 0.2}\ndefaults: {tier: TIER}\nprove: {of: [tasks]}\n"
    critical, supporting = (wide.replace("TIER", tier) for tier in ("critical", "supporting"))
    each = {"num/a:value": "INCONCLUSIVE", "num/b:value": "PASS"}
    assert proofs(new, numbers.policy(critical), base) == ("INCONCLUSIVE", each)
    warned = {"num/a:value": "WARN", "num/b:value": "PASS"}
    assert proofs(new, numbers.policy(supporting), base) == ("WARN", warned)
    wider = critical.replace("of: [tasks]", "margin: 0.12")
    assert proofs(new, numbers.policy(wider), base)[0] == "PASS"
    alone = critical.replace("of: [tasks]", "") + "tasks: {num/a: {prove: 0.12}}\n"
    assert proofs(new, numbers.policy(alone), base)[0] == "PASS"
    without = "suite: {margin: 0.2}\ntasks: {num/a: {prove: 0.05}}\n"
    assert proofs(new, numbers.policy(without), base) == ("WARN", {"num/a:value": "WARN"})
    [reason] = gate(new, numbers.policy(critical), base).reasons
    assert reason.startswith("num/a:value changed by +0.00% against ")
    assert "(n 100): the margin of 10.0% is not proven; 1.2 times the samples would settle" in reason


def test_the_proof_of_a_modality_does_not_stand_for_that_of_a_critical_task(
    numbers: Numbers, base: Path
) -> None:
    new = numbers.run("new", {"a": mixed(20), "b": GOOD})
    policy = (
        "suite: {margin: 0.2}\nprove: {of: [modalities], margin: {modalities: 0.1}}\n"
        "tasks: {num/a: {tier: TIER}}\n"
    )
    pooled = {"text in": "PASS", "text out": "PASS"}
    supporting = numbers.policy(policy.replace("TIER", "supporting"))
    assert proofs(new, supporting, base) == ("PASS", pooled)
    critical = numbers.policy(policy.replace("TIER", "critical"))
    assert proofs(new, critical, base) == ("INCONCLUSIVE", {"num/a:value": "INCONCLUSIVE", **pooled})
    narrow = numbers.policy(policy.replace("0.1", "0.01").replace("TIER", "supporting"))
    assert proofs(new, narrow, base)[0] == "INCONCLUSIVE", "modalities that are named must be proven"
    for run in (base, new):
        path = run / "num/a/records.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        old = [{k: v for k, v in row.items() if k not in ("inputs", "outputs")} for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in old))
    result = gate(new, supporting, base)
    assert result.verdict == "INVALID"
    assert "num/a: no run has the modalities of its samples on record" in result.reasons[0]


def test_a_task_with_one_source_or_three_samples_proves_nothing(numbers: Numbers) -> None:
    numbers.task("few", 3)
    numbers.task("one", 5, cluster=5)
    runs = [numbers.run(name, {"few": [1.0] * 3, "one": [1.0] * 5}) for name in ("base2", "new2")]
    policy = numbers.policy("suite: {margin: 0.9}\nprove: {}\n")
    result = gate(runs[1], policy, runs[0])
    assert result.verdict == "WARN"
    few, one = result.reasons
    assert "at worst -63.16% (n 3): the margin of 10.0% is not proven; 39.9 times" in few
    assert "with no known spread (n 5)" in one


def test_figures_of_the_whole_run(numbers: Numbers, base: Path) -> None:
    new = numbers.run("new", {"a": [*GOOD[:-20], *[None] * 20], "b": GOOD}, allow_missing=True)
    valid = "metrics:\n  valid_output: {tier: critical, floor: 0.99}\n"
    result = gate(new, numbers.policy(valid), base)
    assert result.verdict == "BLOCK"
    assert any("valid_output is 0.9" in reason for reason in result.reasons)
    slow = "metrics:\n  latency.p95: {max_relative: 0.1}\n"
    unknown = gate(new, numbers.policy(slow), base)
    assert unknown.verdict == "WARN", "saved outputs have no latency"
    assert "latency.p95 is not known" in unknown.reasons[0]


def test_latency_against_the_baseline(numbers: Numbers, base: Path) -> None:
    new = numbers.run("new", {"a": GOOD, "b": GOOD})
    for run, seconds in ((base, 1.0), (new, 1.5)):
        for task in ("a", "b"):
            path = run / "num" / task / "records.jsonl"
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            rows = [row | {"latency": {"total": seconds}} for row in rows]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    slow = "metrics:\n  latency.p95: {tier: TIER, max_relative: 0.2}\n"
    assert gate(new, numbers.policy(slow.replace("TIER", "advisory")), base).verdict == "WARN"
    assert gate(new, numbers.policy(slow.replace("TIER", "critical")), base).verdict == "BLOCK"
    assert gate(base, numbers.policy(slow.replace("TIER", "critical")), new).verdict == "PASS"


def test_an_advisory_metric_only_warns_and_is_not_in_the_suite(numbers: Numbers, base: Path) -> None:
    new = numbers.run("new", {"a": less(GOOD, 30), "b": GOOD})
    policy = numbers.policy("suite: {margin: 0.05}\ntasks:\n  num/a: {tier: advisory}\n")
    result = gate(new, policy, base)
    assert result.verdict == "WARN"
    assert result.against[0].suite.change.difference == 0
    both = "defaults: {tier: advisory}\n"
    assert gate(new, numbers.policy(both), base).verdict == "INVALID"


def test_a_second_metric_of_a_task_is_gated_if_the_policy_names_it(numbers: Numbers, base: Path) -> None:
    new = numbers.run("new", {"a": GOOD, "b": GOOD})
    result = gate(new, numbers.policy("tasks:\n  num/a:twice: {margin: 0.1}\n"), base)
    assert [t.name for t in result.against[0].tasks] == ["num/a:value", "num/b:value", "num/a:twice"]


def test_two_baselines_and_paths_beside_the_policy(numbers: Numbers, base: Path) -> None:
    numbers.run("green", {"a": less(GOOD, 20), "b": GOOD})
    new = numbers.run("new", {"a": less(GOOD, 20), "b": GOOD})
    policy = numbers.policy("baseline: {pin: base, also: green}\n")
    result = gate(new, policy)
    assert [a.verdict for a in result.against] == ["BLOCK", "PASS"], "a slow decline is seen by the pin"
    assert result.verdict == "BLOCK"


def test_judges_that_nobody_measured_do_not_gate(numbers: Numbers, base: Path) -> None:
    new = numbers.run("new", {"a": GOOD, "b": GOOD})
    place = ("tasks", "num/a", "metrics", "value")
    change_results(new, {"judge": "own_rubric", "calibration": None}, *place)
    result = gate(new, numbers.policy(""), base)
    assert (result.verdict, result.exit_code) == ("INVALID", 3)
    assert "its judge own_rubric is not calibrated" in result.reasons[0]
    assert gate(new, numbers.policy("allow_uncalibrated: true\n"), base).verdict == "PASS"
    measured = {
        "metric": "value",
        "figure": "accuracy",
        "value": 0.7,
        "ci95": [0.6, 0.8],
        "n": 80,
        "labels": "labels.jsonl",
        "figures": {"accuracy": 0.7, "kappa": 0.4},
    }
    change_results(new, {"calibration": measured}, *place)
    assert gate(new, numbers.policy(""), base).verdict == "PASS"
    wanted = "tasks:\n  num/a: {min_judge: {%s}}\n"
    low = gate(new, numbers.policy(wanted % "kappa: 0.5"), base)
    assert low.verdict == "INVALID"
    assert "has kappa 0.400, under 0.5" in low.reasons[0]
    assert gate(new, numbers.policy(wanted % "kappa: 0.3"), base).verdict == "PASS"
    unknown = gate(new, numbers.policy(wanted % "kapa: 0.3"), base)
    assert "Did you mean kappa?" in unknown.reasons[0]


def test_what_cannot_be_gated_is_invalid_and_says_why(
    numbers: Numbers, base: Path, tmp_path: Path
) -> None:
    new = numbers.run("new", {"a": GOOD, "b": GOOD})

    def reason(policy: str = "", baseline: Path | None = base, candidate: Path = new) -> str:
        result = gate(candidate, numbers.policy(policy), baseline)
        assert (result.verdict, result.exit_code) == ("INVALID", 3)
        return result.reasons[0]

    assert "names no baseline" in reason(baseline=None)
    assert "not the directory of a run" in reason(baseline=tmp_path / "none")
    assert "not the directory of a run" in reason(candidate=tmp_path / "none")
    assert "names 'num/c', which" in reason("tasks:\n  num/c: {}\n")
    assert "no such metric. Did you mean twice?" in reason("tasks:\n  num/a:twise: {}\n")
    assert "Did you mean margin?" in reason("suite: {margn: 0.1}\n")
    assert "a margin is a share" in reason("suite: {margin: -0.1}\n")
    assert "policy.yaml:3: a weight must be above 0" in reason("tasks:\n  num/a: {weight: 0}\n")
    assert "needs a floor" in reason("metrics:\n  valid_output: {tier: critical}\n")
    assert "alpha must lie between" in reason("alpha: 0.7\n")
    assert "policy.yaml:2: name tasks, modalities or both" in reason("prove: {of: []}\n")
    assert "modalities are not in `of`" in reason("prove: {margin: {modalities: 0.1}}\n")
    assert "a margin is a share" in reason("prove: {margin: 2}\n")
    assert "prove" in reason("prove: {of: [modality]}\n")
    assert "nothing to prove" in reason("tasks:\n  num/a: {tier: advisory, prove: 0.1}\n")
    only_a = numbers.run("only", {"a": GOOD})
    assert "has no num/b, which the policy gates" in reason(baseline=only_a)
    path = new / "num/a/records.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:90]))
    assert "10 samples have a value in only one" in reason()
    path.write_bytes(b"")
    assert "no sample has a value in both" in reason()
    path.write_bytes(b"{" + whole)
    assert "damaged record" in reason()
    path.write_bytes(whole)
    change_results(new, {"invalid": "its judge sleeps"}, "tasks", "num/a", "metrics", "value")
    assert "num/a:value is INVALID" in reason()
    absent = gate(new, tmp_path / "absent.yaml", base)
    assert "there is no such policy" in absent.reasons[0]


def test_a_score_that_is_no_number_is_a_damaged_record(numbers: Numbers, base: Path) -> None:
    new = numbers.run("new", {"a": GOOD, "b": GOOD})
    path = new / "num/a/records.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"value":1.0', b'"value":NaN', 1))
    result = gate(new, numbers.policy(""), base)
    assert result.verdict == "INVALID"
    assert "damaged record" in result.reasons[0]


def test_a_line_that_is_twice_counts_once(numbers: Numbers, base: Path) -> None:
    new = numbers.run("new", {"a": GOOD, "b": GOOD})
    path = new / "num/a/records.jsonl"
    path.write_bytes(path.read_bytes() * 2)
    result = gate(new, numbers.policy(""), base)
    assert result.verdict == "PASS"
    assert result.against[0].tasks[0].change.n == 100


def test_the_command_writes_its_reports(
    numbers: Numbers, base: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    new = numbers.run("new", {"a": less(GOOD, 20), "b": GOOD})
    policy = numbers.policy("prove: {}\nmetrics:\n  valid_output: {floor: 0.5}\n")
    out = tmp_path / "reports"
    result = cli("gate", "--candidate", new, "--baseline", base, "--policy", policy, "--out", out)
    assert result.code == 1
    assert result.out.startswith("BLOCK: ")
    written = json.loads((out / "gate.json").read_text())
    assert (written["verdict"], written["exit_code"]) == ("BLOCK", 1)
    suites = ElementTree.parse(out / "gate.xml").getroot()
    first = suites[0]
    assert (first.get("tests"), first.get("failures"), first.get("errors")) == ("5", "2", "0")
    comment = (out / "gate.md").read_text()
    assert "⛔ eval-anything gate: BLOCK" in comment
    assert "| num/a:value | -20.00% |" in comment
    assert "20 samples lost, 0 gained; most: `s0` (1 → 0)" in comment
    assert "| num/b:value | 100 | +0.00% | -2.95% | 10.0% | proven |" in comment
    assert "must be proven" in result.out
    assert summary.read_text() == comment
    as_json = cli("gate", "run", "--candidate", new, "--baseline", base, "--policy", policy, "--json")
    assert (as_json.code, as_json.json["verdict"]) == (1, "BLOCK")
    assert (new / "gate.json").is_file(), "beside the run, where nothing else is said"


def test_hostile_names_stay_text_in_the_reports(numbers: Numbers, base: Path, cli: Cli) -> None:
    new = numbers.run("new", {"a": less(GOOD, 20), "b": GOOD})
    for run in (base, new):
        path = run / "num/a/records.jsonl"
        data = path.read_text().replace('"sample_id":"s0"', '"sample_id":"<script>|`\\u0000\\n"')
        path.write_text(data)
    result = cli("gate", "--candidate", new, "--baseline", base, "--policy", numbers.policy(""))
    assert result.code == 1
    ElementTree.parse(new / "gate.xml")
    table = [line for line in (new / "gate.md").read_text().splitlines() if "<script>" in line]
    assert not [line for line in table if line.startswith("|")]


def test_a_machine_that_fails_is_not_a_verdict(numbers: Numbers, base: Path, cli: Cli) -> None:
    new = numbers.run("new", {"a": GOOD, "b": GOOD})
    (new / "file").write_text("")
    arguments = ("gate", "--candidate", new, "--baseline", base, "--policy", numbers.policy(""))
    result = cli(*arguments, "--out", new / "file" / "below")
    assert result.code == 4
    assert "below" in result.err


def test_init_writes_a_policy_that_gates(numbers: Numbers, base: Path, cli: Cli, tmp_path: Path) -> None:
    assert cli("gate", "init", "mine.yaml").code == 0
    assert (tmp_path / "mine.yaml").read_text() == POLICY
    assert cli("gate", "init", "mine.yaml").code == 3
    new = numbers.run("new", {"a": GOOD, "b": GOOD})
    result = gate(new, tmp_path / "mine.yaml", base)
    assert result.verdict == "WARN", "saved outputs have no latency to compare"
    schema = cli("gate", "init", "--schema").json
    assert "allow_uncalibrated" in json.dumps(schema)


def test_plan_says_what_can_be_seen(numbers: Numbers, base: Path, cli: Cli) -> None:
    g = np.random.default_rng(0)
    pilot = numbers.run("pilot", {t: g.permutation(GOOD).tolist() for t in ("a", "b")})
    policy = numbers.policy("suite: {margin: 0.05}\n")
    arguments = ("gate", "plan", "--policy", policy, "--baseline", base)
    text = cli(*arguments)
    assert text.code == 0
    assert "correlation of 0.5 assumed" in text.out
    assumed = cli(*arguments, "--json").json
    spread = (2 * 0.5 * 0.7 * 0.3 * 100 / 99) ** 0.5  # 2 (1 - r) p (1 - p)
    assert assumed["tasks"][0]["spread"] == pytest.approx(spread)
    assert assumed["tasks"][0]["mde"] == pytest.approx((2.2414 + 0.8416) * spread / 10, rel=1e-3)
    measured = cli(*arguments, "--pilot", pilot, "--json").json
    assert measured["tasks"][0]["spread"] > assumed["tasks"][0]["spread"], "unrelated answers"
    assert measured["suite"]["mde"] < measured["tasks"][0]["mde"]
    needed = measured["suite"]["needed"]
    assert needed == pytest.approx(200 * (measured["suite"]["mde"] / 0.05) ** 2, rel=0.01)
    assert cli(*arguments, "--correlation", "1").code == 3
    absent = cli("gate", "plan", "--policy", "none.yaml", "--baseline", base)
    assert (absent.code, "no such policy" in absent.err) == (3, True)


def test_plan_says_which_margins_are_provable(numbers: Numbers, base: Path, cli: Cli) -> None:
    pilot = numbers.run("pilot", {"a": mixed(20), "b": GOOD})
    policy = numbers.policy(
        "defaults: {tier: critical}\nprove: {of: [tasks, modalities], margin: {modalities: 0.08}}\n"
        "tasks: {num/b: {prove: 0.02}}\n"
    )
    arguments = ("gate", "plan", "--policy", policy, "--baseline", base, "--pilot", pilot)
    plan = cli(*arguments, "--json").json
    a, b, asked_with, _ = plan["proofs"]
    error = (0.4 * 100 / 99) ** 0.5 / 10
    assert a["provable"] == pytest.approx((1.644854 + 0.841621) * error, rel=1e-3)
    assert a["power"] == pytest.approx(NormalDist().cdf(0.1 / error - 1.644854), abs=1e-3)
    assert a["needed"] == pytest.approx(100 * (a["provable"] / 0.1) ** 2, abs=1)
    assert b["provable"] == pytest.approx(1 - 0.05 ** (1 / 100)), "nothing differs: the rule of three"
    assert (b["power"], b["needed"]) == (0, 149), "149 equal samples leave 2 % open"
    assert (asked_with["name"], asked_with["n"]) == ("text in", 200)
    assert asked_with["provable"] == pytest.approx(a["provable"] / 2, rel=0.01)
    assert plan["all_proven"] == 0
    text = cli(*arguments).out
    assert "An unchanged candidate proves all of it in about 0% of cases" in text
    assert "num/a:value: 100 samples will hardly prove a margin of 10.0%; it takes 250." in text
    assert "num/b:value: 100 samples will hardly prove a margin of 2.0%; it takes 149." in text
    assert "text in: 200" not in text
    numbers.policy("prove: {margin: 0}\n")
    assert "no number of samples is enough" in cli(*arguments).out


def test_what_the_plan_calls_provable_is_proven_four_times_in_five() -> None:
    g = np.random.default_rng(5)
    n, changed = 300, 0.2
    provable = (1.644854 + 0.841621) * (changed / n) ** 0.5
    proven = 0
    for _ in range(400):
        values = g.choice([-1.0, 0.0, 1.0], n, p=[changed / 2, 1 - changed, changed / 2])
        proven += prove(Requirement("t", values, np.arange(n), provable), 0.05).verdict == "PASS"
    assert 0.74 < proven / 400 < 0.86


def test_the_plan_keeps_its_word() -> None:
    """A loss of the size that the plan calls seen is blocked four times in five."""
    g = np.random.default_rng(4)
    n, spread = 400, 0.4
    mde = (1.959964 + 0.841621) * spread / n**0.5
    blocked = 0
    for _ in range(400):
        values = np.clip(g.normal(-mde, spread, n), -1, 1)
        blocked += decide([Differences("t", values, np.arange(n), 0.0)], 0.0, 0.05).verdict == "BLOCK"
    assert 0.72 < blocked / 400 < 0.9


@pytest.mark.slow
def test_the_fixture_fails_a_training_repositorys_test(numbers: Numbers, base: Path) -> None:
    numbers.run("good", {"a": GOOD, "b": GOOD})
    numbers.run("bad", {"a": less(GOOD, 20), "b": GOOD})
    numbers.policy("baseline: {pin: base}\n")
    (numbers.root / "test_checkpoint.py").write_text(
        "def test_good(eval_gate):\n"
        "    assert eval_gate('good', 'policy.yaml').verdict == 'PASS'\n"
        "def test_bad(eval_gate):\n"
        "    eval_gate('bad', 'policy.yaml')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_checkpoint.py"],
        cwd=numbers.root,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTEST_ADDOPTS": ""},
        check=False,
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "num/a:value is worse" in done.stdout
