"""Tests that run in a process of their own, where torchvision can be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def inner(*arguments: str | Path, path: Path) -> subprocess.CompletedProcess[str]:
    """A pytest of its own, in which torchvision comes from `path`."""
    lookup = os.pathsep.join(map(str, (path, HERE, HERE.parent)))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": lookup},
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
    )
