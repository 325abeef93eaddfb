"""Data of the micro world for training, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from align_plugins.experiment.micro_data import (
    DEMONSTRATIONS,
    PAIRS,
    demonstrations,
    pairs,
    write_demonstrations,
    write_pairs,
)


@pytest.fixture(scope="session")
def micro_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 48 preference pairs and 48 demonstrations; not to be changed."""
    folder = tmp_path_factory.mktemp("micro-data")
    write_pairs(folder / PAIRS, pairs(48, 1))
    write_demonstrations(folder / DEMONSTRATIONS, demonstrations(48, 1))
    return folder
