"""For people: help with examples, hints, colours, completion, the page, the last lines of a run."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from eval_anything.cli.arguments import _parsers, parser_for, whole_parser
from eval_anything.cli.examples import EXAMPLES
from eval_anything.evaluation.report import results_table
from eval_anything.output.colour import coloured
from eval_anything.runs.results_file import MetricResult, Results, TaskResult
from tests.support.helpers import Cli, answers, make_task, medium_sample, png, text_sample, write_jsonl
from tests.support.missing import missing

COMMANDS = [parser.prog.partition(" ")[2] for parser in _parsers(whole_parser())]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_whole_sentences_and_examples(cli: Cli, command: str) -> None:
    shown = cli(*command.split(), "--help")
    assert (shown.code, shown.err) == (0, "")
    assert "?." not in shown.out
    assert max(map(len, shown.out.splitlines())) <= 100
    leads_on = "COMMAND" in shown.out.splitlines()[0]
    without = ("judges list", "models list", "presets list", "doctor")
    assert ("\nexamples:\n" in shown.out) == (not leads_on and command not in without)


@pytest.mark.parametrize("command", EXAMPLES)
def test_examples_are_commands_that_are_understood(command: str) -> None:
    assert command in COMMANDS
    for line in EXAMPLES[command].splitlines():
        words = shlex.split(line.partition(" >")[0])
        assert words[0] == "eval-anything"
        assert " ".join(words[1:]).startswith(command.split()[0])
        if words[1:3] != ["gate", "--candidate"] and words[1] != "train":
            parser_for(words[1:]).parse_args(words[1:])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["judges", "show", "validity", "--allow-code"],
            "option of `eval-anything run`, `eval-anything",
        ),
        (["compare", "a", "b", "--lm-eval=x"], "It is an option of `eval-anything run`"),
        (["tasks", "list", "--inclde", "x"], "Did you mean --include"),
        (["run", "--model", "gpt-4o"], "on OpenAI's openai/gpt-4o."),
        (
            ["run", "--model", "Qwen/Qwen3-8B"],
            "From the hub it is hf/Qwen/Qwen3-8B, on a server openai/Qwen",
        ),
        (["tasks", "show", "selectoin"], "Did you mean amg/selection or open/selection"),
    ],
)
def test_hints_name_what_helps(cli: Cli, arguments: list[str], words: str) -> None:
    done = cli(*arguments)
    assert done.code == 2
    assert words in done.err
    assert f"Did you mean {arguments[-1]}?" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["gate"],
        ["gate", "run"],
        ["gate", "--candidate", "nowhere"],
        ["gate", "rnu"],
        ["gate", "run", "--candidate", "a", "--policy", "b", "--budget", "3"],
        ["gate", "plan", "--policy", "nowhere.yaml", "--baseline", "nowhere"],
        ["gate", "plan", "--policy", "micro", "--baseline", "x", "--correlation", "high"],
        ["gate", "run", "--candidate", "nowhere", "--policy", "nowhere.yaml"],
        ["gate", "init", "there.yaml"],
    ],
)
def test_wrong_input_of_the_gate_is_exit_3_since_2_is_a_verdict(
    cli: Cli, tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "there.yaml").touch()
    done = cli(*arguments)
    assert (done.code, done.out if done.code == 2 else "") == (3, "")


def test_a_bare_name_of_a_task_is_shown(cli: Cli) -> None:
    shown = cli("tasks", "show", "selection")
    assert shown.code == 0
    assert shown.out.startswith("open/selection (version")
    assert "tasks of the same name: amg/selection, micro/selection" in shown.out
    assert cli("tasks", "show", "ablation").out.startswith("micro/ablation (version")


# --- colours ------------------------------------------------------------------------------------

TABLE = "task  verdict\n----  -------\nopen  BLOCK\nPASS: all\nnot PASSED, no surpasses; an error: x\n"


class _Terminal:
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    painted = coloured(TABLE, _Terminal())  # type: ignore[arg-type]
    assert painted.splitlines() == [
        "\x1b[1mtask  verdict\x1b[0m",
        "\x1b[2m----  -------\x1b[0m",
        "open  \x1b[31mBLOCK\x1b[0m",
        "\x1b[32mPASS\x1b[0m: all",
        "not PASSED, no surpasses; an \x1b[31merror:\x1b[0m x",
    ]
    with Path(os.devnull).open("w") as file:
        assert coloured(TABLE, file) == TABLE
    for name, text in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as context:
            context.setenv(name, text)
            assert coloured(TABLE, _Terminal()) == TABLE  # type: ignore[arg-type]


def on_a_terminal(*arguments: str, **variables: str) -> str:
    """What the command prints on a terminal."""
    mine, theirs = pty.openpty()
    command = [sys.executable, "-m", "eval_anything", *arguments]
    environment = {**os.environ, "TERM": "xterm", **variables}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    output = b""
    while True:
        try:
            block = os.read(mine, 65536)
        except OSError:  # the other end is closed
            break
        if not block:
            break
        output += block
    process.wait()
    os.close(mine)
    return output.decode()


def test_a_real_terminal_gets_colours_unless_it_wants_none() -> None:
    painted = on_a_terminal("tasks", "list", "--suite", "amu", NO_COLOR="")
    plain = on_a_terminal("tasks", "list", "--suite", "amu", NO_COLOR="1")
    assert "\x1b[1mtask" in painted
    assert re.sub(r"\x1b\[\d+m", "", painted) == plain
    assert "\x1b" not in plain


# --- completion and the page --------------------------------------------------------------------


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        import shtab  # noqa: F401
    except ImportError:
        missing("shtab is not installed")
    made = subprocess.run(
        [sys.executable, "-m", "eval_anything", "completion", "bash"],
        capture_output=True,
        check=True,
    )
    path = tmp_path_factory.mktemp("completion") / "eval-anything.bash"
    path.write_bytes(made.stdout)
    return path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ju"], {"judges"}),
        (["tasks", "sh"], {"show"}),
        (["run", "--skip-"], {"--skip-failing", "--skip-unreadable"}),
        (["gate", "run", "--cand"], {"--candidate"}),
    ],
)
def test_bash_completes_commands_and_options(script: Path, words: list[str], offered: set[str]) -> None:
    line = shlex.join(["eval-anything", *words])
    completing = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; "
        f'_shtab_eval_anything eval-anything {words[-1]} x; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "-c", completing], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == offered, done.stderr


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A task whose two samples want text, one of them about an image, and answers to both."""
    rows = [text_sample("t"), medium_sample("i", "image", "a.png")]
    make_task(tmp_path, "mine/demo", rows, a__png=png())
    return write_jsonl(tmp_path / "rows.jsonl", answers(["t", "i"]))


def test_open_shows_the_page_in_the_users_browser(
    cli: Cli, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, log = tmp_path / "browser", tmp_path / "log"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {log}\n')
    browser.chmod(0o755)
    command = [sys.executable, "-m", "eval_anything", "score", "--outputs", "rows.jsonl"]
    command += ["--tasks", "mine/demo", "--include", "mine", "--out", "run", "--open"]
    environment = {**os.environ, "BROWSER": f"{browser} %s"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert log.read_text().strip() == (tmp_path / "run" / "report.html").as_uri()


# --- the last lines of a run --------------------------------------------------------------------


def test_a_run_ends_with_modalities_and_what_was_spent(cli: Cli, demo: Path) -> None:
    write_jsonl(demo, [*answers(["t"]), {"sample_id": "i", "parts": []}])
    command = ["score", "--outputs", "rows.jsonl", "--tasks", "mine/demo", "--include", "mine"]
    done = cli(*command, "--max-failed", "1", "--out", "run")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[-1] == "Spent: no money on servers."
    rows = [line.split() for line in lines if line.startswith("asked ")]
    assert rows == [
        ["asked", "with", "text", "0.500", "2", "1"],
        ["asked", "with", "image", "0.000", "1", "1"],
        ["asked", "for", "text", "0.500", "2", "1"],
    ]
    results = cli(*command, "--max-failed", "1", "--out", "run", "--json").json
    assert results["modalities"]["inputs"]["image"] == {"samples": 1, "failed": 1, "value": 0.0}


def a_metric(**more: object) -> MetricResult:
    fields = {"value": 0.5, "stderr": 0.1, "ci95": (0.3, 0.7), "n": 10, "failed": 0, "unscored": 0}
    return MetricResult(**{**fields, "better": "higher", "range": (0.0, 1.0), **more})  # type: ignore[arg-type]


def test_the_table_has_the_metrics_of_judges_that_have_a_model() -> None:
    metrics = {"selection": a_metric(), "validity": a_metric(), "help": a_metric(judge="helpfulness")}
    task = TaskResult(primary="selection", metrics=metrics, samples=10, failed=0)
    shown = results_table(Results(model="m", tasks={"mine/demo": task}))
    assert [line.split()[1] for line in shown.splitlines()[2:]] == ["selection", "help"]


def test_a_difference_larger_than_the_scale_is_none() -> None:
    from eval_anything.judges.calibration.effects import effect_text
    from eval_anything.runs.results_file import DetectableEffect

    metric = a_metric(calibration=None, mde=DetectableEffect(seen=1.3, true=None))
    assert effect_text(metric).startswith("can show no difference: ")


def test_what_is_not_known_of_a_judged_metric_has_its_own_reason() -> None:
    from eval_anything.judges.calibration.effects import effect_text
    from eval_anything.runs.results_file import DetectableEffect

    unknown = {"calibration": None, "mde": DetectableEffect(seen=None, true=None)}
    nothing = {"value": None, "stderr": None, "ci95": None}
    for fields, reason in (
        ({"stderr": 0.0}, "all scores are equal"),
        ({"stderr": None}, "all samples are of one source"),
        (nothing, "no sample is scored"),
        ({**nothing, "invalid": "3 of 10 samples are unscored"}, "the metric is INVALID"),
    ):
        assert effect_text(a_metric(**unknown, **fields)).endswith(f"is not known: {reason}")


# --- names --------------------------------------------------------------------------------------


def test_a_run_gets_the_name_that_it_is_given(cli: Cli, demo: Path, tmp_path: Path) -> None:
    command = ["score", "--outputs", "rows.jsonl", "--tasks", "mine/demo", "--include", "mine", "--json"]
    done = cli(*command, "--name", "team/first try")
    assert (done.code, done.json["model"]) == (0, "team/first try")
    assert (tmp_path / "runs" / "team--first try" / "results.json").is_file()
    again = cli("score", "--outputs", "runs/team--first try", *command[3:], "--out", "again")
    assert again.json["model"] == "team/first try", "a run judged from a run keeps its model's name"
    for name in ("", " ", "two\nlines"):
        assert cli(*command, "--name", name).code == 2
    write_jsonl(demo, answers(["t", "i"], "Rome"))
    other = cli(*command, "--name", "team/first try")
    assert other.code == 2
    assert "another directory with --out, or another name for the model with --name" in other.err


@pytest.mark.parametrize("name", ["-rf", "--models--qwen", ".hidden", "/models/qwen"])
def test_no_directory_of_a_run_begins_with_a_dash_or_a_dot(
    cli: Cli, demo: Path, tmp_path: Path, name: str
) -> None:
    command = ["score", "--outputs", "rows.jsonl", "--tasks", "mine/demo", "--include", "mine"]
    assert cli(*command, f"--name={name}").code == 0
    [folder] = (tmp_path / "runs").iterdir()
    assert folder.name[0].isalnum()
