"""Every command in README.md and docs/ runs, in the order of its page."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from eval_anything.micro.model.adapter import BUNDLED
from tests.benchmarks.rebuild import FIGURES
from tests.support.helpers import answers, write_jsonl
from tests.support.pages import File, commands, steps
from tests.support.paths import ROOT
from tests.support.quick_command import quick_command
from tests.support.tiny import tiny_llama

PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("judges/*.md")])


def test_pages_have_commands() -> None:
    assert len([command for page in PAGES for command in commands(page)]) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_make_commands_of_the_docs_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for page in PAGES:
        for command in commands(page):
            if command.startswith("make "):
                assert command.split()[1] in targets


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda page: page.name)
def test_commands_run(page: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """`make` is tested elsewhere (make test is what runs this); all else must exit 0."""
    checkpoint = tiny_llama(tmp_path / "path" / "to" / "checkpoint")
    # A model that knows nothing writes until it may not: every third token ends its answer.
    ends = {"eos_token_id": list(range(3, 400, 3)), "bos_token_id": 1}
    (checkpoint / "generation_config.json").write_text(json.dumps(ends))
    samples = (ROOT / "benchmarks/open/selection/samples.jsonl").read_text().splitlines()
    write_jsonl(tmp_path / "answers.jsonl", answers([json.loads(line)["id"] for line in samples]))
    printed = ""
    with quick_command(tmp_path_factory.mktemp("quick")) as environment:
        for step in steps(page):
            if isinstance(step, File):
                (tmp_path / step.path).write_text(step.content, "utf-8")
            elif not step.startswith("make "):
                done = subprocess.run(
                    step, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
                )
                assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
                printed += done.stdout + done.stderr
    if page.name == "first_hour.md":
        blocks = re.findall(r"^```text\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        assert len(blocks) == 2
        assert [line for line in "".join(blocks).splitlines() if line not in printed] == []


def test_the_figures_of_micro_in_the_docs_are_the_committed_ones() -> None:
    figures = json.loads((BUNDLED / FIGURES).read_bytes())
    rows = re.findall(
        r"^\| `([\w/:]+)` \| ([\d.]+) \| ([\d.]+) .. ([\d.]+) \|",
        (ROOT / "docs/micro.md").read_text("utf-8"),
        re.MULTILINE,
    )
    assert len(rows) >= 7
    for name, *shown in rows:
        figure = figures[name]
        assert shown == [f"{value:.3f}" for value in (figure["value"], *figure["ci95"])], name
