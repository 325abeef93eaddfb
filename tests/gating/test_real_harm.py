"""Bills of real models that were harmed on purpose in one modality: it is named, and no other one is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import eval_anything as ea
from eval_anything.content import Modality
from eval_anything.micro.model import vocabulary
from eval_anything.micro.model.adapter import BUNDLED
from tests.support.lanes import full, only_in
from tests.support.site_runs import run_cli

pytestmark = [pytest.mark.slow, pytest.mark.validity]

LIMIT = 100 if full("validity") else 60
TASKS = "micro/selection,micro/synergy"
if full("validity"):
    TASKS += ",micro/understanding,micro/instruction_following"
Rows = np.ndarray


def noise(modality: Modality) -> Callable[[Rows], None]:
    """Noise, as large as the rows, on the codes of a modality, which are read and written."""

    def add(rows: Rows) -> None:
        codes = vocabulary.code_range(modality)
        chosen = rows[codes.start : codes.stop]
        drawn = np.random.default_rng(0).normal(0, chosen.std(), chosen.shape)
        rows[codes.start : codes.stop] = chosen + drawn.astype(rows.dtype)

    return add


def lose_clips(rows: Rows) -> None:
    """Lets no clip begin: a policy in docs/experiment.md answers with a sound in its place."""
    rows[vocabulary.ids()[vocabulary.OPEN[Modality.VIDEO]]] = 0


def micro(out: Path, checkpoint: Path | None) -> Path:
    model = "micro" if checkpoint is None else f"micro/{checkpoint}"
    run_cli(
        *("run", "--model", model, "--tasks", TASKS, "--limit", str(LIMIT)),
        *("--max-failed", "1", "--out", out),
    )
    return out


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return micro(tmp_path_factory.mktemp("base") / "run", None)


@pytest.mark.parametrize(
    ("harm", "modalities"),
    [
        pytest.param(noise(Modality.AUDIO), {"audio"}, id="sounds"),
        # pictures and clips share their codes
        pytest.param(
            noise(Modality.IMAGE), {"image", "video"}, id="pictures", marks=only_in("validity")
        ),
        pytest.param(lose_clips, {"video"}, id="clips", marks=only_in("validity")),
    ],
)
def test_the_harmed_modality_is_named(
    base: Path, tmp_path: Path, harm: Callable[[Rows], None], modalities: set[str]
) -> None:
    checkpoint = shutil.copytree(BUNDLED, tmp_path / "checkpoint")
    weights = load_file(checkpoint / "model.safetensors")
    harm(weights["model.embed_tokens.weight"])
    save_file(weights, checkpoint / "model.safetensors", {"format": "pt"})
    bill = ea.bill(base, micro(tmp_path / "run", checkpoint))
    table = [(i.name, i.n, round(i.difference, 3), i.verdict, i.through) for i in bill.items]
    assert bill.harmed, table
    for name in bill.harmed:
        words = set(name.replace("->", " ").replace("+", " ").split())
        assert words & modalities, table
    assert {f"{m} {side}" for m in modalities for side in ("in", "out")} & set(bill.harmed), table
