"""The command line: near names, exit codes, one JSON document, no traceback, a quick start."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from eval_anything.cli import judges as judges_command
from eval_anything.version import __version__
from tests.support.helpers import Cli, answers, make_task, text_sample, write_jsonl

SCRIPTS = Path(sysconfig.get_path("scripts"))
RUN = ["run", "--model", "replay/rows.jsonl"]
MINE = ["--include", "mine"]


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A task, and rows that answer all of it."""
    write_jsonl(tmp_path / "rows.jsonl", answers(["s0", "s1"]))
    return make_task(tmp_path, "mine/demo", [text_sample("s0"), text_sample("s1")])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["rnu"], "Did you mean run or"),
        (["task", "list"], "Did you mean tasks or"),
        (["tasks", "lsit"], "Did you mean list"),
        (["tasks"], "COMMAND"),
        (["run"], "--model"),
        ([*RUN, "--taks", "open"], "Did you mean --tasks"),
        ([*RUN, "--limt=3"], "Did you mean --limit or --suite"),
        ([*RUN, "--limit", "0"], "'0' is not a whole number from 1 on"),
        ([*RUN, "--limit", "many"], "'many' is not a whole number"),
        ([*RUN, "--limit", "-1"], "--limit"),
        ([*RUN, "--repeats", "0"], "--repeats"),
        ([*RUN, "--seed", "x"], "--seed"),
        ([*RUN, "--temperature", "-1"], "--temperature"),
        ([*RUN, "--temperature", "nan"], "'nan' is not a number from 0 on"),
        ([*RUN, "--temperature", "inf"], "'inf' is not a number from 0 on"),
        ([*RUN, "--max-failed", "1.5"], "'1.5' is not a share"),
        ([*RUN, "--max-failed", "nan"], "'nan' is not a share"),
        ([*RUN, "--concurrency", "0"], "--concurrency"),
        ([*RUN, "--tasks", "open/selecton"], "Did you mean open/selection"),
        ([*RUN, "--tasks", "selecton"], "Did you mean selection"),
        ([*RUN, "--suite", "opne"], "unknown suite 'opne'. Did you mean open?"),
        ([*RUN, "--tasks", "demo", *MINE], "suite 'open' has no task 'demo', but there is mine/demo"),
        ([*RUN, "--tasks", "mine/demo", "--include", "mien"], "--include mien: there is no such"),
        ([*RUN, "--tasks", "mine/demo", "--include", "m" * 5000], "File name too long"),
        (
            [*RUN, "--tasks", "mine/demo", *MINE, "--model-arg", "allow_mising=1"],
            "Did you mean allow_missing",
        ),
        (
            [*RUN, "--tasks", "mine/demo", *MINE, "--model-arg", "allow_missing"],
            "--model-arg allow_missing",
        ),
        (["run", "--model", "mirco"], "unknown model 'mirco'. Did you mean micro?"),
        (["run", "--model", "hf"], "--model hf needs an id"),
        (["run", "--model", "replay"], "--model replay: "),
        (["run", "--model", "./nowhere"], "there is no such file or folder"),
        (["run", "--model", "rows.jsnl/"], "unknown model"),
        (["run", "--model", "mine"], "nothing in it that can be evaluated"),
        (["run", "--model", "x" * 5000], "File name too long"),
        (["score", "--outputs", "nowhere.jsonl"], "no such file, folder or run"),
        (["tasks", "show", "mine/dem", *MINE], "Did you mean mine/demo?"),
        (["tasks", "list", "--suite", "opne"], "Did you mean open?"),
        (["judges", "show", "validty"], "unknown judge 'validty'. Did you mean validity?"),
    ],
)
def test_wrong_input_is_exit_code_2_with_a_hint(
    cli: Cli, demo: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    result = cli(*arguments)
    assert result.code == 2
    assert words in result.err
    assert result.out == ""
    assert len(result.err.strip().splitlines()) <= 2
    assert not (tmp_path / "runs").exists()


def test_a_judge_that_a_task_names_wrongly_gets_the_near_one(cli: Cli, tmp_path: Path) -> None:
    from tests.support.helpers import TASK_YAML

    make_task(tmp_path, yaml=TASK_YAML.replace("[selection_contract]", "[validity, validty]"))
    write_jsonl(tmp_path / "rows.jsonl", answers(["s0"]))
    result = cli(*RUN, "--tasks", "mine/demo", "--include", "mine")
    assert result.code == 2
    assert "task.yaml:7: unknown judge 'validty'. Did you mean validity" in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["tasks", "list"],
        ["tasks", "show", "open/selection"],
        ["judges", "list"],
        ["judges", "show", "selection_contract"],
        ["models", "list"],
        ["tasks", "new", "mine/other"],
        ["tasks", "validate", "mine/demo"],
        [*RUN, "--tasks", "mine/demo", *MINE],
        [*RUN, "--tasks", "mine/demo", *MINE, "--dry-run"],
        ["score", "--outputs", "rows.jsonl", "--tasks", "mine/demo", *MINE],
    ],
)
def test_json_is_one_document_on_stdout_and_nothing_else(
    cli: Cli, demo: Path, arguments: list[str]
) -> None:
    result = cli(*arguments, "--json")
    assert result.code == 0
    assert result.out.endswith("\n")
    assert json.loads(result.out)
    assert result.err == ""
    plain = cli(*arguments) if arguments[:2] != ["tasks", "new"] else cli("tasks", "new", "mine/third")
    assert plain.code == 0
    with pytest.raises(json.JSONDecodeError):
        json.loads(plain.out)


def test_what_json_prints_is_results_json(cli: Cli, demo: Path, tmp_path: Path) -> None:
    result = cli(*RUN, "--tasks", "mine/demo", *MINE, "--json", "--out", "run")
    assert result.json == json.loads((tmp_path / "run" / "results.json").read_text())
    assert result.json["run"] == str(tmp_path / "run")
    assert {"model", "tasks", "judges", "cost"} <= set(result.json)
    metric = result.json["tasks"]["mine/demo"]["metrics"]["selection"]
    assert {"value", "stderr", "ci95", "n", "failed", "unscored"} <= set(metric)


def test_json_with_failed_samples_still_is_one_document(cli: Cli, demo: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", answers(["s0"]))
    arguments = [*RUN, "--tasks", "mine/demo", *MINE, "--allow-missing", "--json"]
    result = cli(*arguments)
    assert result.code == 1
    assert result.json["tasks"]["mine/demo"]["failed"] == 1


def test_the_table_and_the_page(cli: Cli, demo: Path, tmp_path: Path) -> None:
    result = cli(*RUN, "--tasks", "mine/demo", "--include", "mine")
    assert result.code == 0
    assert "mine/demo  selection  1.000  0.224 .. 1.000  2" in result.out
    assert "results: runs/replay-rows/results.json" in result.out
    assert "mine/demo: 2 samples, run in runs/replay-rows" in result.err
    page = (tmp_path / "runs/replay-rows/report.html").read_text()
    assert "What is the capital of France?" in page


def test_text_of_models_is_escaped_in_the_page(cli: Cli, demo: Path, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    write_jsonl(tmp_path / "rows.jsonl", answers(["s0", "s1"], evil))
    assert cli(*RUN, "--tasks", "mine/demo", "--include", "mine").code == 0
    page = (tmp_path / "runs/replay-rows/report.html").read_text()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_dry_run_writes_nothing(cli: Cli, demo: Path, tmp_path: Path, tiny: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    arguments = ["--tasks", "mine/demo", *MINE, "--dry-run", "--limit", "1"]
    for model in ("replay/rows.jsonl", tiny):
        result = cli("run", "--model", model, *arguments)
        assert result.code == 0, result.err
        assert "selection_contract" in result.out
    shown = cli("run", "--model", tiny, *arguments, "--repeats", "3", "--json").json["tasks"]
    assert sorted(tmp_path.rglob("*")) == before
    assert [(r["task"], r["samples"], r["repeats"], r["judges"]) for r in shown] == [
        ("mine/demo", 1, 3, ["selection_contract"])
    ]


def test_a_dry_run_finds_mistakes(cli: Cli, demo: Path) -> None:
    result = cli(*RUN, "--tasks", "mine/demo", *MINE, "--dry-run", "--repeats", "2")
    assert result.code == 2
    assert "no output for 2 of 4 samples" in result.err


def test_an_error_of_our_own_is_a_message_and_exit_code_4(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(judges_command, "list_judges", broken)
    result = cli("judges", "list")
    assert result.code == 4
    assert result.err.startswith("eval-anything: internal error: ZeroDivisionError: a mistake of ours")
    assert "EVAL_ANYTHING_DEBUG=1" in result.err
    monkeypatch.setenv("EVAL_ANYTHING_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli("judges", "list")


def test_a_model_whose_package_is_broken_is_named(cli: Cli, tmp_path: Path) -> None:
    """A real entry point of a package that does not import."""
    info = tmp_path / "site" / "broken_model-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-model\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[eval_anything.models]\nbroken = no_such_module_anywhere:Model\nnone = json:dumps\n"
    )
    sys.path.insert(0, str(tmp_path / "site"))
    try:
        listed = cli("models", "list", "--json")
        result = cli("run", "--model", "broken/x", "--tasks", "open")
        other = cli("run", "--model", "none/x", "--tasks", "open")
    finally:
        sys.path.remove(str(tmp_path / "site"))
    rows = {row["name"]: row["about"] for row in listed.json}
    assert listed.code == 0
    assert {"hf", "micro", "replay"} <= set(rows)
    assert "does not import" in rows["broken"]
    assert result.code == 2
    assert "'broken' (no_such_module_anywhere:Model) does not import" in result.err
    assert "is no model" in other.err


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version").out == f"eval-anything {__version__}\n"
    shown = cli("--help")
    assert shown.code == 0
    for word in ("run", "score", "tasks", "judges", "models", "doctor", "exit codes"):
        assert word in shown.out
    for command in (["run"], ["score"], ["tasks", "new"], ["judges", "show"], ["doctor"]):
        assert cli(*command, "--help").code == 0


def test_output_that_nobody_reads_is_no_error() -> None:
    head = subprocess.run(
        f"{SCRIPTS}/eval-anything tasks list --json | head -c 1 >&2; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=True,
    )
    assert head.stdout == "0\n"
    assert "Traceback" not in head.stderr


def cpu_seconds(*command: str | Path) -> float:
    """User and system seconds of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
def test_it_starts_in_at_most_half_the_time_of_lm_eval() -> None:
    ours, theirs = [], []
    for _ in range(5):
        ours.append(cpu_seconds(SCRIPTS / "eval-anything", "--help"))
        theirs.append(cpu_seconds(SCRIPTS / "lm_eval", "--help"))
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"ours {statistics.median(ours):.3f} s, theirs {statistics.median(theirs):.3f} s", ratio)
    assert ratio <= 0.5


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    code = (
        "import sys, eval_anything.cli.main, eval_anything.cli.run, eval_anything.models.hf\n"
        "heavy = {'torch', 'transformers', 'scipy', 'av', 'PIL', 'pandas', 'openai', 'jinja2'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stderr
