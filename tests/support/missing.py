"""Skips of tests for what a machine may lack; in CI they fail."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skips the test for what is missing on this machine; in CI nothing may be."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
