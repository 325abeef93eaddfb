"""`eval-anything annotate` as a command: its process, its files, its summary, wrong use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eval_anything.annotate.log import read_annotations
from tests.support.annotating import Client, annotated_task, saved_answers, serving
from tests.support.helpers import Cli, make_task, text_sample


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return annotated_task(tmp_path / "tasks")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "labels" / "mine.jsonl"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return saved_answers(tmp_path / "good", "good", "well 9 done")


def start(*arguments: str | Path, before: str = "") -> tuple[subprocess.Popen[str], Client]:
    """The command in a process of its own, once its page is there; `before` is for the shell."""
    command = [sys.executable, "-m", "eval_anything", "annotate", *map(str, arguments)]
    if before:
        command = ["bash", "-c", f'{before}; exec "$@"', "bash", *command]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.strip().startswith("http://"):
            return process, Client(line.strip())
    raise AssertionError("".join(said))


def test_a_killed_server_keeps_what_was_submitted(task: Path, log: Path, cli: Cli) -> None:
    arguments = ("mine/demo", "--include", task, "--out", log, "--annotator", "ann", "--json")
    process, client = start(*arguments)
    try:
        assert client.submit(vote=["text"]).json["done"] == 1
        second = cli("annotate", *arguments)
        assert second.code == 2
        assert "in use by another process" in second.err
    finally:
        process.kill()
        process.communicate(timeout=60)
    with log.open("ab") as file:
        file.write(b'{"kind":"vote","torn')
    process, client = start(*arguments)
    try:
        assert client.state()["done"] == 1
        assert client.submit(vote=["image"]).json["done"] == 2
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    found = json.loads(out)
    assert (found["file"], found["done"], found["total"]) == (str(log), 2, 3)
    assert list(found["exports"]) == ["votes"]
    assert len(read_annotations(log)) == 2


def test_a_full_disk_is_said_on_the_page(tmp_path: Path, log: Path) -> None:
    """A limit of 1 KiB a file stands for the disk: the second answer does not fit."""
    task = make_task(tmp_path / "t", samples=[text_sample(f"s{i}", "x" * 300) for i in range(3)])
    process, client = start(
        *("mine/demo", "--include", task, "--out", log, "--annotator", "ann"),
        before="export PYTHONDONTWRITEBYTECODE=1; ulimit -f 1",
    )
    try:
        assert client.submit(vote=["text"]).status == 200
        whole = log.read_bytes()
        refused = client.submit(vote=["image"])
        assert refused.status == 500
        assert "cannot write" in refused.json["error"]
        assert log.read_bytes() == whole
        assert client.state()["done"] == 1
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_summary(task: Path, log: Path, good: Path, cli: Cli) -> None:
    grades = {"ann": {"s0": 1, "s1": 3, "s2": 5}, "bo": {"s0": 1, "s1": 3, "s2": 4}, "cy": {"s0": 2}}
    for name, own in grades.items():
        with serving(task, log, [good], annotator=name) as client:
            for _ in own:
                while (question := client.state()["question"])["sample"] not in own:
                    client.ask("skip", {"key": question["key"]})
                client.submit(grade=own[question["sample"]])
    found = cli("annotate", "--summary", log, "--json").json["kinds"]["grade"]
    assert found["answers_per_question"] == {"2": 2, "3": 1}
    assert found["annotators"] == {"ann": 3, "bo": 3, "cy": 1}
    # The definition of Krippendorff (2011), pair by pair.
    values = [[1, 1, 2], [3, 3], [5, 4]]
    flat = [v for item in values for v in item]
    observed = sum(sum((x - y) ** 2 for x in v for y in v) / (len(v) - 1) for v in values) / 7
    expected = sum((x - y) ** 2 for x in flat for y in flat) / (7 * 6)
    assert found["alpha"]["value"] == pytest.approx(1 - observed / expected)
    text = cli("annotate", "--summary", log).out
    assert "Krippendorff's alpha, interval" in text
    assert f"{1 - observed / expected:.3f}" in text


def test_wrong_use(cli: Cli, task: Path, log: Path, good: Path, tmp_path: Path) -> None:
    demo = ("annotate", "mine/demo", "--include", task)
    (tmp_path / "other.jsonl").write_text("not ours\n")
    (tmp_path / "folder.jsonl").mkdir()
    with serving(task, log, [good], scale=7) as client:
        client.submit(grade=7)
    for arguments, message in (
        (("annotate",), "name a TASK"),
        (("annotate", "amu"), "suite"),
        (("annotate", "selektion"), "Did you mean"),
        ((*demo, "--against", good), "--outputs"),
        ((*demo, "--out", "x.labels.jsonl"), "X.labels.jsonl"),
        ((*demo, "--out", "other.jsonl"), "no annotation"),
        ((*demo, "--out", "folder.jsonl"), "directory"),
        ((*demo, "--outputs", "gone.jsonl"), "--outputs gone.jsonl: there is no such"),
        ((*demo, "--outputs", good, "--against", "gone.jsonl"), "--against gone.jsonl"),
        ((*demo, "--outputs", good, "--out", log), "use --scale 7"),
        ((*demo, "--annotator", " "), "--annotator"),
        ((*demo, "--port", "99999"), "--port 99999"),
        (("annotate", "--summary", "gone.jsonl"), "No such file"),
        (("annotate", "mine/demo", "--export", log), "leave TASK out"),
    ):
        refused = cli(*arguments)
        assert refused.code == 2, (arguments, refused)
        assert message in refused.err, (arguments, refused.err)
    assert (tmp_path / "other.jsonl").read_text() == "not ours\n"
