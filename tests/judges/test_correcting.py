"""Judged numbers corrected by labels: chosen, given, stored in the runs, and used everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import eval_anything as ea
from eval_anything.annotate.choose import choose
from eval_anything.annotate.export import export
from eval_anything.annotate.log import latest_answers, open_log
from eval_anything.annotate.questions import make_questions
from eval_anything.annotate.session import AnnotatorAnswer, Session
from eval_anything.errors import UserError
from eval_anything.judges.calibration.correct import correct
from eval_anything.judges.calibration.labels import read_labels
from eval_anything.media import MediaStore
from eval_anything.runs.results_file import CorrectedResult, read_results
from eval_anything.tasks.load import folder_at, load_task
from tests.support.helpers import Cli, write_jsonl
from tests.support.runs_of_numbers import Numbers

N, LABELS = 400, 120
TASK = "num/judged"


def truth_of(run: str) -> np.ndarray:
    """Worth of the answers: base and new are equally good, 55 % of them."""
    base = (np.random.default_rng(4).random(N) < 0.55) * 1.0
    return np.where(np.random.default_rng(5).random(N) < 0.1, 1 - base, base) if run == "new" else base


def judged_of(run: str) -> list[float]:
    """Scores of a judge that accepts 45 % of the new answers unread; each run's answers are its own."""
    lenient = np.random.default_rng(6).random(N) < (0.45 if run == "new" else 0.0)
    graded = np.where(lenient, 1.0, truth_of(run)) * 0.999 + (1e-6 if run == "new" else 0.0)
    return [float(score) for score in graded]


def label(root: Path, file: Path, runs: list[Path], count: int, annotator: str) -> None:
    """Labels by one who sees the truth: 5 for a good answer, 1 for a bad one."""
    task = load_task(folder_at(root / "tasks" / TASK), {})
    with open_log(file) as log:
        before = latest_answers(log.before)
        choice = choose(TASK, runs, "value", count, annotator, before)
        samples = [task.by_id[i] for i in choice.sample_ids]
        asked = make_questions(
            task, samples, runs, None, MediaStore(root / "media"), annotator, 0
        ).questions
        session = Session(task, asked, log, annotator, 5, choice.chosen)
        for question in asked:
            number = int(question.sample.id[1:])
            name = question.responses[0].name
            worth = truth_of(name)[number]
            session.submit(AnnotatorAnswer(question.key, grade=5 if worth else 1))


@pytest.fixture
def runs(cli: Cli, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Runs base and new, and a file with labels of both."""
    numbers = Numbers(cli, tmp_path)
    numbers.task("judged", N)
    base, new = (numbers.run(name, {"judged": judged_of(name)}) for name in ("base", "new"))
    file = tmp_path / "labels" / "num.jsonl"
    label(tmp_path, file, [base, new], LABELS, "ann")
    label(tmp_path, file, [base, new], 40, "bob")
    return base, new, export(file)["labels"]


def corrected(run: Path) -> CorrectedResult:
    found = read_results(run).tasks[TASK].metrics["value"].corrected
    assert found
    return found


def test_labels_correct_a_run_and_all_that_is_made_of_it(
    runs: tuple[Path, Path, Path], cli: Cli, tmp_path: Path
) -> None:
    base, new, labels = runs
    rows = [json.loads(line) for line in labels.read_text().splitlines()]
    notes = [row["metadata"]["annotation"] for row in rows]
    assert {note["metric"] for note in notes} == {"value"}
    assert all(0 < note["probability"] <= 1 for note in notes)
    assert len({note["probability"] for note in notes}) > 1  # strata of the judge, labelled unequally
    assert len({note["sample_id"] for note in notes}) == LABELS + 36  # 4 of bob's were ann's before

    shown = cli("judges", "correct", base, new, "--labels", labels)
    assert "corrected" in shown.out, shown.err
    after, raw = corrected(new), read_results(new).tasks[TASK].metrics["value"]
    assert after.ci95 is not None
    assert raw.value is not None
    assert raw.ci95 is not None
    assert after.ci95[0] < truth_of("new").mean() < after.ci95[1] < raw.ci95[0]
    assert after.annotators == ["ann", "bob"]
    assert after.agreement == 1.0
    again = cli("score", "--outputs", tmp_path / "new.jsonl", "--tasks", TASK, "--include",
                tmp_path / "tasks", "--allow-code", "--out", new)  # fmt: skip
    assert "corrected" in again.out
    assert corrected(new) == after
    assert "corrected by 156 labels" in (new / "report.html").read_text()

    [change] = [m for m in ea.compare(base, new).metrics if m.metric == "value"]
    assert change.corrected is not None
    assert change.corrected.ci95 is not None
    assert change.change.difference > 0.1
    assert change.corrected.ci95[0] < 0 < change.corrected.ci95[1]
    name = f"{TASK}:value"
    assert ea.compare(base, new).p_holm[name] < 0.001
    assert ea.compare(base, new, corrected=True).p_holm[name] > 0.01
    text = cli("compare", base, new, "--corrected").out
    assert "corrected" in text
    assert f"{change.corrected.difference:+.3f}" in text

    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\n")
    assert ea.gate(base, policy, baseline=new).verdict == "BLOCK"  # the judge favours the new one
    policy.write_text("version: 1\ncorrected: true\nallow_uncalibrated: false\n")
    result = ea.gate(base, policy, baseline=new)
    assert result.verdict == "INCONCLUSIVE", result.reasons
    shown = cli("gate", "run", "--candidate", base, "--baseline", new, "--policy", policy)
    assert f"{name}, corrected" in shown.out
    assert "by the judge" in shown.out

    bill = {item.name: item for item in ea.bill(new, base, corrected=True).items}
    assert bill["text out"].judged is not None
    assert bill["text out"].judged < -0.1
    assert bill["text out"].verdict != "harmed"
    assert {i.name: i.verdict for i in ea.bill(new, base).items}["text out"] == "harmed"
    assert "(judge -" in cli("bill", new, base, "--corrected").out


def test_labels_that_do_not_fit_are_refused_with_the_reason(
    runs: tuple[Path, Path, Path], tmp_path: Path, cli: Cli
) -> None:
    base, new, labels = runs
    rows = [json.loads(line) for line in labels.read_text().splitlines()]
    own = [row for row in rows if row["metadata"]["annotation"]["responses"] == ["base"]]

    def refused(rows: list[dict[str, Any]], **options: Any) -> str:
        file = read_labels(write_jsonl(labels.parent / "changed.jsonl", rows))
        with pytest.raises(UserError) as error:
            correct(file, [base], **options)
        return str(error.value)

    def changed(first: int = 0, **note: Any) -> list[dict[str, Any]]:
        fresh = json.loads(json.dumps(own))
        for row in fresh[first:]:
            about = row["metadata"]["annotation"]
            about |= note
            for key in [k for k, v in note.items() if v is None]:
                del about[key]
        return fresh

    assert "has no label of an answer" in refused(changed(sample_id="s9999"))
    assert "is of another answer, or another item" in refused(changed(item="0" * 64))
    assert "labels of twice, value" in refused(changed(5, metric="twice"))
    assert "not of twice" in refused(own, metric="twice")
    assert "have no probability" in refused(changed(7, probability=None))
    for wrong in (0, -0.1, 1.5, "half"):
        assert "must be above 0 and at most 1" in refused(changed(probability=wrong))
    assert "does not fit scale" in refused(changed(scale=3))
    twice = changed()
    assert "labelled twice by ann" in refused([*twice, twice[0] | {"id": "again"}])
    both = [*twice, {**changed(0, annotator="eve", probability=0.7)[0], "id": "other"}]
    assert "two probabilities" in refused(both)
    assert "outside of the metric's range" in refused(
        [row | {"label": 7} for row in changed(scale=None)]
    )
    pair = {"id": "p", "messages": own[0]["messages"], "a": own[0]["parts"], "b": own[0]["parts"]}
    assert "compares two responses" in refused([*own, pair | {"preferred": "tie"}])
    assert cli("judges", "correct", base, "--labels", labels, "--metric", "valu").code == 2

    few = correct(read_labels(write_jsonl(labels.parent / "few.jsonl", own[:12])), [base])
    [reason] = [r for r in few[0].remarks if "at least 30 are needed" in r]
    assert "labels from 12 sources" in reason
    assert corrected(base).value is None
    assert "cannot be corrected" in " ".join(_gate_reasons(tmp_path, new, base))
    policy, steps = tmp_path / "corrected.yaml", tmp_path / "sequence.json"
    [reason] = ea.gate(new, policy, baseline=base, sequence=steps).reasons
    assert reason.startswith("--sequential decides by scores as they are")
    with pytest.raises(UserError, match="leave out --corrected"):
        ea.compare(base, new, corrected=True, equivalence=0.05)
    wrong_share = correct(
        read_labels(write_jsonl(labels.parent / "share.jsonl", changed(probability=0.9))), [base]
    )
    assert any("stand for" in remark for remark in wrong_share[0].remarks)
    alike = [row | {"label": 5} for row in own]
    alone = [row for row in alike if row["metadata"]["annotation"]["annotator"] == "ann"]
    remarks = correct(
        read_labels(write_jsonl(labels.parent / "alone.jsonl", alone)), [base], uniform=True
    )[0].remarks
    assert any("all labels are by one annotator" in remark for remark in remarks)
    assert any("all labels are alike" in remark for remark in remarks)
    ends = corrected(base).ci95
    assert ends is not None
    assert ends[1] - ends[0] > 0.02


def _gate_reasons(tmp_path: Path, candidate: Path, base: Path) -> list[str]:
    policy = tmp_path / "corrected.yaml"
    policy.write_text("version: 1\ncorrected: true\n")
    return ea.gate(candidate, policy, baseline=base).reasons


def test_what_next_cannot_choose_from_is_said(
    runs: tuple[Path, Path, Path], tmp_path: Path, cli: Cli
) -> None:
    base, new, labels = runs
    file = labels.with_name("num.jsonl")
    with open_log(file) as log:
        before = latest_answers(log.before)
    with pytest.raises(UserError, match=r"no such metric of num/judged\. Did you mean"):
        choose(TASK, [base], "valeu", 10, "ann", [])
    with pytest.raises(UserError, match="labels of value, not of twice"):
        choose(TASK, [base, new], "twice", 10, "ann", before)
    with pytest.raises(UserError, match="chosen for other runs"):
        choose(TASK, [base], "value", 10, "ann", before)
    with pytest.raises(UserError, match="it takes runs alone"):
        choose(TASK, [tmp_path / "base.jsonl"], "value", 10, "ann", [])
    assert len(choose(TASK, [base], "value", 10_000, "ann", []).sample_ids) == N
    first = choose(TASK, [base], "value", 50, "ann", [])
    assert choose(TASK, [base], "value", 50, "ann", []) == first
    for options in (["--next", "5"], ["--for", "value"], ["--next", "5", "--for", "value"]):
        shown = cli("annotate", TASK, *options, "--include", tmp_path / "tasks")
        assert shown.code == 2
        assert "belong together" in shown.err
