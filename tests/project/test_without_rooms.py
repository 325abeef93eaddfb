"""Rooms that are plugins can be taken out: the engine lists tasks, and scores one of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.helpers import answers, make_task, text_sample, write_jsonl
from tests.support.paths import ROOT


def engine_without(room: str, folder: Path) -> Path:
    """A copy of the package that lacks a room, beside the bundled content."""
    ignored = shutil.ignore_patterns("__pycache__", "checkpoint")
    shutil.copytree(ROOT / "eval_anything", folder / "eval_anything", ignore=ignored)
    shutil.rmtree(folder / "eval_anything" / room)
    for content in ("benchmarks", "judges", "leaderboard"):
        (folder / content).symlink_to(ROOT / content)
    return folder


@pytest.mark.parametrize("room", ["micro", "lm_eval", "leaderboard", "annotate", "gating"])
def test_the_engine_works_without_a_room(tmp_path: Path, room: str) -> None:
    engine = engine_without(room, tmp_path / "engine")
    path = os.pathsep.join([str(engine), *filter(None, [os.environ.get("PYTHONPATH")])])

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "eval_anything", *arguments],
            cwd=engine,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
        )

    listed = run("tasks", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    assert "open/selection" in [row["name"] for row in json.loads(listed.stdout)]
    make_task(tmp_path, samples=[text_sample(f"s{i}") for i in range(3)])
    saved = write_jsonl(tmp_path / "saved.jsonl", answers([f"s{i}" for i in range(3)]))
    own = ["--tasks", "mine/demo", "--include", str(tmp_path / "mine")]
    done = run("score", "--outputs", str(saved), *own, "--json", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tasks"]["mine/demo"]["metrics"]["selection"]["value"] == 1
    assert (tmp_path / "run" / "report.html").is_file()
    missing = {"micro": ["--model", "micro"], "lm_eval": ["--model", str(saved), "--tasks", "lm_eval/x"]}
    if room in missing:
        named = run("run", *own, *missing[room])
        assert named.returncode == 2
        assert f"{room!r} (eval_anything.{room}." in named.stderr
        assert "does not import" in named.stderr
