"""Where the bundled content is: inside an installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from eval_anything.errors import UserError

_PACKAGE = Path(__file__).resolve().parent


def content_folder(kind: Literal["benchmarks", "judges", "leaderboard"]) -> Path:
    """The folder of bundled benchmarks, judges or leaderboard templates."""
    for root in (_PACKAGE / "_content", _PACKAGE.parent):
        if (root / kind).is_dir():
            return root / kind
    raise UserError(f"the bundled folder {kind}/ is missing: install eval-anything again")
