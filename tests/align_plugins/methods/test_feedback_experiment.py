"""The experiment on language feedback: its statistics, its page, and a quick form of it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from align_plugins.data.files import read_rows
from align_plugins.data.rows import Feedback, Preference, rows_of
from align_plugins.experiment.analysis import Items, analyse, difference, figure
from align_plugins.experiment.data import cut, exchanges, make_data, prompts_needed, truth_of
from align_plugins.experiment.micro_data import FEEDBACK, PAIRS, PROMPTS
from align_plugins.experiment.page import BEGIN, END, PAGE, verdict, write_page
from align_plugins.experiment.plan import BASE, PLAN, Claim, ExperimentPlan, name_of, read_plan
from align_plugins.experiment.run import arm_folder, missing_method, run_plan
from align_plugins.methods.feedback.pipeline import FeedbackTrainer
from eval_anything.errors import UserError
from eval_anything.output.progress import Progress
from eval_anything.statistics.intervals import mean_interval
from tests.support.lanes import only_in


def quick(labels: int = 300) -> ExperimentPlan:
    """The plan in small: the start and one arm with one seed."""
    plan = read_plan(PLAN)
    return msgspec.structs.replace(
        plan,
        seeds=[0],
        labels=labels,
        prompts=10,
        tasks=["micro/selection"],
        arms=[arm for arm in plan.arms if arm.name == "dpo"],
        claims=[Claim("dpo", BASE, "better than the start")],
    )


@only_in("learning")
@pytest.mark.learning
@pytest.mark.slow
@pytest.mark.usefixtures("forked_evaluations")
def test_dpo_beats_the_base_on_greedy_selection(tmp_path: Path) -> None:
    """1,800 pairs, 27 % of them with the wrong label, one seed; tested over items."""
    plan, out = quick(1800), tmp_path / "out"
    assert run_plan(plan, out, 1, [], plan.seeds, Progress("silent")) == []
    found = analyse(plan, out)
    (claim,) = found.claims
    assert claim.key == ("micro/selection", "selection")
    assert claim.difference.value > 0
    assert claim.p_holm < 0.05
    assert claim.significant
    page = write_page(plan, out, tmp_path / "docs").read_text("utf-8")
    assert "| better than the start | DPO on binary pairs - Start |" in page
    assert page.count("| yes |") == 1
    written = f"{BEGIN}\n## What came of it\n\nIt helps.\n{END}\n"
    (tmp_path / "docs" / PAGE).write_text(page.replace("## Arms\n", f"{written}\n## Arms\n"), "utf-8")
    again = write_page(plan, out, tmp_path / "docs").read_text("utf-8")
    assert again.count(written) == 1
    assert again.replace(written, "").split() == page.split()
    # What is there is not run again; what an arm is told decides.
    result = arm_folder(out, "dpo", 0) / "result.json"
    before = result.stat().st_mtime_ns
    assert run_plan(plan, out, 1, [], plan.seeds, Progress("silent")) == []
    assert result.stat().st_mtime_ns == before


@pytest.mark.slow
def test_labels_are_wrong_as_often_as_they_should_be(tmp_path: Path) -> None:
    make_data(tmp_path, "micro", 120, 10, 0.27, 5, Progress("silent"))
    counts = json.loads((tmp_path / "counts.json").read_bytes())
    assert counts["pairs"] == counts["critiques"] == 120
    assert 0.15 < counts["wrong_pairs"] / 120 < 0.39  # three standard errors
    wrong = 0
    pairs = rows_of(read_rows(tmp_path / PAIRS), Preference, tmp_path, "the test")
    truth = truth_of(pairs, exchanges("labelled", prompts_needed(120), 5))
    assert truth["better"] == pytest.approx(1 - counts["wrong_pairs"] / 120)
    assert truth["equal"] == 0
    for row in pairs:
        chosen, rejected = row.metadata["utilities"]
        assert chosen != rejected
        wrong += chosen < rejected
    assert wrong == counts["wrong_pairs"]
    critiques = read_rows(tmp_path / FEEDBACK)
    assert all(isinstance(row, Feedback) and row.critique for row in critiques)
    labelled, unlabelled = ({r.id for r in read_rows(tmp_path / n)} for n in (FEEDBACK, PROMPTS))
    assert len(unlabelled) == 10
    assert not labelled & unlabelled
    part = cut(tmp_path / FEEDBACK, 30, tmp_path / name_of(FEEDBACK, 0.25))
    assert part.name == "feedback-25.jsonl"
    assert [row.id for row in read_rows(part)] == [row.id for row in critiques[:30]]


# --- the plan --------------------------------------------------------------------------------------


def test_every_arm_of_the_plan_can_be_read(tmp_path: Path) -> None:
    """As the method reads its settings; what is there of budgets is the same for all."""
    import yaml

    plan = read_plan(PLAN)
    assert len(plan.seeds) >= 3
    assert {c.candidate for c in plan.claims} <= {arm.name for arm in plan.arms}
    temperatures = set()
    for arm in plan.arms:
        if missing_method(arm) is not None:
            continue
        folder = tmp_path / arm.name
        folder.mkdir()
        path = folder / "settings.yaml"
        path.write_text(yaml.safe_dump(plan.settings_of(arm, 1)), "utf-8")
        settings = FeedbackTrainer.from_config(path).settings
        temperatures |= {settings.sample.temperature, settings.refine.temperature}
        assert settings.most in (plan.pairs_of(arm), plan.labels)
        assert (settings.most == plan.pairs_of(arm)) == (arm.name != "llf_dpo_25_free")
        assert settings.seed == 1
        named = settings.given.pairs or settings.critic.data
        assert isinstance(named, str)
        assert Path(named).name == name_of(PAIRS if settings.given.pairs else FEEDBACK, arm.share)
    assert temperatures == {1.0}


def test_wrong_plans_are_refused(tmp_path: Path) -> None:
    text = PLAN.read_text("utf-8")
    for old, new, said in (
        ("name: dpo_50", "name: dpo", "arm 'dpo' is there twice"),
        ("candidate: llf_ppo", "candidate: llf_pppo", "there is no arm 'llf_pppo'"),
        ("name: resample", "name: base", "arm 'base' is the start itself"),
        ("\nlabels:", "\nlabel:", "labels"),
    ):
        path = tmp_path / "plan.yaml"
        path.write_text(text.replace(old, new), "utf-8")
        with pytest.raises(UserError, match=said):
            read_plan(path)


# --- statistics ------------------------------------------------------------------------------------


def items(values: Any, clusters: list[str] | None = None) -> Items:
    array = np.array(values, float)
    names = tuple(f"i{n}" for n in range(array.shape[1]))
    return Items(array, names, tuple(clusters or names), (0.0, 1.0))


def test_one_seed_is_an_interval_over_items() -> None:
    """The variance is that of the engine's own means; a hand-worked one beside it."""
    values = [0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.5, 0.25]
    found = figure(np.array([values]), [f"c{i}" for i in range(8)])
    expected = mean_interval(values, [f"c{i}" for i in range(8)], (0.0, 1.0))
    assert found.value == pytest.approx(expected.value)
    assert expected.stderr is not None
    assert found.stderr == pytest.approx(expected.stderr)
    assert found.stderr == pytest.approx(np.std(values, ddof=1) / np.sqrt(8))


def test_seeds_that_differ_widen_the_interval() -> None:
    """Items are all the same within a seed: the standard error is that of three seeds, with 2 degrees
    of freedom, Student's quantile 4.303."""
    found = figure(np.repeat([[0.2], [0.4], [0.6]], 50, axis=1), [f"c{i}" for i in range(50)])
    assert found.stderr == pytest.approx(0.2 / np.sqrt(3))
    assert found.df == pytest.approx(2)
    assert found.high - found.value == pytest.approx(4.303 * 0.2 / np.sqrt(3), rel=1e-3)


def test_what_is_certain_has_no_width() -> None:
    same = items(np.full((3, 10), 0.5))
    found = difference(items(np.full((3, 10), 0.75)), same)
    assert (found.value, found.low, found.high, found.p) == (0.25, 0.25, 0.25, 0.0)
    none = difference(same, same)
    assert (none.value, none.p) == (0.0, 1.0)
    assert none.p_above(-0.1) == 0.0


def test_differences_are_paired_by_seed_and_item() -> None:
    rng = np.random.default_rng(0)
    level = rng.normal(size=(3, 40))
    found = difference(items(level + 0.1), items(level))
    assert found.value == pytest.approx(0.1)
    assert found.stderr == pytest.approx(0.0, abs=1e-9)
    alone = difference(items(level), items(level.mean(axis=0, keepdims=True)))  # an arm of one seed
    assert alone.value == pytest.approx(0.0)


def test_intervals_cover_what_seeds_and_items_vary_by() -> None:
    """Experiments with known effects of seed, item and both: about 95 % of the intervals are right."""
    rng = np.random.default_rng(1)
    clusters = [f"c{i}" for i in range(60)]
    for seed_effect, item_effect in ((0.05, 0.3), (0.0, 0.3), (0.1, 0.05)):
        inside = 0
        for _ in range(1000):
            values = (
                0.5
                + seed_effect * rng.normal(size=(3, 1))
                + item_effect * rng.normal(size=(1, 60))
                + 0.2 * rng.normal(size=(3, 60))
            )
            found = figure(values, clusters)
            inside += found.low <= 0.5 <= found.high
        assert inside >= 0.91 * 1000


# --- the page --------------------------------------------------------------------------------------


def test_a_page_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing has been run there"):
        write_page(read_plan(PLAN), tmp_path / "out", tmp_path / "docs")
    assert not (tmp_path / "docs").exists()


def test_verdicts_in_words(tmp_path: Path) -> None:
    from align_plugins.experiment.analysis import ClaimTest, SeedEstimate

    claim = Claim("a", "b", "a is better than b")
    good, bad = SeedEstimate(0.1, 0.05, 0.15, 0.02, 9.0), SeedEstimate(-0.1, -0.15, -0.05, 0.02, 9.0)

    def one(metric: str, found: SeedEstimate, p: float) -> ClaimTest:
        return ClaimTest(claim, ("t", metric), found, p)

    assert verdict(claim, []) == "not run"
    assert verdict(claim, [one("x", good, 0.01), one("y", good, 0.01)]) == "yes"
    assert verdict(claim, [one("x", good, 0.01), one("y", good, 0.2)]) == "on x"
    assert verdict(claim, [one("x", good, 0.2), one("y", bad, 0.01)]) == "not shown; the opposite on y"
    assert verdict(claim, [one("x", bad, 0.01)]) == "not shown; the opposite on x"


def test_the_figure_is_a_picture(tmp_path: Path) -> None:
    from align_plugins.experiment.figure import Dot, picture

    text = picture(
        "All <arms>",
        ["Start", "A & B", "C"],
        {"x": [Dot(0.5, 0.4, 0.6), None, Dot(0.7, 0.6, 0.8)]},
        {"x": (0.0, 1.0)},
    )
    root = ElementTree.fromstring(text)
    circles = [e for e in root.iter() if e.tag.endswith("circle")]
    assert len(circles) == 2
    assert float(circles[0].attrib["cx"]) < float(circles[1].attrib["cx"])
    assert "not run" in [e.text for e in root.iter()]
