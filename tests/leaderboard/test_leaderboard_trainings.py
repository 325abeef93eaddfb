"""Trainings on the site: their steps with the start, their log, and their page in a real Chromium."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from eval_anything.leaderboard.build import build
from eval_anything.leaderboard.charts import Point
from eval_anything.leaderboard.chunks import Chunks
from eval_anything.leaderboard.curves import best_of, log_charts, metric_curve
from eval_anything.leaderboard.read_runs import read_entries
from eval_anything.leaderboard.trainings import read_log, training_step, trainings_of
from tests.leaderboard.test_leaderboard_charts import assert_inside, shapes
from tests.support.browsing import Tab

LOG = [
    {
        "step": step,
        "reward": 0.2 + step / 1000,
        "kl": step / 500,
        "kl_text": step / 900,
        "kl_image": step / 1200,
        "value_loss": 1 / (1 + step),
        "learning_rate": 1e-4 * (1 - step / 400),
        "grad_norm": 0.5,
        "epoch": step / 100,
        "tokens": 100 * step,
        "seconds": step / 7,
    }
    for step in range(10, 301, 10)
]


def _points(*values: float) -> list[Point]:
    return [Point(f"r{i}", f"r{i}", 100.0 * i, v, v - 0.1, v + 0.1) for i, v in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "better", "best", "beats"),
    [
        ((0.4, 0.5, 0.7, 0.7), "higher", "r2", True),  # the earliest of equals
        ((0.4, 0.4, 0.3), "higher", "r1", False),  # a tie is not better
        ((0.4, 0.5, 0.2), "lower", "r2", True),
        ((0.4, 0.5, 0.4), "lower", "r2", False),
    ],
)
def test_the_best_beats_the_start(
    values: tuple[float, ...], better: str, best: str, beats: bool
) -> None:
    found = best_of(_points(*values), better)
    assert found is not None
    assert (found.point.run, found.beats_start) == (best, beats)
    tree = metric_curve("quality", _points(*values), better, 300)
    marked = [shape[1]["data-run"] for shape in shapes(tree) if shape[1].get("class") == "mark best"]
    assert marked == ([best] if beats else [])
    words = tree[2][0][2]
    assert words.startswith(f"best {found.point.y:.3f} at" if beats else "none is better than the start")
    assert "; start: 0.4 (0.3 to 0.5); step 100: " in words


def test_without_a_start_or_a_checkpoint() -> None:
    later = _points(0.1, 0.5, 0.3)[1:]
    found = best_of(later, "higher")
    assert found is not None
    assert (found.point.run, found.beats_start) == ("r1", None)
    assert not any(
        shape[1].get("class") == "start" for shape in shapes(metric_curve("q", later, "higher", 200))
    )
    assert best_of(_points(0.1), "higher") is None
    assert_inside(metric_curve("only the start", _points(0.1), "higher", 0))


def test_quantities_of_a_log() -> None:
    """The main ones come first, parts by modality are lines of one chart; clocks are no quantities."""
    charts = log_charts(LOG, 300)
    titles = [(chart.tree[1]["aria-label"], chart.main) for chart in charts]
    assert titles == [
        *((name, True) for name in ("reward", "kl", "value loss", "learning rate")),
        ("grad norm", False),
    ]
    lines = [s[1]["class"] for s in shapes(charts[1].tree) if s[1].get("class", "").startswith("curve")]
    assert lines == ["curve of-all", "curve of-text", "curve of-image"]
    assert (
        charts[1].tree[2][0][2].startswith("all: 0.02 at step 10, 0.6 at step 300, from 0.02 to 0.6; ")
    )
    for chart in charts:
        assert_inside(chart.tree)


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-12, 1e15, 1e299])
@pytest.mark.parametrize("count", [1, 2, 5000])
def test_any_numbers_have_a_chart(value: float, count: int) -> None:
    for log in (
        [{"step": float(i), "loss": value} for i in range(count)],
        [{"step": float(i), "loss": value * (i + 1) / count} for i in range(count)],
    ):
        [chart] = log_charts(log, count - 1)
        assert_inside(chart.tree)
        [line] = [s for s in shapes(chart.tree) if s[1].get("class") in ("curve of-all", "dot")]
        assert len(line[1].get("d", "")) < 10_000


def test_logs_that_others_wrote(tmp_path: Path) -> None:
    """What is no number is left out, and what a kill cut; without train.json it is no training."""
    lines = [
        b'{"step": 2, "loss": 0.5, "note": "x", "done": true, "bad": null, "huge": 1e300, "nan": NaN}',
        b'{"step": 1, "loss": 1}',
        b'{"loss": 3}',
        b"[1, 2]",
        b'{"step": -1, "loss": 3}',
        b"[" * 5000,
        b'{"step": 3, "lo',
    ]
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(lines))
    assert read_log(tmp_path) == []
    (tmp_path / "train.json").write_text("{}")
    assert read_log(tmp_path) == [{"step": 1.0, "loss": 1.0}, {"step": 2.0, "loss": 0.5}]
    (tmp_path / "log.jsonl").unlink()
    os.mkfifo(tmp_path / "log.jsonl")
    assert read_log(tmp_path) == []


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("out/dpo/checkpoint-500", ("out/dpo", 500)),
        ("hf/out/run_step20", ("out/run", 20)),
        ("a/global_step3", ("a", 3)),
        ("Qwen/Qwen2-VL-7B", None),
        ("micro", None),
    ],
)
def test_steps_of_checkpoints(spec: str, found: tuple[str, int] | None) -> None:
    assert training_step(spec) == found


def _training(folder: Path, runs: list[Path], notes: list[Any]) -> list[Path]:
    """A folder of a training whose evaluations are these runs, each with a note."""
    copies = []
    for run, note in zip(runs, notes, strict=True):
        copy = folder / "runs" / run.name
        shutil.copytree(run, copy, copy_function=os.link)
        if note is not None:
            (copy / "training.json").write_text(note if isinstance(note, str) else json.dumps(note))
        copies.append(copy)
    (folder / "train.json").write_text("{}")
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LOG))
    return copies


@pytest.mark.slow
def test_notes_say_which_training(runs: list[Path], tmp_path: Path) -> None:
    about = {"training": "mine", "method": "ppo"}
    notes = [{**about, "step": 0}, {**about, "step": 10}, {"step": -5}]
    copies = _training(tmp_path / "tuning", runs[1:], notes)
    entries, _ = read_entries(copies)
    [training] = trainings_of(entries)
    assert (training.name, training.method) == ("mine", "ppo")
    assert [(step, entry.folder) for step, entry in training.members] == [
        (0, "step-100"),
        (10, "step-200"),
    ]
    assert len(training.log) == len(LOG)
    for note in ('{"step": "x"}', "[]", '{"step": 1e30}', "{", None):
        for copy in copies:
            (copy / "training.json").unlink(missing_ok=True)
            if note is not None:
                (copy / "training.json").write_text(note)
        [training] = trainings_of(entries)  # by the names of their folders
        assert (training.name, [step for step, _ in training.members]) == (
            "train/tuned",
            [100, 200, 300],
        )
        assert training.log == []
    outside = tmp_path / "outside.json"
    outside.write_text('{"step": 7, "training": "theirs"}')
    (copies[0] / "training.json").symlink_to(outside)
    assert [t.name for t in trainings_of(entries)] == ["train/tuned"]


@pytest.fixture(scope="module")
def trained(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of a training with its start, and of one without a log."""
    root = tmp_path_factory.mktemp("trained")
    about = {"training": "<b>tuning</b>", "method": "ppo"}
    notes = [{**about, "step": step} for step in (0, 150, 300)]
    copies = _training(root / "tuning", runs[1:], notes)
    build([*copies, runs[0]], root / "site")
    return root / "site"


@pytest.mark.slow
def test_the_page_of_a_training(trained: Path, browser: Any) -> None:
    chunks = Chunks(trained / "data")
    [training] = chunks.read("board", dict[str, Any])["trainings"]
    assert [step for _, step in training["runs"]] == [0, 150, 300]
    for width, scheme in ((1440, "light"), (390, "dark")):
        tab = Tab(browser, viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = tab.open(trained)
        page.click(".trainings a")
        page.wait_for_selector("main.training .checkpoints")
        assert page.locator("h1").inner_text() == "<b>tuning</b>"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("section h2").all_inner_texts() == [
            "Evaluations",
            "Log of the training",
            "Checkpoints",
        ]
        # A plot fills its card, and its smallest text can be read.
        sizes = page.evaluate(
            """() => [...document.querySelectorAll('.figure')].map(figure => {
                 const width = (element) => element.getBoundingClientRect().width;
                 const plot = width(figure.querySelector('svg'));
                 return [plot / width(figure), 12 * plot / 360];
               })"""
        )
        assert len(sizes) >= 8
        assert min(share for share, _ in sizes) > 0.85
        assert min(size for _, size in sizes) > 10
        page.click("summary:has-text('more quantities')")
        page.wait_for_selector("details .figure")
        assert page.locator("details .figure").count() == 1
        page.click(".checkpoints a >> nth=0")
        page.wait_for_selector("main.model")
        assert page.locator("section[aria-labelledby=s-over-training] .figure").count() >= 3
        tab.context.close()
        assert tab.problems == []
