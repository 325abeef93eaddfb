"""Where this user's own data lie: verdicts of judges, calibrations, prices."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """`EVAL_ANYTHING_HOME`, else ~/.local/share/eval-anything. It need not exist yet."""
    return Path(os.environ.get("EVAL_ANYTHING_HOME") or "~/.local/share/eval-anything").expanduser()
