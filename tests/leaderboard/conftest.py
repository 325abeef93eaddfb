"""A site of real runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from eval_anything.leaderboard.build import build
from tests.support.site_runs import edit_records, edit_results, edit_run, family


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Runs of real models: see `family`. Not to be changed."""
    return family(tmp_path_factory.mktemp("runs"), limit=10)


@pytest.fixture(scope="session")
def varied(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same, and a run with failures, unscored samples, an invalid metric, money and seconds."""
    copy = tmp_path_factory.mktemp("varied") / "flaky"
    shutil.copytree(runs[1], copy)

    def spoil(record: dict[str, Any], i: int) -> None:
        record["latency"] = {"total": 0.5 + i / 10, "first_token": 0.1}
        if i % 4 == 0:
            record["error"] = {"kind": "empty_output", "message": "it said nothing"}
            record["parts"] = []
            for score in record["scores"].values():
                score["value"] = score["range"][0]
        if i % 5 == 1:
            for score in record["scores"].values():
                score["value"] = None

    def spend(results: dict[str, Any]) -> None:
        results["cost"] |= {"money": 1.5}
        results["aggregates"]["amu/AMU"] = {  # a column of the published table
            "value": 5.0, "stderr": 0.1, "ci95": [4.8, 5.2], "formula": "mean",
            "inputs": {"synergy": "micro/synergy:synergy"},
        }  # fmt: skip
        for result in results["tasks"].values():
            result["metrics"][result["primary"]] |= {"failed": 3}
        results["tasks"]["micro/selection"]["metrics"]["log_score"] |= {
            "value": None, "stderr": None, "ci95": None, "invalid": "3 of 10 samples are unscored",
        }  # fmt: skip

    for task in (
        "micro/synergy",
        "micro/selection",
        "micro/instruction_following",
        "micro/understanding",
    ):
        edit_records(copy, task, spoil)
    edit_results(copy, spend)
    edit_run(copy, model="flaky", spec="openai/flaky")
    return [*runs, copy]


@pytest.fixture(scope="session")
def site(varied: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of `varied`."""
    out = tmp_path_factory.mktemp("site") / "site"
    build(varied, out)
    return out


@pytest.fixture(scope="module")
def browser(site: Path, browser: Any) -> Any:
    """The browser, opened when all sites that it shows are made."""
    return browser
