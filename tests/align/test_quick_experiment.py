"""The claim in small: preference pairs make micro better at choosing modalities."""

from __future__ import annotations

from pathlib import Path

import pytest
from configs import config
from helpers import Cli

from align_plugins.micro_data import pairs, write_pairs

LIMIT = 400


@pytest.mark.slow
def test_dpo_beats_the_base_on_greedy_selection(cli: Cli, tmp_path: Path) -> None:
    """2,400 pairs with 27 % wrong labels, one epoch, one thread; tested by pairs of samples."""
    write_pairs(tmp_path / "pairs.jsonl", pairs(2400, 0))
    path = config(
        tmp_path,
        tmp_path / "pairs.jsonl",
        batch_size=16,
        beta=0.3,
        nll_weight=0.3,
        evaluate={"tasks": ["micro/selection"], "limit": LIMIT},
    )
    done = cli("train", "dpo", "--config", path, "--json")
    assert done.code == 0, done.err
    (change,) = done.json["compared"]
    assert change["difference"] > 0
    assert change["p_holm"] < 0.05
    assert change["ci95"][0] > 0
