"""The site in a real Chromium, opened from a file."""

from __future__ import annotations

import csv
import functools
import http.server
import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from eval_anything.comparison.compare import compare
from eval_anything.leaderboard.build import build
from tests.support.browsing import Tab, until
from tests.support.helpers import make_task, text_sample, write_jsonl
from tests.support.site_runs import run_cli

pytestmark = pytest.mark.slow


def _names(page: Any) -> list[str]:
    return page.locator("table.board tbody tr:not(.spacer) .name").all_inner_texts()


def _column(page: Any, place: int) -> list[str]:
    return page.evaluate(
        "i => [...document.querySelectorAll('table.board tbody tr[aria-rowindex]')]"
        ".map(tr => tr.children[i + 1].querySelector('.value')?.textContent ?? '')",
        place,
    )


def test_the_table_has_measured_models_and_published_ones(tab: Tab, site: Path) -> None:
    page = tab.open(site)
    assert page.title() == "Leaderboard"
    names = _names(page)
    assert len(names) == 5 + 7
    page.click("thead button:has-text('model')")
    names = _names(page)
    assert names[:3] == ["flaky", "micro", "tuned-100"]
    row = page.locator("tr.published", has_text="GPT-4o")
    assert "published, not measured here" in row.inner_text()
    assert row.locator(".rank").count() == 0
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("model")


def test_the_best_are_seen_at_once(browser: Any, site: Path) -> None:
    """The table begins in the order of the suite's aggregate, with the best models and their intervals
    above it. No rank covers an interval, no word is broken, and the worst value has no star."""
    for width in (1440, 390):
        tab = Tab(browser, viewport={"width": width, "height": 900})
        page = tab.open(site)
        assert page.locator("button.sorted").inner_text().startswith("Overall")
        assert page.locator(".leaders h2").inner_text().startswith("Overall of micro")
        assert page.locator(".leaders li a").first.inner_text() == "tuned-300"
        assert page.locator(".leaders li .scale").count() >= 3
        assert _names(page)[0] == "tuned-300"
        covered = page.evaluate(
            """() => [...document.querySelectorAll('td')].filter(td => {
                 if (!td.querySelector('.rank') || !td.querySelector('.ci')) return false;
                 const boxes = [td, td.querySelector('.rank'), td.querySelector('.ci')];
                 const [cell, rank, ci] = boxes.map(e => e.getBoundingClientRect());
                 return rank.bottom > ci.top + 1 || rank.right > cell.right;
               }).length"""
        )
        assert covered == 0
        header = page.locator("thead tr:nth-child(2) th button", has_text="instruction_")
        assert header.locator("bdi").first.evaluate("e => e.getClientRects().length") <= 2
        assert "Instruction following" in page.locator("thead").inner_text()
        tab.context.close()
        assert tab.problems == []
    tab = Tab(browser)
    page = tab.open(site)
    page.evaluate(
        """() => {
          const column = {place: 0, better: "higher", range: [0, 1], scale: [0, 1], classes: [[3, ""]]};
          for (const [id, cell] of Object.entries({
            zero: [0, 0, 0.3, 10, 2, 1, 3],
            some: [0.5, 0.3, 0.7, 10, 1, 1, 3],
            none: [null, null, null, 9, 0],
          })) {
            const drawn = EA.boardCell();
            drawn.draw({ id, cells: [cell], maxFailed: 0.1 }, column);
            drawn.element.id = `drawn-${id}`;
            document.getElementById("main").append(drawn.element);
          }
        }"""
    )
    assert page.locator("#drawn-zero .rank").inner_text() == "#1\u20133"
    assert page.locator("#drawn-zero .meta.failed").count() == 1
    assert page.locator("#drawn-some .rank").inner_text() == "#1\u20133 ★"
    assert page.locator("#drawn-some .meta.failed").count() == 0  # no more than a run may fail
    assert page.locator("#drawn-none").get_attribute("class") == "unscored"
    tab.context.close()


def test_sorting(tab: Tab, site: Path) -> None:
    page = tab.open(site)
    page.click("thead button:has-text('selection')")
    header = page.locator("th", has=page.locator("button.sorted"))
    assert header.get_attribute("aria-sort") == "descending"
    assert _names(page)[0] in ("tuned-300", "flaky")
    at = page.evaluate(
        "[...document.querySelectorAll('thead tr:nth-child(2) th')]"
        ".findIndex(th => th.querySelector('.sorted'))"
    )
    values = [float(v) for v in _column(page, at)[:4]]  # the last measured one is of another class
    assert values == sorted(values, reverse=True)
    page.click("thead button.sorted")
    assert header.get_attribute("aria-sort") == "ascending"
    assert _names(page)[-7:] == page.evaluate("EA.board().published.map(r => r.name)")


def test_classes_are_never_interleaved(tab: Tab, site: Path) -> None:
    """micro ran at another temperature: its numbers are marked, explained, and come after the others."""
    page = tab.open(site, "#board?sort=micro%2Fselection%3Aselection&dir=desc")
    names = _names(page)
    assert names.index("micro") > max(names.index(n) for n in names if n.startswith("tuned"))
    cell = page.locator("tbody tr", has_text="micro").first.locator("td").nth(3)
    assert cell.locator(".class").inner_text() == "B"
    page.click("summary:has-text('not ranked together')")
    assert "temperature 0 -> 0.7" in page.locator(".notices").inner_text()
    apart = page.locator("tr.apart .name").all_inner_texts()
    assert apart[0] == "micro"  # a line where another class begins


def test_rows_out_of_sight_become_those_in_sight(tab: Tab, site: Path) -> None:
    """A jump in a long list makes no elements, keeps the order, and moves the focus to no other row."""
    page = tab.open(site)
    page.evaluate(
        """() => {
          const scroller = EA.el("div", {});
          scroller.style.cssText = "height: 200px; overflow: auto";
          const body = EA.el("div");
          scroller.append(body);
          document.getElementById("main").prepend(scroller);
          const made = [];
          const row = () => {
            const element = EA.el("p", { tabindex: "-1", class: "recycled" }, "");
            element.style.cssText = "height: 20px; margin: 0";
            made.push(element);
            return { element, draw: (i) => EA.retext(element, `row ${i}`) };
          };
          const spacer = () => EA.el("div");
          const table = EA.windowed({ scroller, body, height: 20, row, spacer, whole: () => false });
          table.reset(1000);
          window.recycling = { scroller, table, made };
        }"""
    )
    shown = "[...document.querySelectorAll('.recycled')].map(e => e.textContent)"
    assert page.evaluate(shown) == [f"row {i}" for i in range(12)]
    expected = [f"row {i}" for i in range(498, 512)]
    page.evaluate("recycling.scroller.scrollTop = 10000")
    until(page, f"{shown}[0] === 'row 498'")
    assert page.evaluate(shown) == expected
    page.evaluate("recycling.scroller.scrollTop = 5000")
    until(page, f"{shown}[0] === 'row 248'")
    assert page.evaluate("recycling.made.length") == 14
    page.evaluate("recycling.table.row(255).element.focus()")
    page.evaluate("recycling.scroller.scrollTop = 10000")
    until(page, f"{shown}[0] === 'row 498'")
    assert page.evaluate(shown) == expected
    assert page.evaluate("document.activeElement === document.body")
    page.evaluate("recycling.table.reset(3)")
    assert page.evaluate(shown) == ["row 0", "row 1", "row 2"]


def test_a_cell_opens_the_card_of_the_row_that_it_shows_now(tab: Tab, site: Path) -> None:
    page = tab.open(site)
    for _ in range(2):
        page.click("thead button:has-text('selection')")
        for name in ("tuned-100", "tuned-300"):
            page.locator("tr", has_text=name).locator("button.value").first.click()
            page.wait_for_selector("dialog[open]")
            assert name in page.locator("dialog h2").inner_text()
            page.keyboard.press("Escape")
            until(page, "!document.querySelector('dialog')")


def test_search_filters_columns_and_the_link_of_the_view(tab: Tab, site: Path) -> None:
    page = tab.open(site)
    page.keyboard.press("/")
    page.keyboard.type("tuned")
    assert _names(page) == ["tuned-300", "tuned-200", "tuned-100"]
    page.check("text=all metrics")
    page.select_option("label:has-text('Modality') select", "writes video")
    header = page.locator("thead").inner_text()
    assert "instructions (vision)" in header
    assert "instructions (text)" not in header
    page.select_option("label:has-text('Suite') select", "micro")
    page.click("button:has-text('Columns')")
    page.uncheck("label:has-text('micro/synergy:synergy') >> nth=0 >> input")
    page.keyboard.press("Escape")
    header = page.locator("thead").inner_text()
    assert "video_audio" in header
    assert "instructions (vision)" not in header
    link = page.url
    other = Tab(page.context.browser)
    other.open(link)
    assert _names(other.page) == _names(page)
    assert other.page.locator("thead").inner_text() == header
    other.context.close()
    assert other.problems == []


def test_nothing_matches(tab: Tab, site: Path) -> None:
    page = tab.open(site, "#board?q=nobody")
    assert page.locator(".empty").is_visible()
    page.click("text=Show all")
    page.wait_for_selector("tbody tr .name")
    assert len(_names(page)) == 12


def test_a_cell_has_its_card(tab: Tab, site: Path) -> None:
    page = tab.open(site)
    page.locator("tr", has_text="tuned-300").locator("td button.value").nth(3).click()
    page.wait_for_selector("dialog[open]")
    text = page.locator("dialog").inner_text()
    for words in (
        "95 % interval",
        "comparable runs",
        "judge",
        "exact: computed by a program",
        "80 % power",
    ):
        assert words in text
    assert "not ranked with" in text
    assert "temperature" in text
    assert "measures\nshare of the asked attributes that the parts show, times ten" in text
    fingerprint = page.locator("dialog dd code").first.inner_text()
    assert len(fingerprint) == 64
    page.keyboard.press("Escape")
    until(page, "!document.querySelector('dialog')")


def test_an_invalid_number_says_why(tab: Tab, site: Path) -> None:
    page = tab.open(site, "#board?all=1")
    page.locator("button.value:has-text('INVALID')").click()
    page.wait_for_selector("dialog[open]")
    assert "3 of 10 samples are unscored" in page.locator("dialog").inner_text()


def test_the_keyboard_alone(tab: Tab, site: Path) -> None:
    page = tab.open(site, "#board?sort=name")
    page.keyboard.press("?")
    assert "next and previous row" in page.locator("dialog").inner_text()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.innerText").startswith("micro")
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.innerText").startswith("flaky")
    page.keyboard.press("c")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("c")
    page.wait_for_selector(".estimate")
    assert "compare" in page.url
    page.go_back()
    page.wait_for_selector("table.board")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('flaky')")
    page.keyboard.press("Enter")
    page.wait_for_selector(".detail h1")
    first = page.locator(".detail h1").inner_text()
    page.keyboard.press("j")
    until(page, "first => document.querySelector('.detail h1').innerText !== first", first)
    page.keyboard.press("k")
    until(page, "first => document.querySelector('.detail h1').innerText === first", first)


def test_export(tab: Tab, site: Path) -> None:
    page = tab.open(site, "#board?q=tuned")
    page.click("button:has-text('Export')")
    with page.expect_download() as download:
        page.click("text=Save CSV")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))
    assert [row["model"] for row in rows] == ["tuned-300", "tuned-200", "tuned-100"]
    with page.expect_download() as download:
        page.click("text=Save JSON")
    data = json.loads(Path(download.value.path()).read_text("utf-8"))
    metric = data[0]["metrics"]["micro/selection:selection"]
    assert float(rows[0]["micro/selection:selection value"]) == metric["value"]
    assert metric["n"] == 10


def test_dark_and_light(tab: Tab, site: Path) -> None:
    page = tab.open(site)
    background = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(background)
    page.click("#theme")
    dark = page.evaluate(background)
    assert light != dark
    page.reload()
    page.wait_for_selector("table.board")
    assert page.evaluate(background) == dark
    page.emulate_media(color_scheme="dark")
    page.click("#theme")
    assert page.evaluate(background) == light
    page.click("#theme")
    assert page.evaluate(background) == dark  # auto follows the system


def test_the_model_page(tab: Tab, site: Path) -> None:
    page = tab.open(site)
    ids = tab.ids()
    tab.go(f"#model?run={ids['tuned-200']}", "h2:has-text('How it was run')")
    text = page.locator("#main").inner_text()
    for words in ("Modality profile", "By dimension", "Over training", "checkpoint-200"):
        assert words in text
    assert page.locator("figure svg").count() > 6
    assert page.locator("section:has-text('Over training') svg").first.locator(".mark").count() == 3
    tab.go(f"#model?run={ids['flaky']}", "h1:has-text('flaky')")
    page.locator("a:has-text('Samples')").first.wait_for()
    tab.go("#model?run=nobody", "[role=alert]")
    assert any("no such model" in problem for problem in tab.problems)
    tab.problems.clear()


def test_samples_and_their_players(tab: Tab, site: Path) -> None:
    page = tab.open(site)
    ids = tab.ids()
    tab.go(f"#samples?run={ids['tuned-300']}&task=micro/synergy&mod=a", ".detail .sound")
    assert (
        "Prompt" in page.locator(".detail").inner_text()
        or "PROMPT" in page.locator(".detail").inner_text()
    )
    until(page, "[...document.querySelectorAll('.detail audio')].every(a => a.readyState >= 2)")
    page.locator(".answered .play").first.click()
    until(page, "document.querySelector('.answered audio').currentTime > 0.05")
    assert page.locator(".answered svg.wave path").first.get_attribute("d").count("M") > 50
    tab.go(f"#samples?run={ids['tuned-300']}&task=micro/synergy&mod=v", ".answered video")
    until(page, "document.querySelector('.answered video').readyState >= 2")
    page.keyboard.press("p")
    until(page, "document.querySelector('.detail audio, .detail video').currentTime > 0.05")
    tab.go(f"#samples?run={ids['tuned-300']}&task=micro/synergy&mod=i", ".answered img")
    until(page, "document.querySelector('.answered img').naturalWidth > 0")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog img")
    page.keyboard.press("Escape")


def test_samples_are_filtered_and_linked(tab: Tab, site: Path) -> None:
    page = tab.open(site)
    run = tab.ids()["flaky"]
    tab.go(f"#samples?run={run}&task=micro/selection", ".detail h1")
    page.select_option("label:has-text('Outcome') select", "failed")
    assert page.locator(".count").inner_text() == "3 of 10 samples"
    page.locator(".list a").nth(1).click()
    page.wait_for_selector(".answered .wrong")
    assert "it said nothing" in page.locator(".answered").inner_text()
    name = page.locator(".detail h1").inner_text()
    page.select_option("label:has-text('Outcome') select", "unscored")
    assert page.locator(".count").inner_text() == "2 of 10 samples"
    page.select_option("label:has-text('Outcome') select", "")
    page.fill("input[placeholder=from]", "1")
    count = int(page.locator(".count").inner_text().split()[0])
    assert 0 < count < 8
    other = Tab(page.context.browser)
    other.open(site, f"#samples?run={run}&task=micro/selection&sample={name}")
    other.page.wait_for_selector(".detail h1")
    assert other.page.locator(".detail h1").inner_text() == name
    other.context.close()
    assert other.problems == []


def test_two_models_on_the_same_samples(tab: Tab, site: Path, runs: list[Path]) -> None:
    """The estimate is the one of `eval-anything compare`, for every metric of every task."""
    page = tab.open(site)
    ids = tab.ids()
    expected = compare(runs[1], runs[3])
    checked = 0
    for change in expected.metrics:
        low, high = change.range
        found = page.evaluate(
            """async ([a, b, task, metric, largest]) => {
              const [x, y] = await Promise.all([EA.samplesOf(a, task), EA.samplesOf(b, task)]);
              const pairs = EA.pairs(x, y, metric);
              return EA.paired(pairs.map(p => p.gain), pairs.map(p => p.a.cluster), largest);
            }""",
            [ids["tuned-100"], ids["tuned-300"], change.task, change.metric, high - low],
        )
        assert found["difference"] == pytest.approx(change.change.difference, abs=1e-9)
        assert found["n"] == change.change.n
        if change.change.ci95 is None:
            assert found["low"] is None
        else:
            assert [found["low"], found["high"]] == pytest.approx(change.change.ci95, abs=1e-6)
            checked += 1
    assert checked > 10


def test_the_compare_page(tab: Tab, site: Path) -> None:
    page = tab.open(site)
    ids = tab.ids()
    tab.go(f"#compare?a={ids['tuned-100']}&b={ids['tuned-300']}&task=micro/synergy", ".stage-pair h2")
    gains = page.evaluate(
        "[...document.querySelectorAll('.steps .score')].map(s => parseFloat(s.innerText.slice(1)) || 0)"
    )
    assert gains == sorted(gains, reverse=True)
    assert page.locator("#gain").inner_text()[0] in "+\u2212±"
    assert "95 % interval" in page.locator("#gain-interval").inner_text()
    seen = set()
    for _ in range(page.locator(".steps li").count()):
        for kind in ("text", "image", "audio", "video"):
            if page.locator(f".against.of-{kind}").count() and kind not in seen:
                seen.add(kind)
                _try_duel(page, kind)
        page.keyboard.press("j")
        page.wait_for_timeout(60)
    assert {"text", "image", "audio"} <= seen
    page.select_option("label.order select", "losses")
    page.wait_for_selector(".stage-pair h2")
    page.click("text=Swap A and B")
    page.wait_for_selector(".stage-pair h2")
    tab.go(f"#compare?a={ids['micro']}&b={ids['tuned-300']}&task=micro/synergy", ".estimate .wrong")
    assert "cannot be compared" in page.locator(".estimate").inner_text()
    assert "temperature 0" in page.locator(".estimate").inner_text()


def _try_duel(page: Any, kind: str) -> None:
    duel = page.locator(f".against.of-{kind}").first
    if kind == "text":
        assert duel.locator(".diff").count() == 1
    elif kind == "image":
        duel.locator("input").focus()
        page.keyboard.press("Home")
        assert (
            page.evaluate("getComputedStyle(document.querySelector('.swipe .over')).clipPath")
            == "inset(0px 100% 0px 0px)"
        )
    elif kind == "audio":
        until(page, "[...document.querySelectorAll('.sounds audio')].every(a => a.readyState >= 2)")
        duel.locator("button.play").first.click()
        duel.locator("button.who.b").click()
        muted = "[...document.querySelectorAll('.against.of-audio audio')].slice(0, 2).map(a => a.muted)"
        assert page.evaluate(muted) == [True, False]
        page.keyboard.press("c")
        assert page.evaluate(muted) == [False, True]
    else:
        until(page, "[...document.querySelectorAll('.pair video')].every(v => v.readyState >= 2)")
        duel.locator("button.play").first.click()
        until(
            page,
            "[...document.querySelectorAll('.pair video')].slice(0, 2).every(v => v.currentTime > 0.05)",
        )
        times = page.evaluate(
            "[...document.querySelectorAll('.pair video')].slice(0, 2).map(v => v.currentTime)"
        )
        assert abs(times[0] - times[1]) < 0.2


def test_louder_sounds_are_played_softer(tab: Tab, site: Path) -> None:
    page = tab.open(site)
    assert page.evaluate("EA.volumes(-10, -16)") == [pytest.approx(10 ** (-6 / 20)), 1]
    assert page.evaluate("EA.volumes(null, -16)") == [1, 1]


def test_a_text_diff(tab: Tab, site: Path) -> None:
    page = tab.open(site)
    assert page.evaluate("EA.diff('a red circle', 'a blue circle')") == [
        ["=", "a "], ["-", "red"], ["+", "blue"], ["=", " circle"],
    ]  # fmt: skip
    assert page.evaluate("EA.diff('x '.repeat(4000), 'y '.repeat(4000))") is None
    assert page.evaluate("EA.diff('', '')") == []


def test_from_a_server_and_on_a_phone(browser: Any, site: Path) -> None:
    """The same files over HTTP, at the width of a phone: nothing is wider than the screen."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tab = Tab(browser, viewport={"width": 390, "height": 844})
        page = tab.open(f"http://127.0.0.1:{server.server_port}/index.html")
        ids = tab.ids()
        views = (
            ("#board", "table.board"),
            (f"#model?run={ids['tuned-300']}", "figure svg"),
            (f"#samples?run={ids['tuned-300']}&task=micro/synergy", ".detail h1"),
            (f"#compare?a={ids['tuned-100']}&b={ids['tuned-300']}", ".stage-pair h2"),
        )
        for view, wait in views:
            tab.go(view, wait)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, view
        assert all(url.startswith(f"http://127.0.0.1:{server.server_port}/") for url in tab.requested)
        tab.context.close()
        server.shutdown()
    assert tab.problems == []


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Nothing."""


def test_without_scripts_the_main_numbers_are_there(browser: Any, site: Path) -> None:
    tab = Tab(browser, java_script_enabled=False)
    tab.page.goto((site / "index.html").as_uri())
    text = tab.page.locator("noscript").inner_text()
    assert "tuned-300" in text
    assert "micro/selection:selection" in text
    tab.context.close()


def test_the_printer_gets_every_row(tab: Tab, site: Path) -> None:
    page = tab.open(site)
    page.emulate_media(media="print")
    assert not page.locator(".bar").is_visible()
    assert len(_names(page)) == 12


SIZES = {"large": (640, 400), "small": (128, 96), "tiny": (40, 20), "huge": (2000, 1000)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of a run whose answers are pictures of these sizes."""
    root = tmp_path_factory.mktemp("pictures")
    make_task(root / "tasks", "mine/draws", [text_sample(name) for name in SIZES])
    rows = []
    for name, size in SIZES.items():
        Image.effect_noise(size, 60).save(root / f"{name}.png")
        part = {"modality": "image", "path": f"{name}.png"}
        rows.append({"sample_id": name, "parts": [{"modality": "text", "text": "Here:"}, part]})
    outputs = write_jsonl(root / "answers.jsonl", rows)
    run_cli(
        *("score", "--outputs", outputs, "--tasks", "mine/draws", "--include", root / "tasks"),
        *("--out", root / "run"),
    )
    build([root / "run"], root / "site", include=[root / "tasks"])
    return root / "site"


def test_pictures_have_their_own_size(pictures: Path, browser: Any) -> None:
    """Sharp, no larger than the page; only tiny ones are enlarged, by whole pixels. The list has
    thumbnails, and a huge picture is loaded at its own size when it is opened."""
    for width in (1440, 390):
        tab = Tab(browser, viewport={"width": width, "height": 900})
        page = tab.open(pictures)
        [run] = tab.ids().values()
        for name, (w, h) in SIZES.items():
            tab.go(f"#samples?run={run}&task=mine/draws&sample={name}", f"h1:has-text('{name}')")
            image = page.locator(".answered .picture img")
            until(page, "document.querySelector('.answered .picture img').naturalWidth > 0")
            shown, natural = image.evaluate("e => [e.getBoundingClientRect().toJSON(), e.naturalWidth]")
            times = 4 if name == "tiny" else 1
            room = page.locator(".answered .parts").bounding_box()["width"]
            assert shown["width"] == pytest.approx(min(times * w, room), abs=1), name
            assert shown["height"] == pytest.approx(shown["width"] * h / w, abs=1)
            assert natural == (1280 if name == "huge" else w)
            sharp = image.evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"
            assert sharp == (name == "tiny")
        page.click(".answered button.picture")
        until(page, "document.querySelector('dialog .stage img')?.naturalWidth === 2000")
        assert sum("/thumbs/" in address for address in tab.requested) >= 3
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        tab.context.close()
        assert tab.problems == []
