"""Processors that need torchvision: a clear message without it, the right answers with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.helpers import Cli
from tests.support.inner import environment, inner
from tests.support.lanes import only_in


@pytest.mark.families
@pytest.mark.slow
@only_in("families")
def test_qwen2_5_vl(torchvision: Path) -> None:
    done = inner(Path(__file__).with_name("qwen2_5_vl.py"), torchvision=torchvision)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout


@pytest.mark.slow
def test_a_missing_or_broken_torchvision_is_said(cli: Cli, torchvision: Path, tmp_path: Path) -> None:
    """The checkpoint is made where torchvision works; here it is missing, then of another build."""
    made = (
        "import sys, pathlib; from tests.support.tiny_media import tiny_qwen2_5_vl; "
        "tiny_qwen2_5_vl(pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", made, str(tmp_path / "qwen")]
    subprocess.run(command, env=environment(torchvision), check=True, capture_output=True)
    run = ["run", "--model", "qwen", "--tasks", "open/selection", "--first", "1"]
    missing = cli(*run)
    assert missing.code == 2
    assert "the processor of qwen needs torchvision" in missing.err
    if torch.version.cuda is None:  # else the wheel fits, and nothing is broken
        broken = subprocess.run(
            [sys.executable, "-m", "eval_anything", *run],
            env={**os.environ, "PYTHONPATH": str(torchvision)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert broken.returncode == 2, broken.stderr
        assert "the processor of qwen needs torchvision" in broken.stderr
