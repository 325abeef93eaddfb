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
    """`assert_gate`."""
    return assert_gate


def assert_gate(
    candidate: str | Path,
    policy: str | Path,
    baseline: str | Path | None = None,
    allow: Collection[str] = ("PASS", "WARN"),
) -> GateResult:
    """The gate on run directories: the result, if its verdict is one of `allow`; else the test fails."""
    from eval_anything.gating.gate import gate
    from eval_anything.gating.report import text

    result = gate(candidate, policy, baseline)
    if result.verdict not in allow:
        pytest.fail(text(result), pytrace=False)
    return result
