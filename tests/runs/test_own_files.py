"""Runs that others made: no name and no link in them leads to files outside of the run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from eval_anything.errors import UserError
from eval_anything.runs.directory import read_run, read_run_file
from eval_anything.runs.results_file import read_results
from tests.support.helpers import Cli
from tests.support.paths import BASELINE


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copytree(BASELINE, tmp_path / "runs" / "foreign")
    return tmp_path / "runs" / "foreign"


def rename_task(run: Path, name: str) -> None:
    """Gives the first task of a run another name, in both files."""
    file = json.loads((run / "run.json").read_bytes())
    results = json.loads((run / "results.json").read_bytes())
    old = file["tasks"][0]
    file["tasks"][0] = name
    for table in (file["fingerprints"], file["counts"], results["tasks"]):
        table[name] = table.pop(old)
    (run / "run.json").write_text(json.dumps(file))
    (run / "results.json").write_text(json.dumps(results))


@pytest.mark.parametrize(
    "name",
    ["../../private/selection", "/etc/private", "micro/../../private", "micro//x", ".", "a\\..\\b", ""],
)
def test_a_task_whose_name_is_a_way_out_is_refused(run: Path, name: str) -> None:
    rename_task(run, name)
    with pytest.raises(UserError, match=r"run\.json names the task .* outside of the run"):
        read_run_file(run)
    with pytest.raises(UserError, match=r"results\.json names the task .* outside of the run"):
        read_results(run)


def test_records_that_are_a_link_to_another_run_are_refused(run: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    shutil.copytree(BASELINE, private)
    log = run / "micro/selection/records.jsonl"
    log.unlink()
    log.symlink_to(private / "micro/selection/records.jsonl")
    with pytest.raises(UserError, match="a link that leads out of the run"):
        read_run(run, "micro/selection")
    shutil.rmtree(run / "micro/selection")
    (run / "micro/selection").symlink_to(private / "micro/selection")
    with pytest.raises(UserError, match="a link that leads out of the run"):
        read_run(run, "micro/selection")


def test_a_run_that_is_itself_a_link_is_read(run: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run)
    assert read_run(tmp_path / "link", "micro/selection") == read_run(run, "micro/selection")


@pytest.mark.parametrize("name", ["run.json", "results.json", "micro/selection/records.jsonl"])
def test_a_pipe_is_no_file_of_a_run(run: Path, name: str) -> None:
    (run / name).unlink()
    os.mkfifo(run / name)
    readers = {"run.json": read_run_file, "results.json": read_results}
    with pytest.raises(UserError, match="is no plain file"):
        readers.get(name, lambda run: read_run(run, "micro/selection"))(run)


def test_the_site_leaves_such_a_run_out_and_says_why(run: Path, tmp_path: Path, cli: Cli) -> None:
    good = tmp_path / "runs" / "good"
    shutil.copytree(run, good)
    (good / "micro/selection/records.jsonl").open("ab").close()
    private = tmp_path / "private"
    shutil.copytree(run, private)
    log = run / "micro/selection/records.jsonl"
    log.unlink()
    log.symlink_to(private / "micro/selection/records.jsonl")
    done = cli("leaderboard", "build", good, run, "--out", "site")
    assert done.code == 0, done.err
    assert "foreign" in done.out + done.err
    assert "a link that leads out of the run" in done.out + done.err
    compared = cli("compare", good, run)
    assert compared.code == 2
    assert "a link that leads out of the run" in compared.err
