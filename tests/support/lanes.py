"""Long lanes, which stand apart: `make chaos`, say. `make test` runs a sample of each.

A test of a lane carries its marker and asks `full` how much of it to do.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

_CHOSEN = os.environ.get("EVAL_ANYTHING_LANE", "")


def only_in(lane: str) -> Any:
    """Marks a test that is run in its lane alone: others are the lane's sample."""
    return pytest.mark.skipif(not full(lane), reason=f"make {lane}")


def full(lane: str) -> bool:
    """Whether all of a lane is to be run, in place of a sample."""
    return lane == _CHOSEN
