"""Omni models, whose processors need torchvision: their tests run in a process where that imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.inner import inner
from tests.support.lanes import only_in


@only_in("families")
@pytest.mark.families
@pytest.mark.slow
def test_qwen_omni(torchvision: Path) -> None:
    done = inner(Path(__file__).with_name("qwen_omni.py"), torchvision=torchvision)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "25 passed" in done.stdout
