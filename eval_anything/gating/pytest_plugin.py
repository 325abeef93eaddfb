"""A pytest fixture for training repositories: `eval_gate(candidate, policy)` asserts no regression."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from eval_anything.gating.gate import GateResult


class EvalGate(Protocol):
    """Fails the test unless the verdict is one of `allow`; returns the result."""

    def __call__(
        self,
        candidate: str | Path,
        policy: str | Path,
        baseline: str | Path | None = None,
        allow: Collection[str] = ("PASS", "WARN"),
    ) -> GateResult: ...


@pytest.fixture
def eval_gate() -> EvalGate:
    """The gate on run directories, as an assertion."""

    def check(
        candidate: str | Path,
        policy: str | Path,
        baseline: str | Path | None = None,
        allow: Collection[str] = ("PASS", "WARN"),
    ) -> GateResult:
        from eval_anything.gating.gate import gate
        from eval_anything.gating.report import text

        result = gate(candidate, policy, baseline)
        if result.verdict not in allow:
            pytest.fail(text(result), pytrace=False)
        return result

    return check
