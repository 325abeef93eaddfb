"""Kinds of judges: one file each, found by entry points, and nothing outside that knows one by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eval_anything import plugins
from eval_anything.files.places import content_folder
from eval_anything.judges.folder import JudgeFolder, find_judges
from eval_anything.judges.registry import JudgeMetrics, judge_schema, read_judge_file
from tests.support.helpers import TASK_YAML, Cli, answers, make_task, write_jsonl
from tests.support.paths import ROOT

KINDS = ["metric", "pairwise", "probe", "program", "reward_model", "rubric"]

LENGTH = """
from eval_anything.content import Score
from eval_anything.judges.kind import JudgeFile
from eval_anything.judges.scorer import Scorer


class LengthScorer(Scorer):
    kind = "length"
    judged = False

    def __init__(self, name, metrics, longest):
        self.name, self.metrics, self.longest = name, metrics, longest
        self.fingerprint = f"length {longest}"

    async def score(self, sample, response):
        return {name: Score(min(1.0, len(response.text) / self.longest)) for name in self.metrics}


class LengthFile(JudgeFile, tag=LengthScorer.kind, frozen=True, kw_only=True):
    longest: int

    scorer_type = LengthScorer

    def check(self, folder, mistakes):
        super().check(folder, mistakes)
        if self.longest < 1:
            mistakes.add("longest must be at least 1", "longest")

    def make(self, folder, model, allow_code):
        return LengthScorer(folder.name, self.metrics, self.longest)
"""
JUDGE = """\
version: 1
kind: length
title: T
description: D
sees: [text]
longest: 10
metrics: {length: {range: [0, 1]}}
"""


def install(folder: Path, entries: str) -> None:
    """A package with the kind `length` and these entry points, as pip would leave it."""
    (folder / "length_package.py").write_text(LENGTH)
    about = folder / "length_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: length-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[eval_anything.scorers]\n{entries}\n")


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a judge of a kind that a package adds, and a task that is scored by it."""
    site = tmp_path / "site"
    site.mkdir()
    install(
        site, "length = length_package:LengthFile\nwide = length_package:LengthFile\nlost = nowhere:X"
    )
    monkeypatch.syspath_prepend(site)
    folder = tmp_path / "mine" / "own"
    folder.mkdir(parents=True)
    (folder / "judge.yaml").write_text(JUDGE)
    yaml = TASK_YAML.replace("selection_contract", "own").replace("selection", "length")
    make_task(tmp_path, yaml=yaml)
    write_jsonl(tmp_path / "rows.jsonl", answers([f"s{i}" for i in range(4)]))
    return folder


def test_a_package_adds_a_kind(cli: Cli, judge: Path) -> None:
    assert plugins.names(plugins.SCORERS) == sorted([*KINDS, "length", "wide", "lost"])
    assert cli("judges", "validate", judge).out == "own: length, gives length; no mistakes found\n"
    done = cli("score", "--outputs", "rows.jsonl", "--tasks", "mine/demo", "--include", "mine", "--json")
    assert done.code == 0, done.err
    assert done.json["tasks"]["mine/demo"]["metrics"]["length"]["value"] == 0.5
    assert done.json["judges"]["own"]["kind"] == "length"
    assert "longest" in judge_schema()["$defs"]["LengthFile"]["properties"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "kind: length",
            "kind: lenght",
            "judge.yaml:2: unknown judge kind 'lenght'. Did you mean length",
        ),
        ("kind: length\n", "", "judge.yaml:1: key 'kind' is missing"),
        (
            "kind: length",
            "kind: lost",
            "judge.yaml:2: the judge kind 'lost' (nowhere:X) does not import",
        ),
        ("kind: length", "kind: wide", "judge.yaml:2: the judge kind 'wide'"),
        ("longest: 10\n", "", "judge.yaml:2: a length judge needs `longest:`"),
        ("longest: 10", "longest: ten", "judge.yaml:6: expected `int`, got `str` in `longest`"),
        ("longest: 10", "longest: 0", "judge.yaml:6: longest must be at least 1"),
        ("longest: 10", "longest: 10\nscale: [0, 1]", "judge.yaml:7: a length judge has no scale"),
        ("longest: 10", "longest: 10\nlongset: 1", "judge.yaml:7: unknown key 'longset'"),
        ("kind: length", "kind: program", "judge.yaml:6: a program judge has no longest"),
    ],
)
def test_mistakes_have_their_place(old: str, new: str, message: str, cli: Cli, judge: Path) -> None:
    (judge / "judge.yaml").write_text(JUDGE.replace(old, new, 1))
    result = cli("judges", "validate", judge)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_the_schema_is_that_of_all_kinds() -> None:
    schema = judge_schema()
    forms = schema["discriminator"]["mapping"]
    assert sorted(forms) == KINDS
    for kind, reference in forms.items():
        form = schema["$defs"][reference.rpartition("/")[2]]
        assert {"kind", "version", "title", "description", "metrics", "sees"} <= {*form["required"]}
        assert form["additionalProperties"] is False
        assert ("template" in form["required"]) == (kind in ("pairwise", "probe", "rubric"))


def test_every_bundled_judge_is_of_the_kind_that_it_names() -> None:
    for folder in find_judges().values():
        (kind,) = re.findall(r"^kind: (\w+)$", (folder.path / "judge.yaml").read_text(), re.MULTILINE)
        assert read_judge_file(folder).kind == kind


def test_metrics_of_judges_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    bundled = find_judges()
    metrics = JudgeMetrics({**bundled, "broken": JudgeFolder("broken", tmp_path, False)})
    assert "broken" in metrics
    assert "nobody" not in metrics
    assert list(metrics["validity"]) == ["valid_output"]
    assert {*metrics} == {*bundled, "broken"}


def test_no_kind_is_known_by_name_outside_of_its_file() -> None:
    """A new kind must be one file and one line."""
    scorers = "Program|Metric|Rubric|Pairwise|Probe|RewardModel"
    by_name = re.compile(
        rf"(?:scorer|file|judge|folder)(?:\.kind|\[.kind.\]) ?(?:[!=]=|(?:not )?in )"
        rf"|isinstance\([^)]*(?:{scorers})(?:Scorer|File)"
    )
    kinds = ROOT / "eval_anything" / "judges" / "kinds"
    assert len([path for path in kinds.glob("*.py") if path.stem != "__init__"]) == len(KINDS)
    for package in ("eval_anything", "align_plugins"):
        for path in (ROOT / package).rglob("*.py"):
            if not path.is_relative_to(kinds):
                assert not by_name.search(path.read_text("utf-8")), path


def test_judges_name_no_room_above_them() -> None:
    for path in (ROOT / "eval_anything" / "judges").rglob("*.py"):
        assert not re.search(r"\bmicro\b|\blm_eval\b|\bleaderboard\b", path.read_text("utf-8")), path


def test_the_folder_of_judges_documents_every_kind() -> None:
    readme = (content_folder("judges") / "README.md").read_text("utf-8")
    assert all(f"| `{kind}` |" in readme for kind in KINDS)


def test_every_bundled_judge_has_a_card_and_a_row() -> None:
    judges = content_folder("judges")
    readme = (judges / "README.md").read_text("utf-8")
    for folder in (path.parent for path in judges.glob("*/judge.yaml")):
        assert (folder / "README.md").is_file(), folder.name
        assert folder.name in readme.split("## The bundled ones")[1]
