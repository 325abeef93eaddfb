"""Packages add to every group of entry points; one that is broken or doubled costs nothing else."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval_anything import plugins
from eval_anything.models.agent.grammar import render
from tests.support.agent_server import plan
from tests.support.agents import replayed, write_agent
from tests.support.helpers import TASK_YAML, Cli, answers, make_task, text_sample, write_jsonl
from tests.support.paths import ROOT

EXAMPLE = ROOT / "examples/plugin"
OTHERS = ROOT / "tests/data/plugins/others"
RIVAL = ROOT / "tests/data/plugins/rival"

LENGTH_JUDGE = """\
version: 1
kind: length
title: Short enough
description: Whether a response is short enough.
sees: [text]
longest: 5
metrics: {short: {range: [0, 1]}}
"""
REWARD_JUDGE = """\
version: 1
kind: reward_model
title: A reward model
description: How good a text is.
sees: [text]
metrics: {reward: {range: [0, 10]}}
"""


def install(site: Path, work: Path, *packages: Path) -> Path:
    """Has pip build and install packages into a folder, from copies, as building leaves files."""
    copies = [shutil.copytree(package, work / package.name) for package in packages]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", site, *copies], check=True)
    return site


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders `usable`, with the packages parrot and others, and `rival`."""
    folder = tmp_path_factory.mktemp("sites")
    install(folder / "usable", tmp_path_factory.mktemp("work"), EXAMPLE, OTHERS)
    install(folder / "rival", tmp_path_factory.mktemp("work"), RIVAL)
    return folder


def _on_path(*sites: Path) -> Iterator[None]:
    sys.path[:0] = map(str, sites)
    try:
        yield
    finally:
        del sys.path[: len(sites)]
        for name in [n for n in sys.modules if n.partition(".")[0] in ("parrot", "others", "rival")]:
            del sys.modules[name]


@pytest.fixture
def installed(sites: Path) -> Iterator[None]:
    """The packages whose plugins can be used."""
    yield from _on_path(sites / "usable")


@pytest.fixture
def with_rival(sites: Path) -> Iterator[None]:
    """The same, beside a package with plugins that cannot be used."""
    yield from _on_path(sites / "usable", sites / "rival")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with the task mine/demo of two samples."""
    make_task(tmp_path, samples=[text_sample(f"s{i}") for i in range(2)])
    return tmp_path / "mine"


def texts(run: Path, task: str = "mine/demo") -> list[str]:
    rows = [json.loads(line) for line in (run / task / "records.jsonl").read_bytes().splitlines()]
    return [row["parts"][0]["text"] for row in rows]


def scored(cli: Cli, include: Path, *more: Any) -> dict[str, Any]:
    """results.json's entry of mine/demo for two saved answers."""
    rows = [*answers(["s0"], "Paris"), *answers(["s1"], "It is Paris, as all the world knows.")]
    saved = write_jsonl(include.parent / "saved.jsonl", rows)
    command = ["score", "--outputs", saved, "--tasks", "mine/demo", "--include", include, *more]
    result = cli(*command, "--json", "--out", "scored")
    assert result.code == 0, result.err
    entry: dict[str, Any] = result.json["tasks"]["mine/demo"]
    return entry


def test_the_two_packages_try_every_group(installed: None) -> None:
    added = {plugin.noun for plugin in plugins.of_other_packages()}
    assert added == {group.noun for group in plugins.GROUPS}


def test_every_example_line_has_the_form_of_an_entry_point() -> None:
    for group in plugins.GROUPS:
        name, _, value = group.example.partition(" = ")
        assert name.isidentifier()
        assert value.strip('"').partition(":")[2].isidentifier()


def test_a_model(cli: Cli, installed: None, mine: Path) -> None:
    command = ["run", "--model", "parrot", "--tasks", "mine/demo", "--include", mine, "--out", "run"]
    assert cli(*command, "--model-arg", "times=2").code == 0
    assert texts(Path("run")) == ["What is the capital of France?"] * 2
    wrong = cli(*command, "--model-arg", "tims=2")
    assert (wrong.code, "a parrot takes --model-arg times" in wrong.err) == (2, True)


def test_the_tests_of_the_example_pass(installed: None) -> None:
    for name, test in runpy.run_path(str(EXAMPLE / "tests" / "test_parrot.py")).items():
        if name.startswith("test_"):
            test()


def test_a_kind_of_judge(cli: Cli, installed: None, tmp_path: Path) -> None:
    yaml = TASK_YAML.replace("selection_contract", "short").replace("selection", "short")
    make_task(tmp_path, samples=[text_sample(f"s{i}") for i in range(2)], yaml=yaml)
    judge = tmp_path / "mine" / "short"
    judge.mkdir()
    (judge / "judge.yaml").write_text(LENGTH_JUDGE)
    assert scored(cli, tmp_path / "mine")["metrics"]["short"]["value"] == 0.5
    (judge / "judge.yaml").write_text(LENGTH_JUDGE.replace("longest: 5", "longest: five"))
    assert "judge.yaml:6: " in cli("judges", "validate", judge).err


def test_a_method(cli: Cli, installed: None, tmp_path: Path) -> None:
    from eval_anything.models.spec import resolve

    settings = tmp_path / "nudge.yaml"
    settings.write_text("model: micro\ndata: []\nout: out\nsize: 0.1\n")
    done = cli("train", "nudge", "--config", settings, "seed=1", "--json")
    assert done.code == 0, done.err
    weights = [resolve(spec, {}).weights() for spec in (done.json["checkpoint"], "micro")]
    assert weights[0] != weights[1]


def test_a_family_and_its_policy(cli: Cli, installed: None, mine: Path, tiny: Path) -> None:
    from align_plugins.policies import policy_of

    command = ["run", "--model", tiny, "--tasks", "mine/demo", "--include", mine, "--out", "run"]
    assert cli(*command, "--model-arg", "max_new_tokens=2").code == 0
    assert texts(Path("run")) == ["LOUD"] * 2
    hf = next(row for row in cli("models", "list", "--json").json if row["name"] == "hf")
    assert ("loud", ["llama"]) in [(row["name"], row["model_types"]) for row in hf["families"]]
    policy = policy_of(str(tiny))
    policy.load()
    assert (policy.name, policy.model is not None) == ("loud", True)


def test_a_reader_of_reward_models(cli: Cli, installed: None, tmp_path: Path, tiny: Path) -> None:
    from transformers import AutoConfig, LlamaForSequenceClassification

    from eval_anything.judges.kinds.reward.readers import reader_of

    checkpoint = tmp_path / "checkpoint"
    model = LlamaForSequenceClassification(AutoConfig.from_pretrained(tiny, num_labels=1))
    model.score.weight.data.zero_()  # it finds everything half good
    model.save_pretrained(checkpoint)
    (checkpoint / "upside_down.json").write_text("{}")
    shutil.copy(tiny / "tokenizer.json", checkpoint)
    assert type(reader_of(checkpoint)).__name__ == "UpsideDownReader"
    yaml = TASK_YAML.replace("selection_contract", "liked").replace("selection", "reward")
    make_task(tmp_path, samples=[text_sample(f"s{i}") for i in range(2)], yaml=yaml)
    judge = tmp_path / "mine" / "liked"
    judge.mkdir()
    (judge / "judge.yaml").write_text(REWARD_JUDGE)
    entry = scored(cli, tmp_path / "mine", "--judge", f"liked={checkpoint}")
    assert entry["metrics"]["reward"]["value"] == 5


def test_a_generator(cli: Cli, installed: None, mine: Path, tmp_path: Path) -> None:
    said = [render(plan(text="Here.", image="a fox"))] * 2
    write_agent(tmp_path, replayed(tmp_path, *said), {"image": {"kind": "grey", "level": 200}})
    command = ["run", "--model", "agent.yaml", "--tasks", "mine/demo", "--include", mine]
    assert cli(*command, "--out", "run").code in (0, 1)
    (image,) = (Path("run") / "media").rglob("*.png")
    assert image.is_file()
    write_agent(tmp_path, replayed(tmp_path, *said), {"image": {"kind": "gray", "level": 200}})
    wrong = cli(*command, "--out", "run")
    assert "agent.yaml:1: unknown kind of generator 'gray'. Did you mean grey" in wrong.err


def test_a_formula(cli: Cli, installed: None, tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_task(tmp_path, f"mine/{name}", [text_sample(f"{name}{i}") for i in range(2)])
    inputs = "{a: 'one:selection', b: 'two:selection'}"
    suite = tmp_path / "mine" / "suite.yaml"
    suite.write_text(
        "title: T\ndescription: D\ntasks: [one, two]\n"
        f"aggregates: {{Least: {{formula: worst, inputs: {inputs}}}}}\n"
    )
    rows = [*answers(["one0", "one1"], task="mine/one"), *answers(["two0"], task="mine/two")]
    saved = write_jsonl(tmp_path / "saved.jsonl", rows)
    command = ["score", "--outputs", saved, "--tasks", "mine", "--include", tmp_path / "mine"]
    command += ["--allow-missing", "--max-failed", "1"]
    result = cli(*command, "--json", "--out", "run")
    assert result.code == 0, result.err
    assert result.json["aggregates"]["mine/Least"]["value"] == 0.5
    suite.write_text(suite.read_text().replace("worst", "worts"))
    wrong = cli(*command, "--out", "other")
    assert "suite.yaml:4: unknown formula 'worts'. Did you mean worst?" in wrong.err


def test_an_external_source_of_tasks(cli: Cli, installed: None, mine: Path) -> None:
    listed = cli("tasks", "list", "--suite", "quiz")
    assert listed.out.splitlines() == ["quiz/echo", "quiz/longer"]
    assert "a task of the quiz" in cli("tasks", "show", "quiz/echo").out
    command = ["run", "--model", "parrot", "--include", mine, "--out", "run", "--json"]
    first = cli(*command, "--tasks", "mine/demo,quiz/echo", "--limit", "2")
    assert first.code == 0, first.err
    results = first.json["tasks"]
    assert (results["quiz/echo"]["samples"], results["quiz/echo"]["metrics"]["right"]["value"]) == (2, 1)
    more = cli(*command, "--tasks", "quiz/longer")
    assert set(more.json["tasks"]) == {"mine/demo", "quiz/echo", "quiz/longer"}
    assert more.json["aggregates"]["quiz/all"]["value"] == 1
    assert json.loads(Path("run/run.json").read_bytes())["versions"]["others"] == "1.0"
    option = ["--source-option", "quiz.bonus=0.5"]
    better = cli(*command[:-3], "--out", "better", "--json", "--tasks", "quiz/echo", *option)
    assert better.json["tasks"]["quiz/echo"]["metrics"]["right"]["value"] == 1.5
    for arguments, words in (
        (["--tasks", "quiz/eco"], "there is no quiz 'eco'"),
        (["--tasks", "quiz"], "--tasks quiz: name some of its tasks"),
        (["--tasks", "mine/demo", *option], "no task of quiz is run"),
        (["--tasks", "quiz/echo", "--source-option", "bonus=1"], "must be SOURCE.KEY=VALUE"),
    ):
        wrong = cli("run", "--model", "parrot", "--include", mine, *arguments)
        assert (wrong.code, words in wrong.err) == (2, True), wrong.err


def test_a_plugin_that_does_not_import_is_named_and_the_others_work(
    cli: Cli, with_rival: None, mine: Path
) -> None:
    run = ["run", "--tasks", "mine/demo", "--include", mine, "--out", "run", "--model"]
    broken = cli(*run, "broken/x")
    assert broken.code == 2
    assert "the model 'broken' (rival.not_there:BrokenModel) does not import: No module" in broken.err
    assert "to the package rival" in broken.err
    assert "'wrong' (rival:words) of the package rival is no model" in cli(*run, "wrong").err
    listed = {row["name"]: row["about"] for row in cli("models", "list", "--json").json}
    assert {"hf", "replay", "broken", "wrong"} <= set(listed)
    assert "does not import" in listed["broken"]
    saved = write_jsonl(mine.parent / "saved.jsonl", answers(["s0", "s1"]))
    assert cli(*run, saved).code == 0, "a path is recognised by what imports"
    unknown = mine.parent / "nothing.bin"
    unknown.write_bytes(b"")
    assert "'broken'" in cli(*run, unknown).err, "one that does not import might have recognised it"


def test_a_name_that_two_packages_use_is_an_error_that_names_both(
    cli: Cli, with_rival: None, tmp_path: Path
) -> None:
    doubled = cli("run", "--model", "parrot", "--tasks", "open/selection")
    assert doubled.code == 2
    for words in (
        "two packages register a model 'parrot'",
        "parrot (parrot.model:",
        "rival (rival:words)",
    ):
        assert words in doubled.err
    rows = write_jsonl(tmp_path / "rows.jsonl", [])
    command = cli("data", "check", rows)
    assert "two packages register a command 'check': " in command.err
    assert "eval-anything (align_plugins.data.check:check)" in command.err
    found = cli("doctor", "--json").json["plugins"]
    problems = {plugin["name"]: plugin["problem"] for plugin in found if plugin["problem"]}
    assert set(problems) == {"broken", "check", "parrot", "wrong"}
    assert "two packages" in problems["parrot"]
    assert {p["name"] for p in found} >= {"length", "nudge", "quiz", "worst"}
    assert "usable" in cli("doctor").out


def test_an_unknown_name_is_told_with_the_near_ones() -> None:
    with pytest.raises(plugins.UserError, match=r"unknown method 'dop'. Did you mean (dpo|ppo)"):
        plugins.load(plugins.TRAINERS, "dop")


def test_the_page_is_what_the_table_and_the_example_say() -> None:
    page = runpy.run_path(str(ROOT / "docs/make_extending.py"))["page"]()
    assert (ROOT / "docs/extending.md").read_text("utf-8") == page, "run docs/make_extending.py"


def test_the_page_has_the_judge_that_is_tried_here() -> None:
    (yaml,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/extending.md").read_text("utf-8"), re.S)
    assert yaml.split("longest")[0] == LENGTH_JUDGE.split("longest")[0]
