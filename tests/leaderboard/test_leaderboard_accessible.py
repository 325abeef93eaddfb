"""Accessibility of each page type, by axe-core in a real Chromium; and what axe cannot see."""

from __future__ import annotations

import json
import shutil
from html import escape
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest

from align_plugins.evaluation.page import write_page
from align_plugins.settings import EvaluationSettings
from align_plugins.workdir import NOTE, Workdir
from eval_anything.gating.bill import bill
from eval_anything.gating.bill_report import write_bill_page
from tests.leaderboard.test_leaderboard_trainings import LOG
from tests.support.browsing import Tab

pytestmark = pytest.mark.slow

_AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
_VIEWS = {
    "board": ("#board", "table.board tbody tr[aria-rowindex]"),
    "all metrics": ("#board?all=1&sel={tuned-300}", "table.board tbody tr[aria-rowindex]"),
    "nothing found": ("#board?q=nobody", ".empty"),
    "model": ("#model?run={tuned-300}", "figure svg"),
    "training": ("#training?key=trainings/0", ".checkpoints"),
    "samples": ("#samples?run={tuned-300}&task=micro/synergy", ".detail h1"),
    "failed sample": ("#samples?run={flaky}&task=micro/selection&outcome=failed", ".answered .wrong"),
    "compare": ("#compare?a={tuned-100}&b={tuned-300}&task=micro/synergy", ".stage-pair h2"),
    "not comparable": ("#compare?a={micro}&b={tuned-300}&task=micro/synergy", ".estimate .wrong"),
}


def _violations(page: Any, rules: str = "", within: str = "html") -> list[str]:
    page.evaluate(_AXE.read_text("utf-8"))
    options = f"{{ resultTypes: ['violations'], preload: false{rules} }}"
    found = page.evaluate(f"axe.run({within!r}, {options})")
    return [
        f"{v['id']}: {v['help']}: {[n['html'][:160] for n in v['nodes'][:3]]} {v['nodes'][0]['any'][:1]}"
        for v in found["violations"]
    ]


_COLOURS = ", runOnly: ['color-contrast']"


# In the dark only colours differ; the views that are left out have those of the others. The board with
# all metrics has what the board has.
@pytest.mark.parametrize(
    ("scheme", "rules", "views"),
    [
        ("light", "", [name for name in _VIEWS if name != "board"]),
        ("dark", _COLOURS, ["board", "model", "training", "compare"]),
    ],
)
def test_axe_finds_nothing(browser: Any, site: Path, scheme: str, rules: str, views: list[str]) -> None:
    tab = Tab(browser, color_scheme=scheme)
    page = tab.open(site)
    ids = tab.ids()
    found = {}
    for name in views:
        view, wait = _VIEWS[name]
        for model, id_ in ids.items():
            view = view.replace(f"{{{model}}}", id_)
        tab.go(view, wait)
        page.wait_for_timeout(200)
        found[name] = _violations(page, rules)
    tab.go("#board", "table.board tbody tr[aria-rowindex]")
    page.locator("button.value").first.click()
    page.wait_for_selector("dialog[open]")
    found["cell card"] = _violations(page, rules, "dialog[open]")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    found["keys"] = _violations(page, rules, "dialog[open]")
    tab.context.close()
    assert {name: problems for name, problems in found.items() if problems} == {}
    assert tab.problems == []


def test_on_a_phone(browser: Any, site: Path) -> None:
    tab = Tab(browser, viewport={"width": 390, "height": 844})
    page = tab.open(site)
    assert _violations(page) == []
    tab.context.close()


def test_rows_are_numbered_and_the_page_speaks(tab: Tab, site: Path) -> None:
    page = tab.open(site)
    assert page.get_attribute("table.board", "aria-rowcount") == "14"
    assert page.locator("tbody tr[aria-rowindex]").first.get_attribute("aria-rowindex") == "3"
    page.fill("input[type=search]", "tuned")
    assert page.locator("#said").inner_text().startswith("3 runs")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") != "BODY"


def test_the_first_stop_of_the_tab_key_skips_the_header(tab: Tab, site: Path) -> None:
    page = tab.open(site)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_the_page_of_a_run(browser: Any, runs: list[Path]) -> None:
    """axe finds nothing, its filters need no script, and on a phone the values are in sight."""
    found = {}
    for width, scheme in ((1440, "light"), (1440, "dark"), (390, "light")):
        tab = Tab(browser, viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = tab.page
        page.goto((runs[1] / "report.html").as_uri())
        page.locator("summary").first.click()
        found[f"{width} {scheme}"] = _violations(page, _COLOURS if scheme == "dark" else "")
        cards = page.locator("#task-1 article")
        everything = cards.filter(visible=True).count()
        page.locator("#task-1 input[value='worse half']").check()
        worse = cards.filter(visible=True).count()
        assert 0 < worse == page.locator("#task-1 article.worse-half").count() < everything
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        box = page.locator("td.value").first.bounding_box()
        assert box["x"] + box["width"] <= width
        tab.context.close()
        assert tab.problems == []
    assert {name: problems for name, problems in found.items() if problems} == {}


_SIZES = ((1440, "light"), (1440, "dark"), (390, "light"), (390, "dark"))


def _check_page(browser: Any, page_path: Path) -> None:
    """axe finds nothing on a page without scripts, and it is not wider than a phone."""
    found = {}
    for width, scheme in _SIZES:
        tab = Tab(browser, viewport={"width": width, "height": 900}, color_scheme=scheme)
        tab.page.goto(page_path.as_uri())
        found[f"{width} {scheme}"] = _violations(tab.page, _COLOURS if scheme == "dark" else "")
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width, width
        broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        assert tab.page.evaluate(broken) == []
        tab.context.close()
        assert tab.problems == []
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_the_page_of_a_bill(browser: Any, runs: list[Path], tmp_path: Path) -> None:
    worst = bill(runs[3], runs[1], alpha=0.4)  # so few samples harm nothing at .05
    assert any(part.path for item in worst.items for sample in item.paid for part in sample.candidate)
    write_bill_page(worst, tmp_path / "bill.html")
    page = (tmp_path / "bill.html").read_text("utf-8")
    assert all(f">{escape(item.name)}<" in page for item in worst.items)
    assert "samples would settle it" in page
    _check_page(browser, tmp_path / "bill.html")


def test_the_page_of_a_training(browser: Any, runs: list[Path], tmp_path: Path) -> None:
    work = Workdir(tmp_path / "sft")
    work.runs.mkdir(parents=True)
    for step, run in ((0, runs[0]), (100, runs[1])):
        copy = shutil.copytree(
            run, work.runs / f"step-{step:06d}", ignore=shutil.ignore_patterns("media")
        )
        note = {"step": step, "training": "sft", "method": "sft", "tokens": 1000 * step}
        (copy / NOTE).write_text(json.dumps(note), "utf-8")
    work.about.write_text(json.dumps({"method": "sft", "settings": {"data": "d", "model": "micro"}}))
    for line in LOG:
        work.add_to_log(line)
    result = {
        "lines": ["It ran."],
        "bill": {"harmed": ["image out"]},
        "step": 100,
        "tokens": 7,
        "seconds": 1,
    }
    work.result.write_text(json.dumps(result))
    page = write_page(work, EvaluationSettings(tasks=["micro_quick"]), 300)
    assert 'href="bill.html"' in page.read_text("utf-8")
    _check_page(browser, page)
