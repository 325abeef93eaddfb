"""Qwen2.5-VL, whose processor needs torchvision: run by test_lora_families.py where that imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from align_plugins.policies import policy_of
from tests.align_plugins.methods.test_lora_families import METHODS
from tests.support.families import FAMILIES, check_logprobs, check_lora_step
from tests.support.helpers import Cli

pytestmark = pytest.mark.usefixtures("forked_evaluations")

_IMAGES, _CLIPS = "qwen2_5_vl", "qwen2_5_vl_clips"


@pytest.mark.parametrize("name", [_IMAGES, _CLIPS])
def test_taking_the_medium_away_changes_the_log_probability(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    policy = policy_of(str(family.make(tmp_path / "model")))
    policy.load()
    check_logprobs(family, policy, tmp_path)


@pytest.mark.parametrize("method", METHODS)
def test_a_step_of_lora(method: str, cli: Cli, tmp_path: Path) -> None:
    check_lora_step(FAMILIES[_IMAGES], method, cli, tmp_path)
