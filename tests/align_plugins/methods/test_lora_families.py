"""One step of LoRA of every method on models that see, hear and draw, and what was saved is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.families import FAMILIES, check_lora_step
from tests.support.helpers import Cli
from tests.support.inner import inner
from tests.support.lanes import full, only_in

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_evaluations")]

METHODS = ["sft", "dpo", "reward", "ppo"]
FAMILIES_HERE = ["qwen2_audio", "emu3", "chameleon", "janus"]
# Each family and each method once, or all of them with all.
PAIRS = [
    (family, method)
    for row, family in enumerate(FAMILIES_HERE)
    for column, method in enumerate(METHODS)
    if full("families") or (row + column) % 4 == 0
]


@pytest.mark.families
@pytest.mark.parametrize(("family", "method"), PAIRS)
def test_a_step_of_lora(family: str, method: str, cli: Cli, tmp_path: Path) -> None:
    check_lora_step(FAMILIES[family], method, cli, tmp_path)


@only_in("families")
@pytest.mark.families
def test_qwen2_5_vl(torchvision: Path) -> None:
    done = inner(Path(__file__).with_name("needs_torchvision.py"), torchvision=torchvision)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(METHODS) + 2} passed" in done.stdout
