"""Gates that are run again with more samples, and runs that stop when one can decide."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import eval_anything as ea
from eval_anything.gating.sequential import (
    Counted,
    SequentialTask,
    Share,
    arrange,
    decide_sequence,
    units_of,
)
from eval_anything.statistics.sequential import Units, bound, evidence
from tests.support.helpers import Cli
from tests.support.runs_of_numbers import Numbers

N = 120
SAME = [1.0] * 80 + [0.0] * 40
POLICY = "suite: {margin: 0.05}\ndefaults: {tier: critical, margin: 0.05}\n"


def units(values: list[float], steps: list[int] | None = None) -> Units:
    numbers = np.arange(len(values)) if steps is None else np.array(steps)
    ones = np.ones(len(values))
    return Units(np.array(values, float), ones, ones, numbers, int(numbers.max()) + 1)


def test_fair_signs_seldom_look_like_a_gain_at_any_time() -> None:
    """Of all 2^10 sequences, a share alpha at most ever has a wealth of 1 / alpha (Ville)."""
    signs = 1 - 2 * ((np.arange(2**10)[:, None] >> np.arange(10)) & 1)
    most = np.array([evidence(units(row.tolist()), 0.0, 1)[-1] for row in signs])
    for alpha in (0.5, 0.25, 0.1):
        assert 0 < np.mean(most >= np.log(1 / alpha)) <= alpha


def test_bounds_hold_the_mean_between_them_and_shrink() -> None:
    g = np.random.default_rng(1)
    values = g.choice([-1.0, 0.0, 1.0], p=[0.15, 0.8, 0.05], size=600).tolist()
    few, many = units(values[:100]), units(values)
    low, high = bound(many, 0.025, 1), bound(many, 0.025, -1)
    assert low < -0.1 < high < 0
    assert high - low < bound(few, 0.025, -1) - bound(few, 0.025, 1)
    assert bound(units([1.0] * 50), 0.05, -1) == pytest.approx(1, abs=1e-6)
    assert bound(units([-1.0] * 50), 0.05, 1) == pytest.approx(-1, abs=1e-6)
    assert bound(units([0.0]), 0.05, 1) < -0.9, "one sample says next to nothing"


def test_steps_have_a_part_of_every_task_and_their_order_is_always_the_same() -> None:
    clusters = {"a": [f"a{i}" for i in range(10)], "b": [f"b{i}" for i in range(4)]}
    steps = arrange(clusters)
    assert [len(step["b"]) for step in steps] == [1] * 4
    assert [len(step["a"]) for step in steps] == [3, 2, 3, 2]
    assert steps == arrange({name: names[::-1] for name, names in clusters.items()})
    assert arrange(clusters | {"c": []}) == []


def test_weights_count_in_the_mean_of_the_suite() -> None:
    """Two tasks, one of which has clusters of two: the mean is that of the tasks, by weight."""
    first = Share("a", {f"a{i}": Counted(-2.0, 2) for i in range(20)}, 3.0)
    second = Share("b", {f"b{i}": Counted(1.0, 1) for i in range(40)}, 1.0)
    steps = arrange({"a": list(first.clusters), "b": list(second.clusters)})
    suite = units_of([first, second], steps)
    assert suite is not None
    assert suite.means[-1] == pytest.approx((3 * -1 + 1) / 4)
    assert (np.abs(suite.values) <= suite.reach + 1e-12).all()
    pooled = units_of([first._replace(weight=None), second._replace(weight=None)], steps)
    assert pooled is not None
    assert pooled.means[-1] == pytest.approx(0)
    task = units_of([first], steps)
    assert task is not None
    found = decide_sequence([SequentialTask("a", task, 0.02)], suite, 0.02, 0.05)
    assert (found.decided, found.decision.verdict) == (True, "BLOCK")
    missing = units_of([first, Share("c", {}, 1.0)], steps)
    assert missing is None
    rare = Share("b", {name: Counted(1.0, 1) for name in list(second.clusters)[::10]}, 1.0)
    together = units_of([first, rare], steps)
    assert together is not None
    assert together.means[-1] == pytest.approx((3 * -1 + 1) / 4), "steps wait for a metric that few have"
    assert 1 < len(np.unique(together.steps)) <= 4


@pytest.fixture
def numbers(cli: Cli, tmp_path: Path) -> Numbers:
    made = Numbers(cli, tmp_path)
    for task in ("draw", "see"):
        made.task(task, N, cluster=2)
    return made


def test_a_rerun_goes_on_with_new_samples_alone(numbers: Numbers, cli: Cli) -> None:
    worse = [0.0] * 60 + SAME[60:]
    base = numbers.run("base", {"draw": SAME, "see": SAME})
    policy = numbers.policy(POLICY)
    numbers.score("new", {"draw": worse[:8], "see": worse[:8]}, only_answered=True)
    new = numbers.root / "new"
    gate = ("gate", "run", "--candidate", new, "--baseline", base, "--policy", policy, "--sequential")
    early = cli(*gate)
    assert early.code == 2
    assert "not decided after 16 of 16 samples, counted in" in early.out
    stored = json.loads((new / "sequence.json").read_bytes())
    assert cli(*gate).out == early.out, "the same samples decide nothing more"
    assert json.loads((new / "sequence.json").read_bytes()) == stored
    numbers.score("all", {"draw": worse, "see": worse})
    everything = numbers.root / "all"
    shutil.copy(new / "sequence.json", everything)
    later = cli(*gate[:3], everything, *gate[4:])
    assert later.code == 1
    assert "BLOCK" in later.out
    steps = json.loads((everything / "sequence.json").read_bytes())["steps"]
    assert steps[: len(stored["steps"])] == stored["steps"], "steps on record stay"
    assert len(steps) == N / 2
    report = json.loads((everything / "gate.json").read_bytes())
    assert report["sequence"]["decided"]
    assert report["sequence"]["counted"] < report["sequence"]["available"] == 2 * N
    changed = numbers.run("changed", {"draw": SAME, "see": SAME})
    shutil.copy(new / "sequence.json", changed)
    refused = cli(*gate[:3], changed, *gate[4:])
    assert (refused.code, "have changed since they were counted" in refused.out) == (3, True)
    other = numbers.policy(POLICY + "alpha: 0.1\n", "other.yaml")
    again = ea.gate(everything, other, base, everything / "sequence.json")
    assert "other rules of the policy" in again.reasons[0]
    (everything / "sequence.json").write_text("{")
    damaged = ea.gate(everything, policy, base, everything / "sequence.json")
    assert (damaged.verdict, "is damaged" in damaged.reasons[0]) == ("INVALID", True)


def test_a_run_stops_when_its_gate_decides(numbers: Numbers, cli: Cli) -> None:
    base = numbers.run("base", {"draw": SAME, "see": SAME})
    policy = numbers.policy(POLICY)
    g = np.random.default_rng(1)
    worse = [value * (g.random() > 0.5) for value in SAME]
    numbers.run("worse", {"draw": worse, "see": worse})
    until = ("--until", "decided", "--baseline", base, "--policy", policy)
    new = ("run", "--model", f"replay/{numbers.root}/worse.jsonl", "--tasks", "num/draw,num/see")
    new = (*new, "--include", numbers.root / "tasks", "--allow-code", "--out", numbers.root / "new")
    stopped = cli(*new, *until)
    assert stopped.code == 0, "the run is as it should be; what the gate says is in its report"
    assert "BLOCK: " in stopped.out
    file = json.loads((numbers.root / "new/run.json").read_bytes())
    assert file["status"] == "done"
    counts = list(file["counts"].values())
    assert counts[0] == counts[1] < N / 2
    assert counts[0] % 2 == 0, "sources of two samples come as a whole"
    report = json.loads((numbers.root / "new/gate.json").read_bytes())
    assert report["sequence"]["counted"] <= report["sequence"]["available"] == sum(counts)
    assert cli(*new, *until).out == stopped.out, "it has decided: nothing is added"
    assert json.loads((numbers.root / "new/run.json").read_bytes())["counts"] == file["counts"]
    for wrong, words in {
        ("--until", "decided", "--policy", policy): "--baseline must say what the gate decides by",
        ("--baseline", base): "--baseline belongs to --until decided",
        (*until, "--limit", "4"): "leave out --limit",
        (*until[:3], numbers.root / "nothing", *until[4:]): "nothing",
    }.items():
        refused = cli(*new, *wrong)
        assert refused.code == 2, wrong
        assert words in refused.err


def test_a_model_of_this_machine_is_loaded_once(cli: Cli, tmp_path: Path) -> None:
    tasks = ("--tasks", "micro/selection", "--temperature", "1", "--max-failed", "1")
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\n")
    base = tmp_path / "base"
    assert cli("run", "--model", "micro", *tasks, "--limit", "40", "--out", base).code == 0
    until = ("--until", "decided", "--baseline", base, "--policy", policy, "--out", tmp_path / "new")
    undecided = cli("run", "--model", "micro", *tasks, "--seed", "1", *until)
    assert undecided.code == 0
    assert "INCONCLUSIVE: " in undecided.out
    assert "not decided after 40 of 40 samples" in undecided.out
    assert len(json.loads((tmp_path / "new/run.json").read_bytes())["chosen"]["micro/selection"]) == 40
