"""A page of a real Chromium, and where that is."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from tests.support.missing import missing

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """The path of a Chromium; without one the test is skipped, and fails in CI."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        missing("no Chromium is installed: apt-get install chromium (make test does it, as root)")
    return path


def until(page: Any, expression: str, argument: Any = None, seconds: float = 15) -> None:
    """Waits until an expression is true. (Playwright's own way is eval, which the site forbids.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(expression, argument):
        assert time.monotonic() < end, f"not true within {seconds} s: {expression}"
        page.wait_for_timeout(30)


class Tab:
    """A page with all that went wrong on it, and helpers. `problems` must be empty when it closes."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}} | options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.problems: list[str] = []
        self.requested: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("console", self._said)
        self.page.on("requestfailed", self._failed)
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console: {message.text}")

    def _failed(self, request: Any) -> None:
        # A medium that is left before it is loaded is no failure.
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"request: {request.url} {request.failure}")

    def open(self, where: Path | str, view: str = "") -> Any:
        """Goes to a site (folder, file or address) and waits until its page is drawn."""
        if isinstance(where, Path):
            where = (where if where.is_file() else where / "index.html").as_uri()
        self.page.goto(where + view)
        until(self.page, "document.querySelector('#main > :not(noscript)') !== null")
        return self.page

    def go(self, view: str, wait: str) -> None:
        """To another view of the open site; waits for a selector."""
        self.page.evaluate("view => { location.hash = view }", view)
        self.page.wait_for_selector(wait)

    def ids(self) -> dict[str, str]:
        """Ids of the runs by the names of their models."""
        found: dict[str, str] = self.page.evaluate(
            "Object.fromEntries(EA.board().rows.map((row) => [row.name, row.id]))"
        )
        return found
