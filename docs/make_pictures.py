"""Takes the pictures of README.md and docs/leaderboard.md in a real Chromium (`make pictures`).

pictures.json has a sha256 of what draws the pages; a test says when the pictures are older than that.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parent
DRAWN_BY = ("leaderboard/templates/run.*", "leaderboard/styles/*.css", "leaderboard/scripts/*.js")


def digest() -> str:
    """sha256 of the templates, styles and scripts of the pages."""
    whole = hashlib.sha256()
    for pattern in DRAWN_BY:
        for path in sorted(DOCS.parent.glob(pattern)):
            whole.update(path.read_bytes())
    return whole.hexdigest()


def main() -> None:
    """Makes runs and a site, and takes the pictures."""
    from playwright.sync_api import sync_playwright

    from eval_anything.leaderboard.build import build
    from tests.support.browsing import Tab, chromium
    from tests.support.site_runs import family

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        runs = family(Path("runs"), limit=40)  # as their commands are shown
        site = Path("site").resolve()
        about = "Answers of one small model; those of earlier steps are mixed up on purpose."
        build(runs, site, title="The micro world", about=about)
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            report = Tab(browser, viewport={"width": 1100, "height": 1500}).page
            report.goto((runs[0] / "report.html").resolve().as_uri())
            report.screenshot(path=DOCS / "report.png")
            board = Tab(browser, viewport={"width": 1280, "height": 800})
            board.open(site)
            ids = board.ids()
            board.page.screenshot(path=DOCS / "leaderboard.png")
            pair = f"#compare?a={ids['tuned-100']}&b={ids['tuned-300']}&task=micro/synergy"
            board.go(pair, ".stage-pair h2")
            board.page.wait_for_timeout(300)
            board.page.screenshot(path=DOCS / "leaderboard_compare.png")
    (DOCS / "pictures.json").write_text(json.dumps({"drawn_by": digest()}) + "\n", "utf-8")


if __name__ == "__main__":
    main()
