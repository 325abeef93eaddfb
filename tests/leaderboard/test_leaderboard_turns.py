"""Samples of several turns in a real Chromium: every question and every answer, in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eval_anything.leaderboard.build import build
from tests.support.browsing import Tab, until
from tests.support.helpers import make_task, png, text_sample, wav, write_jsonl
from tests.support.site_runs import edit_run, run_cli

pytestmark = pytest.mark.slow

_TURNS = [
    {"parts": [{"modality": "image", "from_turn": 1}, {"modality": "text", "text": "Now say it."}]},
    {"parts": [{"modality": "text", "text": "Which colour was it?"}], "fresh": True},
]


def _text(text: str) -> dict[str, str]:
    return {"modality": "text", "text": text}


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of two models that were asked three turns. `whole` answers all of them, first with a
    picture; `early` draws nothing in the first turn of s1, so that the second one cannot be asked."""
    root = tmp_path_factory.mktemp("talks")
    samples = [text_sample(f"s{i}", "Draw a circle.", turns=_TURNS) for i in range(2)]
    make_task(root / "tasks", "mine/talk", samples)
    (root / "red.png").write_bytes(png())
    (root / "blue.png").write_bytes(png((20, 30, 200)))
    (root / "said.wav").write_bytes(wav())
    runs = []
    for name, picture in (("whole", "red.png"), ("early", "blue.png")):
        drawn = [_text(f"{name} draws"), {"modality": "image", "path": picture}]
        spoken = [{"modality": "audio", "path": "said.wav"}]
        rows: list[dict[str, Any]] = [
            {"sample_id": f"s{i}", "turns": [drawn, spoken], "parts": [_text(f"{name} ends")]}
            for i in range(2)
        ]
        if name == "early":
            rows[1]["turns"] = [drawn[:1], spoken]
        file = write_jsonl(root / f"{name}.jsonl", rows)
        run_cli(
            *("score", "--outputs", file, "--tasks", "mine/talk", "--include", root / "tasks"),
            *("--out", root / name, "--max-failed", "1"),
        )
        runs.append(edit_run(root / name, model=name))
    build(runs, root / "site", include=[root / "tasks"])
    return root / "site"


def _titles(page: Any, inside: str) -> list[str]:
    titles: list[str] = page.evaluate(
        "inside => [...document.querySelectorAll(inside + ' > section')].map(s => s.ariaLabel)", inside
    )
    return titles


def test_the_sample_browser_shows_every_turn_in_order(talks: Path, tab: Tab) -> None:
    page = tab.open(talks)
    tab.go(f"#samples?run={tab.ids()['whole']}&task=mine/talk&sample=s0", ".detail h1")
    turns = [f"{what} of turn {i}" for i in (1, 2, 3) for what in ("Prompt", "Response")]
    assert _titles(page, ".detail") == turns
    asked = page.locator(".asked").all_inner_texts()
    assert "Draw a circle." in asked[0]
    assert asked[1].index("(its own image of turn 1)") < asked[1].index("Now say it.")
    assert "Asked afresh" in asked[2]
    assert "Which colour was it?" in asked[2]
    answered = page.locator(".answered")
    assert "whole draws" in answered.nth(0).inner_text()
    until(page, "document.querySelector('.answered img').naturalWidth > 0")
    assert answered.nth(1).locator(".sound").count() == 1
    assert "whole ends" in answered.nth(2).inner_text()
    assert page.locator(".list img").count() == 2  # pictures of earlier turns are found and shown
    page.select_option("label:has-text('Has') select", "a")
    assert page.locator(".count").inner_text() == "2 of 2 samples"


def test_a_conversation_ends_where_a_turn_fails(talks: Path, tab: Tab) -> None:
    page = tab.open(talks)
    tab.go(f"#samples?run={tab.ids()['early']}&task=mine/talk&sample=s1", ".detail h1")
    answered = page.locator(".answered").all_inner_texts()
    assert len(answered) == 3
    assert "missing output" in answered[0].replace("_", " ")
    assert "early draws" in answered[0]
    assert ["Not asked" in text for text in answered] == [False, True, True]


def test_two_models_are_compared_turn_by_turn(talks: Path, tab: Tab) -> None:
    page = tab.open(talks)
    ids = tab.ids()
    tab.go(f"#compare?a={ids['whole']}&b={ids['early']}&task=mine/talk&sample=s0", ".stage-pair h2")
    asked = page.locator(".stage-pair .asked").all_inner_texts()
    assert ["Draw a circle." in asked[0], "Now say it." in asked[1], "colour" in asked[2]] == [True] * 3
    kinds = page.evaluate(
        "[...document.querySelectorAll('.duels')].map(d => [...d.children].map(c => c.className))"
    )
    against = [["against of-text", "against of-image"], ["against of-audio"], ["against of-text"]]
    assert kinds == against
    halves = page.locator(".half").all_inner_texts()
    ends = ["whole draws", "early draws", "", "", "whole ends", "early ends"]
    assert len(halves) == 6
    assert [end in half for end, half in zip(ends, halves, strict=True)] == [True] * 6
    assert page.locator("summary:has-text('Scores and why')").count() == 2
    tab.go(f"#compare?a={ids['whole']}&b={ids['early']}&task=mine/talk&sample=s1", ".stage-pair h2")
    until(page, "document.querySelector('.stage-pair h2').innerText === 's1'")
    halves = page.locator(".half").all_inner_texts()
    assert ["Not asked" in half for half in halves] == [False, False, False, True, False, True]


def test_turns_fit_on_a_phone(talks: Path, browser: Any) -> None:
    tab = Tab(browser, viewport={"width": 390, "height": 844})
    page = tab.open(talks)
    ids = tab.ids()
    for view in (f"#samples?run={ids['whole']}", f"#compare?a={ids['whole']}&b={ids['early']}"):
        tab.go(f"{view}&task=mine/talk", "text=Which colour was it?")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    tab.context.close()
    assert tab.problems == []
