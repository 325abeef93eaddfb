"""A corpus of attacks in every string and medium: no script runs, nothing is fetched, all is text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from eval_anything.leaderboard.build import build
from tests.support.browsing import Tab, until
from tests.support.hostile import HUGE, STRINGS, add_hostile_task, hostile_run, hostile_task

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["folder", "file"])
def attacked(
    request: pytest.FixtureRequest, runs: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A site with the run of attacks, twice, and an honest one."""
    root = tmp_path_factory.mktemp("hostile")
    one = hostile_run(runs[1], root / "<b>'\"&; $(run)")
    two = hostile_run(runs[2], root / os.fsdecode(b"<script>window.RAN=30 \xff"))
    add_hostile_task(one, hostile_task(root / "tasks"))
    out = root / "site.html" if request.param == "file" else root / "site"
    build([one, two, runs[3]], out, single=request.param == "file", include=[root / "tasks"])
    return out


def _shows(page: Any, text: str) -> bool:
    """Whether an element's own text holds it, character by character."""
    found: bool = page.evaluate(
        "text => [...document.querySelectorAll('#main *, dialog *')]"
        ".some(e => e.textContent.includes(text))",
        text,
    )
    return found


def test_no_attack_gets_through(browser: Any, attacked: Path) -> None:
    tab = Tab(browser)
    page = tab.open(attacked, "#board?all=1")
    ids = [row_id for _, row_id in page.evaluate("EA.board().rows.map(r => [r.name, r.id])")]
    names = page.evaluate("EA.board().rows.map(r => r.name)")
    evil = [row_id for row_id, name in zip(ids, names, strict=True) if name.startswith("<script>")]
    assert len(evil) == 2
    assert _shows(page, STRINGS[0])
    header = page.locator("thead").inner_text()
    assert "<img src=x onerror" in header
    page.locator("tbody tr", has_text="<script>").first.locator("button.value").first.click()
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.locator("button.value:has-text('INVALID')").first.click()
    page.wait_for_selector("dialog[open]")
    assert "<script>" in page.locator("dialog").inner_text()
    page.keyboard.press("Escape")
    tab.go(f"#model?run={evil[0]}", "h2:has-text('How it was run')")
    for text in STRINGS:
        assert _shows(page, text.strip()[:60]) or _shows(page, text.replace("\x00", "\ufffd")[:60]), text
    for i, text in enumerate(STRINGS[:10]):
        _open_sample(tab, evil[0], i)
        assert page.locator(".detail h1").text_content().startswith(f"{i:03} ")
        if i:
            for part in STRINGS:
                assert _shows(page, part), part
        assert text in page.locator(".scores").text_content()
    tab.go(f"#compare?a={evil[0]}&b={evil[1]}", ".stage-pair h2")
    for _ in range(3):
        page.keyboard.press("j")
        page.wait_for_timeout(100)
    assert page.evaluate("window.RAN") is None
    assert (
        page.evaluate("document.querySelectorAll('iframe, object, embed, #main script, base').length")
        == 0
    )
    root = attacked.as_uri().rsplit("/", 1)[0]
    assert [url for url in tab.requested if not url.startswith((root, "data:"))] == []
    tab.context.close()
    assert [p for p in tab.problems if "Download the" not in p] == []


def _open_sample(tab: Tab, run: str, i: int) -> None:
    tab.go(f"#samples?run={run}&task=micro/synergy", ".detail h1")
    for _ in range(i):
        tab.page.keyboard.press("j")
    until(tab.page, "i => document.querySelector('.detail h1').textContent.startsWith(i)", f"{i:03} ")


def test_prompts_are_text(browser: Any, attacked: Path) -> None:
    tab = Tab(browser)
    page = tab.open(attacked)
    run = page.evaluate("EA.board().rows.find(r => r.tasks.includes('mine/attack')).id")
    for i in range(len(STRINGS)):
        tab.go(f"#samples?run={run}&task=mine/attack&sample=p{i:02}", ".asked .text")
        until(page, "i => document.querySelector('.detail h1').textContent === i", f"p{i:02}")
        assert page.locator(".asked .text").text_content() == STRINGS[i]
    assert page.evaluate("window.RAN") is None
    tab.context.close()
    assert tab.problems == []


def test_a_megabyte_of_text_and_broken_media(browser: Any, attacked: Path) -> None:
    tab = Tab(browser)
    page = tab.open(attacked)
    evil = page.evaluate("EA.board().rows.filter(r => r.name.startsWith('<script>')).map(r => r.id)")
    tab.go(f"#samples?run={evil[0]}&task=micro/selection", ".detail .answered")
    text = page.locator(".answered").inner_text()
    assert text.count("cannot be shown") == 5
    assert "not a known image format" in text
    until(page, "document.querySelector('.answered audio').readyState >= 2")
    page.click("button.more")
    until(page, "document.querySelector('.answered .text').textContent.length > 1e6")
    assert page.evaluate("document.querySelector('.answered .text').textContent") == HUGE
    assert page.evaluate("window.RAN") is None
    tab.context.close()
    assert tab.problems == []


def test_nothing_of_markup_is_in_the_files(attacked: Path) -> None:
    if attacked.is_file():
        page = attacked.read_text("utf-8")
        assert page.count("<script>") == 1
        return
    names = {path.suffix for path in attacked.rglob("*") if path.is_file()}
    assert names <= {".html", ".js", ".css", ".svg", ".json", ".csv", ".png", ".wav", ".mp4", ".webp"}
    assert [p.name for p in attacked.rglob("*.svg")] == ["icon.svg"]
    assert "<script>window" not in (attacked / "index.html").read_text("utf-8")
    assert all(b"<" not in p.read_bytes() for p in (attacked / "data").rglob("*.js"))
