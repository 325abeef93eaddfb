"""stdout belongs to the command: what other code prints, also a child process of it, goes to stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.helpers import TASK_YAML, Cli, answers, make_task, text_sample, write_jsonl

SCORER = """\
import os, subprocess, sys

print("while it is imported")

def score(sample, response):
    print("loud", sample.id)
    sys.stdout.write("written\\n")
    sys.stdout.flush()
    os.write(1, b"by number\\n")
    subprocess.run(["echo", "from a child"])
    return {"selection": 1.0}

def controls(scored):
    print("controls")
    return [{} for _ in scored]
"""

RUN = [
    *("run", "--model", "rows.jsonl", "--tasks", "mine/own", "--include", "mine", "--allow-code"),
    *("--out", "run"),
]


@pytest.fixture
def loud(tmp_path: Path) -> Path:
    """A task whose code prints, in every way."""
    metric = "{range: [0, 1], description: own}"
    yaml = TASK_YAML.replace(
        "judges: [selection_contract]",
        f"scorer: score.py:score\ncontrols: score.py:controls\nmetrics: {{selection: {metric}}}",
    )
    samples = [text_sample(f"s{i}") for i in range(3)]
    folder = make_task(tmp_path, "mine/own", samples, yaml, score__py=SCORER)
    write_jsonl(tmp_path / "rows.jsonl", answers(["s0", "s1", "s2"]))
    return folder


def process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "eval_anything", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_what_scoring_code_prints_is_not_on_stdout(loud: Path, tmp_path: Path) -> None:
    done = process(tmp_path, *RUN, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tasks"]["mine/own"]["metrics"]["selection"]["value"] == 1.0
    # Samples are scored in threads, whose lines may be mixed.
    for words in ("while it is imported", "loud", "written", "by number", "from a child", "controls"):
        assert words in done.stderr, words
    shown = process(tmp_path, *RUN)
    assert shown.stdout.startswith("task ")
    assert "controls" not in shown.stdout


@pytest.mark.parametrize(
    "arguments",
    [("tasks", "validate", "mine/own", "--json"), ("tasks", "list", "--include", "mine", "--json")],
    ids=lambda arguments: arguments[1],
)
def test_other_commands_write_one_document_too(
    cli: Cli, loud: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    assert cli(*arguments).json


def test_prints_in_this_process_are_kept_apart(cli: Cli, loud: Path, tmp_path: Path) -> None:
    done = cli(*RUN, "--json")
    assert done.json["tasks"]["mine/own"]["samples"] == 3
    assert "loud s0" in done.err
    print("again")  # stdout is what it was


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m eval_anything tasks list --json | head -c 10"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
