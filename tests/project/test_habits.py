"""Files that contributors and their tools read: they parse, and agree with the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.support.paths import ROOT


def test_workflows_run_commands_of_the_makefile() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    workflows = sorted((ROOT / ".github/workflows").glob("*.yml"))
    assert len(workflows) >= 2
    for path in workflows:
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            commands = [step["run"] for step in job["steps"] if "run" in step]
            assert commands
            for command in commands:
                assert command.split()[:1] == ["make"]
                assert command.split()[1] in targets


def test_pre_commit_has_the_versions_of_make_lint() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    versions = {entry["repo"].rpartition("/")[2]: entry.get("rev") for entry in repositories}
    (ruff,) = re.findall(r"^ruff==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    (biome,) = re.findall(r"biome@([\d.]+) --", (ROOT / "Makefile").read_text())
    assert versions["ruff-pre-commit"] == f"v{ruff}"
    hooks = next(entry["hooks"] for entry in repositories if "biome" in entry["repo"])
    assert hooks[0]["additional_dependencies"] == [f"@biomejs/biome@{biome}"]


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda p: p.stem
)
def test_forms_have_what_github_asks_for(form: Path) -> None:
    content = yaml.safe_load(form.read_text())
    assert content["name"]
    assert content["description"]
    assert all(field["attributes"]["label"] for field in content["body"])


def test_the_citation_names_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["license"] == "Apache-2.0"
    assert citation["references"][0]["identifiers"][0]["value"] == "arXiv:2412.15838"


def test_rooms_named_for_contributors_are_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    table = page.split("\n| I want to ")[1].split("\n\n")[0]
    paths = re.findall(r"`([a-z_]+/[\w/.]*)`", table)
    assert len(paths) >= 20
    for path in paths:
        assert (ROOT / path).exists() or (ROOT / "eval_anything" / path).exists(), path


def test_both_packages_say_that_they_are_typed() -> None:
    for package in ("eval_anything", "align_plugins"):
        assert (ROOT / package / "py.typed").is_file()
