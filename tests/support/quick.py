"""`pytest --quick` leaves out tests that took more than `SLOW` seconds: those of tests/slower.txt.

    python -m tests.support.quick REPORT.xml     writes that list from a report of all tests (--junitxml)

Tests that are long by nature are marked `slow`; this list has those that a machine found to be.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SLOW = 0.3
LIST = ROOT / "tests" / "slower.txt"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help=f"leave out what takes more than {SLOW} s")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--quick"):
        slower = set(LIST.read_text("utf-8").splitlines())
        left_out = [item for item in items if item.nodeid in slower or item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def slower_tests(report: Path) -> list[str]:
    """Ids of the tests of a report that took too long, sorted."""
    cases = ElementTree.parse(report).getroot().iter("testcase")
    return sorted(
        f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        for case in cases
        if float(case.get("time", 0)) > SLOW
    )


if __name__ == "__main__":
    LIST.write_text("".join(f"{test}\n" for test in slower_tests(Path(sys.argv[1]))), "utf-8")
