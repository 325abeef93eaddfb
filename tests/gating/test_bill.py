"""The bill: which modality paid, what is proven, and what so many samples cannot say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import eval_anything as ea
from eval_anything.gating.bill import Bill, BillItem
from tests.support.helpers import Cli
from tests.support.runs_of_numbers import Numbers, change_results

N = 150
SAME = [1.0] * 100 + [0.0] * 50
SIDES = {
    "write": (["text"], ["text"]),
    "draw": (["text"], ["image"]),
    "see": (["text", "image"], ["text"]),
}
"""Modalities of question and answer of each task."""


def with_sides(run: Path) -> Path:
    """The run with records that say of each task what `SIDES` says."""
    for task, (inputs, outputs) in SIDES.items():
        path = run / "num" / task / "records.jsonl"
        if path.exists():
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            rows = [row | {"inputs": inputs, "outputs": outputs} for row in rows]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


@pytest.fixture
def numbers(cli: Cli, tmp_path: Path) -> Numbers:
    made = Numbers(cli, tmp_path)
    for task in SIDES:
        made.task(task, N)
    return made


def run(numbers: Numbers, out: str, **values: Sequence[float]) -> Path:
    return with_sides(numbers.run(out, {task: values.get(task, SAME) for task in SIDES}))


def items(bill: Bill) -> dict[str, BillItem]:
    return {item.name: item for item in bill.items}


def test_the_modality_that_paid_is_named_and_the_others_are_proven_unharmed(
    numbers: Numbers, cli: Cli
) -> None:
    base, new = run(numbers, "base"), run(numbers, "new", draw=[0.0] * 30 + SAME[30:])
    bill = ea.bill(base, new)
    verdicts = {item.name: item.verdict for item in bill.items}
    assert verdicts == {
        "text in": "harmed",  # of which the lost pictures are a third
        "image in": "proven unharmed",
        "text out": "proven unharmed",
        "image out": "harmed",
        "text -> text": "proven unharmed",
    }, "a combination that is all of a modality is not listed twice"
    assert bill.harmed == ["image out"]
    assert items(bill)["text in"].through == "image out", "without pictures no text loses"
    pictures = items(bill)["image out"]
    assert (pictures.n, pictures.tasks, pictures.difference) == (150, ["num/draw"], -0.2)
    assert pictures.interval is not None
    assert pictures.interval[0] < -0.2 < pictures.interval[1] < 0
    assert [(p.sample_id, p.change, p.base[0].text, p.candidate[0].text) for p in pictures.paid[:2]] == [
        ("s0", -1, "1.0", "0.0"),
        ("s1", -1, "1.0", "0.0"),
    ]
    assert len(pictures.paid) == 5
    text = cli("bill", base, new)
    assert text.code == 0
    assert "harmed, through image out" in text.out
    assert "image out: lost most\n  num/draw s0 (-100%): 1.0 -> 0.0" in text.out
    assert "proven unharmed: a loss of 5.0% is excluded" in text.out
    page = cli("bill", base, new, "--markdown").out
    assert "**image out** lost most in:" in page
    assert "- num/draw s0 (-100%): 1.0 → 0.0" in page
    assert cli("bill", base, new, "--json").json["items"][3]["verdict"] == "harmed"


def test_what_so_few_samples_cannot_say_is_not_known(numbers: Numbers) -> None:
    g = np.random.default_rng(1)
    base, new = run(numbers, "base"), run(numbers, "new", see=g.permutation(SAME).tolist())
    seen = items(ea.bill(base, new))["image in"]
    assert seen.verdict == "not known"
    assert seen.needed is not None
    assert seen.needed > 150
    wide = items(ea.bill(base, new, margin=0.5))["image in"]
    assert wide.verdict == "proven unharmed"


def test_three_samples_of_a_modality_prove_nothing(cli: Cli, tmp_path: Path) -> None:
    made = Numbers(cli, tmp_path)
    made.task("write", N)
    made.task("draw", 3)
    runs = [
        with_sides(made.run(name, {"write": SAME, "draw": [drawn] * 3}))
        for name, drawn in (("base", 1.0), ("new", 0.0))
    ]
    same, worse = ea.bill(runs[0], runs[0]), ea.bill(runs[0], runs[1])
    assert items(same)["image out"].verdict == items(worse)["image out"].verdict == "not known"
    needed = items(worse)["image out"].needed
    assert needed is not None
    assert 3 < needed < 20, "that all of three are lost is no harm yet, but soon is"
    assert items(same)["text out"].verdict == "proven unharmed"


def test_the_first_checkpoint_with_the_harm_is_found(numbers: Numbers, cli: Cli) -> None:
    base = run(numbers, "train/runs/start")
    for step, lost in ((2, 0), (4, 1), (10, 25), (12, 30), (14, 40)):
        path = run(numbers, f"train/runs/step-{step:06}", draw=[0.0] * lost + SAME[lost:])
        (path / "training.json").write_text(json.dumps({"step": step}))
    last = numbers.root / "train/runs/step-000014"
    bill = ea.bill(base, last, training=numbers.root / "train")
    assert bill.checkpoints == [f"step-{step:06}" for step in (2, 4, 10, 12, 14)]
    assert items(bill)["image out"].since == "step-000010"
    for step in (8, 10):
        saved = numbers.root / f"train/checkpoints/checkpoint-{step}"
        saved.mkdir(parents=True)
        (saved / "training.json").write_text(json.dumps({"step": step}))
    text = cli("bill", base, last, "--training", numbers.root / "train")
    assert "image out, since step-000010: lost most" in text.out
    assert "saved but not evaluated, so that a harm may be older than it says: checkpoint-8" in text.out
    (last / "training.json").write_text("{")
    damaged = cli("bill", base, last, "--training", numbers.root / "train")
    assert (damaged.code, "training.json cannot be read" in damaged.err) == (2, True)
    none = cli("bill", base, last, "--training", numbers.root)
    assert (none.code, "has no evaluated checkpoints" in none.err) == (2, True)


def test_what_cannot_be_billed_is_said(numbers: Numbers, cli: Cli) -> None:
    base, new = run(numbers, "base"), run(numbers, "new")
    change_results(new, {"invalid": "its judge sleeps"}, "tasks", "num/see", "metrics", "value")
    bill = ea.bill(base, new)
    assert list(bill.refused) == ["num/see"]
    assert "num/see is left out: INVALID: its judge sleeps" in cli("bill", base, new).out
    assert "image in" not in items(bill)
    assert cli("bill", base, new, "--margin", "0").code == 2
    numbers.task("other", 4)
    other = numbers.run("other", {"other": [1.0] * 4})
    nothing = cli("bill", base, other)
    assert (nothing.code, "no task in common" in nothing.err) == (2, True)
    for path in (base, new):
        records = path / "num/write/records.jsonl"
        rows = [json.loads(line) for line in records.read_text().splitlines()]
        old = [{k: v for k, v in row.items() if k not in ("inputs", "outputs")} for row in rows]
        records.write_text("".join(json.dumps(row) + "\n" for row in old))
    old_runs = cli("bill", base, new)
    assert (old_runs.code, "as all are of an older version" in old_runs.err) == (2, True)
