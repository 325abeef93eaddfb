"""Fixtures of the tests with checkpoints of transformers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def torchvision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the torchvision of this torch, which the environment of the tests is without: a
    build for another torch breaks every processor of transformers."""
    folder = tmp_path_factory.mktemp("torchvision")
    minor = int(torch.__version__.split(".")[1])
    release = f"torchvision==0.{minor + 15}.*"  # torch 2.0 came with torchvision 0.15
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*pip, release], capture_output=True, text=True)
    if done.returncode != 0:
        assert "CI" not in os.environ, f"in CI torchvision can be installed: {done.stderr}"
        pytest.skip(f"{release} cannot be installed here")
    return folder
