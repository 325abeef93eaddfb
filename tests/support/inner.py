"""Tests that run in a process of their own, where torchvision can be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT


def environment(torchvision: Path) -> dict[str, str]:
    """For processes in which torchvision comes from this folder, and works."""
    lookup = (torchvision, Path(__file__).with_name("torchvision_ops"), ROOT)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, lookup))}


def inner(*arguments: str | Path, torchvision: Path) -> subprocess.CompletedProcess[str]:
    """A pytest of its own in such a process."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, arguments)],
        env=environment(torchvision),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
