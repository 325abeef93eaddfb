"""The annotation page in a real Chromium, by keyboard and by mouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval_anything.annotate.log import latest_answers, read_annotations
from tests.support.annotating import Client, annotated_task, saved_answers, serving
from tests.support.browsing import Tab, chromium, until
from tests.support.helpers import make_task, text_sample, write_jsonl
from tests.support.hostile import STRINGS


class Served:
    """Servers that were started before the browser, which keeps the thread's event loop."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.task = annotated_task(root / "tasks")
        self.good = saved_answers(root / "good", "good", "well 9 done")
        self.bad = saved_answers(root / "bad", "bad", "poorly 1")
        texts = [text_sample(f"{i:02} {text}", text) for i, text in enumerate(STRINGS)]
        self.attack = make_task(root / "evil", "mine/attack", texts)
        answered = [
            {"sample_id": row["id"], "parts": [{"modality": "text", "text": text} for text in STRINGS]}
            for row in texts
        ]
        self.attacks = write_jsonl(root / "attacks.jsonl", answered)

    def log(self, name: str) -> Path:
        return self.root / "labels" / f"{name}.jsonl"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, Client]]]:
    made = Served(tmp_path_factory.mktemp("annotate"))
    with (
        serving(made.task, made.log("vote")) as vote,
        serving(made.task, made.log("preference"), [made.good], made.bad) as preference,
        serving(made.task, made.log("grade"), [made.good]) as grade,
        serving(made.attack, made.log("attack"), [made.attacks], annotator=STRINGS[3]) as attack,
    ):
        yield made, {"vote": vote, "preference": preference, "grade": grade, "attack": attack}


@pytest.fixture(scope="module")
def browser(served: tuple[Served, dict[str, Client]]) -> Iterator[Any]:
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


def open_page(tab: Tab, client: Client) -> Any:
    return tab.open(f"http://127.0.0.1:{client.port}/{client.token}/")


def question(page: Any) -> str:
    shown: str = page.evaluate("document.body.dataset.question")
    return shown


def press(page: Any, *keys: str) -> None:
    """Keys one after another, and waits until another question is there."""
    before = question(page)
    for key in keys:
        page.keyboard.press(key)
    until(page, "before => document.body.dataset.question !== before", before)


def test_votes_by_keyboard(tab: Tab, served: tuple[Served, dict[str, Client]]) -> None:
    made, clients = served
    page = open_page(tab, clients["vote"])
    page.keyboard.press("Enter")  # nothing is chosen
    until(page, "document.getElementById('message').textContent.includes('at least one')")
    assert len(tab.problems) == 1
    assert "422" in tab.problems.pop()
    assert not read_annotations(made.log("vote"))
    press(page, "1", "3", "Enter")
    press(page, "1", "2", "1", "Enter")  # text is taken back
    assert page.locator("#progress").evaluate("bar => bar.value / bar.max") == pytest.approx(2 / 3)
    press(page, "u")
    pressed = page.locator("#choices [aria-pressed=true]").evaluate_all(
        "all => all.map(b => b.dataset.value)"
    )
    assert pressed == ["image"]
    press(page, "4", "Enter")
    press(page, "2", "Enter")
    assert page.locator("#finished").is_visible()
    assert [a.vote for a in latest_answers(read_annotations(made.log("vote")))] == ["ta", "iv", "i"]
    page.reload()
    page.wait_for_selector("#finished")  # what is answered is not asked again


def test_preferences_by_mouse(tab: Tab, served: tuple[Served, dict[str, Client]]) -> None:
    made, clients = served
    page = open_page(tab, clients["preference"])
    for _ in range(3):
        before = question(page)
        first = page.locator("[data-side=first] .text").inner_text()
        better = "first" if first.startswith("well") else "second"
        page.click(f"#choices [data-value={better}]")
        assert "chosen" in page.locator(f"[data-side={better}]").get_attribute("class")
        page.click("#next")
        until(page, "before => document.body.dataset.question !== before", before)
    assert [a.preferred for a in read_annotations(made.log("preference"))] == ["a"] * 3


def test_grades_and_critiques(tab: Tab, served: tuple[Served, dict[str, Client]]) -> None:
    made, clients = served
    page = open_page(tab, clients["grade"])
    for i in range(3):
        if page.locator("img").count():
            until(page, "document.querySelector('img').naturalWidth > 0")
            until(page, "document.querySelector('audio').duration > 0")
        page.keyboard.press("c")
        page.keyboard.type(f"u s 1: say more {i}")  # letters that are keys elsewhere
        page.keyboard.press("Enter")  # a new line
        page.keyboard.press("Escape")
        press(page, str(i + 2), "Enter")
    found = read_annotations(made.log("grade"))
    assert [(a.grade, a.critique) for a in found] == [(i + 2, f"u s 1: say more {i}") for i in range(3)]
    own = f"http://127.0.0.1:{clients['grade'].port}/{clients['grade'].token}/"
    assert all(url.startswith(own) for url in tab.requested)


def test_a_server_that_is_gone(tab: Tab, served: tuple[Served, dict[str, Client]]) -> None:
    _, clients = served
    page = open_page(tab, clients["attack"])
    page.context.set_offline(True)
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('message').textContent.includes('does not answer')")
    page.context.set_offline(False)
    tab.problems = [p for p in tab.problems if "INTERNET_DISCONNECTED" not in p]
    press(page, "Enter")  # the choice is still there


def test_attacks_are_text(tab: Tab, served: tuple[Served, dict[str, Client]]) -> None:
    """Every string that a model, a task or an annotator can write is shown as it is."""
    made, clients = served
    page = open_page(tab, clients["attack"])
    for _ in range(len(STRINGS)):
        if page.locator("#finished").count():
            break
        said = page.locator(".answered .text").evaluate_all("all => all.map(p => p.textContent)")
        assert said == STRINGS
        page.evaluate("text => { document.getElementById('critique').value = text }", STRINGS[0])
        press(page, "3", "Enter")
    assert page.locator("#finished").is_visible()
    assert page.evaluate("window.RAN") is None
    assert not [url for url in tab.requested if "attacker" in url]
    found = latest_answers(read_annotations(made.log("attack")))
    assert {a.critique for a in found} == {STRINGS[0], ""}
    assert {a.annotator for a in found} == {STRINGS[3]}
