"""A pytest fixture for training repositories: `eval_gate(candidate, policy)` asserts no regression."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from eval_anything.gating.gate import GateResult


@pytest.fixture
def eval_gate() -> Callable[..., GateResult]:
    """The function `assert_gate`."""
    return assert_gate


def assert_gate(
    candidate: str | Path,
    policy: str | Path,
    baseline: str | Path | None = None,
    allow: Collection[str] = ("PASS", "WARN"),
) -> GateResult:
    """Gates run directories: fails the test unless the verdict is one of `allow`; returns the result."""
    from eval_anything.gating.gate import gate
    from eval_anything.gating.report import text

    gate_result = gate(candidate, policy, baseline)
    if gate_result.verdict not in allow:
        pytest.fail(text(gate_result), pytrace=False)
    return gate_result
