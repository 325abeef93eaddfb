"""The pictures of the docs are as new as what draws the pages."""

from __future__ import annotations

import json
import runpy

from tests.support.paths import ROOT

DOCS = ROOT / "docs"


def test_the_pictures_are_not_older_than_the_pages() -> None:
    now = runpy.run_path(str(DOCS / "make_pictures.py"))["digest"]()
    then = json.loads((DOCS / "pictures.json").read_text("utf-8"))["drawn_by"]
    assert now == then, "the pages have changed since their pictures were taken: make pictures"
