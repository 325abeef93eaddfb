"""Omni models, whose processors need torchvision: their tests run in a process where that imports."""

from __future__ import annotations

from pathlib import Path

import pytest
from inner import HERE, inner


@pytest.mark.slow
def test_qwen_omni(torchvision: Path) -> None:
    done = inner("-p", "torchvision_ops", HERE / "qwen_omni.py", path=torchvision)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "25 passed" in done.stdout
