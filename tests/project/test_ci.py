"""The workflows of docs/ci.md: their steps run, against a server that stands for GitLab's."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest
import yaml

from tests.support.helpers import answers, make_task, text_sample, write_jsonl
from tests.support.loopback import LoopbackServer, QuietHandler, running
from tests.support.missing import missing
from tests.support.pages import File, steps
from tests.support.paths import ROOT
from tests.support.quick_command import quick_command

IDS = [f"s{i:02}" for i in range(60)]


def workflow(name: str) -> dict[str, Any]:
    [content] = [
        step.content
        for step in steps(ROOT / "docs" / "ci.md")
        if isinstance(step, File) and step.path.endswith(name)
    ]
    document: dict[str, Any] = yaml.safe_load(content)
    return document


class GitLab(LoopbackServer):
    """Serves the artifacts of the job `baseline`, and takes comments of a merge request."""

    archive: bytes = b""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.comments: list[str] = []
        self.asked: list[str] = []


class _Handler(QuietHandler):
    server: GitLab

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(200 if self.headers["JOB-TOKEN"] == "job" else 401)
        self.end_headers()
        self.wfile.write(self.server.archive)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.comments += parse_qs(body)["body"]
        self.send_response(201 if self.headers["PRIVATE-TOKEN"] == "secret" else 401)
        self.end_headers()


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a job's shell; two answers of `worse.jsonl` are of no use."""
    make_task(tmp_path, "mine/demo", [text_sample(i) for i in IDS])
    write_jsonl(tmp_path / "good.jsonl", answers(IDS))
    write_jsonl(
        tmp_path / "worse.jsonl", [*answers(IDS[:30]), *({**r, "parts": []} for r in answers(IDS[30:]))]
    )
    (tmp_path / "quick").mkdir()
    with quick_command(tmp_path / "quick") as environment:
        yield {**environment, "TASKS": "mine/demo", "OPTIONS": "--include mine --max-failed 1"}


def shell(lines: list[str], folder: Path, environment: Mapping[str, str]) -> int:
    """The exit code of a job's lines, which ends at the first that fails."""
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", "\n".join(lines)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, done.stderr)
    return done.returncode


@pytest.mark.slow
def test_the_workflow_for_gitlab_blocks_comments_and_reports(
    tmp_path: Path, commands: dict[str, str]
) -> None:
    if shutil.which("curl") is None:
        missing("curl is not installed")
    jobs = workflow(".gitlab-ci.yml")
    (tmp_path / "policy.yaml").write_text("version: 1\n")
    assert shell(jobs["baseline"]["script"], tmp_path, {**commands, "MODEL": "replay/good.jsonl"}) == 0
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for path in (tmp_path / "runs" / "baseline").rglob("*"):
            file.write(path, path.relative_to(tmp_path))
    assert jobs["baseline"]["artifacts"]["paths"] == ["runs/baseline"]
    shutil.rmtree(tmp_path / "runs")
    with running(GitLab()) as server:
        server.archive = archive.getvalue()
        environment = {
            **commands,
            "MODEL": "replay/worse.jsonl",
            "CI_JOB_TOKEN": "job",
            "CI_API_V4_URL": f"http://127.0.0.1:{server.server_port}/api/v4",
            "CI_PROJECT_ID": "7",
            "CI_DEFAULT_BRANCH": "main",
            "CI_MERGE_REQUEST_IID": "3",
        }
        assert shell(jobs["gate"]["script"], tmp_path, environment) == 1
        assert server.asked == ["/api/v4/projects/7/jobs/artifacts/main/download?job=baseline"]
        assert shell(jobs["gate"]["after_script"], tmp_path, environment) == 0
        assert server.comments == [], "without a token there is no comment"
        assert (
            shell(jobs["gate"]["after_script"], tmp_path, {**environment, "GATE_TOKEN": "secret"}) == 0
        )
    [comment] = server.comments
    assert "eval-anything gate: BLOCK" in comment
    report = tmp_path / jobs["gate"]["artifacts"]["reports"]["junit"]
    cases = ElementTree.parse(report).getroot().iter("testcase")
    assert {case.get("name"): len(case) for case in cases}["mine/demo:selection"] == 1
    assert jobs["gate"]["allow_failure"] == {"exit_codes": [2]}


@pytest.mark.slow
def test_the_workflow_for_github_uses_what_the_action_has(
    tmp_path: Path, commands: dict[str, str]
) -> None:
    jobs = workflow("gate.yml")["jobs"]
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    [step] = [s for s in jobs["gate"]["steps"] if s.get("id") == "gate"]
    required = {name for name, about in action["inputs"].items() if about.get("required")}
    assert required <= set(step["with"]) <= set(action["inputs"])
    uploads = {
        s["with"]["name"]: s["with"]["path"]
        for job in jobs.values()
        for s in job["steps"]
        if "upload-artifact" in s.get("uses", "")
    }
    assert uploads == {"baseline": "runs/baseline", "candidate": step["with"]["out"]}
    [evaluate] = [s["run"] for s in jobs["baseline"]["steps"] if s.get("name") == "Evaluate"]
    environment = {**commands, "MODEL": "replay/good.jsonl"}
    assert shell([f"{evaluate} {commands['OPTIONS']}"], tmp_path, environment) == 0
    assert json.loads((tmp_path / uploads["baseline"] / "run.json").read_text())["status"] == "done"


@pytest.mark.parametrize(
    ("extras", "index", "words"),
    [
        ("", "", ["install --quiet /action"]),
        ("hf,openai", "", ["install --quiet /action[hf,openai]"]),
        ("", "https://i/cpu", ["install --quiet --extra-index-url https://i/cpu /action"]),
    ],
)
def test_the_action_installs_extras_and_a_build_of_torch(
    tmp_path: Path, extras: str, index: str, words: list[str]
) -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    step = action["runs"]["steps"][0]
    assert set(step["env"]) == {"ACTION", "EXTRAS", "TORCH_INDEX"}
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\nshift 2\necho "$@" >> "$LOG"\n')
    program.chmod(0o755)
    log = tmp_path / "log"
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "LOG": str(log),
        "ACTION": "/action",
        "EXTRAS": extras,
        "TORCH_INDEX": index,
    }
    assert shell([step["run"]], tmp_path, environment) == 0
    assert log.read_text().splitlines() == words
