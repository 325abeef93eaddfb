"""`--open`: shows a page in the user's browser."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path


def open_page(page: Path) -> None:
    """Opens a file in the browser of this machine; says where it is if there is none."""
    if not webbrowser.open(page.resolve().as_uri()):
        print(f"eval-anything: no browser here: open {page.resolve()}", file=sys.stderr)
