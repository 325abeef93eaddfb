"""Tests that run in a process of their own, where torchvision can be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_TESTS = Path(__file__).resolve().parent


def environment(torchvision: Path) -> dict[str, str]:
    """For processes in which torchvision comes from this folder, and works."""
    lookup = (torchvision, _TESTS / "torchvision_ops", _TESTS / "hf", _TESTS)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, lookup))}


def inner(*arguments: str | Path, torchvision: Path) -> subprocess.CompletedProcess[str]:
    """A pytest of its own in such a process."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, arguments)],
        env=environment(torchvision),
        cwd=_TESTS.parent,
        capture_output=True,
        text=True,
    )
