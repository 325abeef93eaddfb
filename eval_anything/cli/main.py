"""`eval-anything`: the commands and their options. What a command does is imported when it runs."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from eval_anything.errors import EvalError, Exit, near
from eval_anything.version import __version__

_EXITS = """\
exit codes: 0 done; 1 too many samples failed, or a judged metric is invalid; 2 wrong input, or runs
that cannot be compared; 4 disk, network or server failed; 5 stopped early. After 4 and 5 the same
command goes on where it stopped."""


# Errors of the path that a user gave, not of the disk below it.
_WRONG_PATH = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EACCES,
    errno.EPERM,
    errno.ELOOP,
    errno.ENAMETOOLONG,
}


class _Parser(argparse.ArgumentParser):
    """Wrong options get one line with the near names, not the whole usage."""

    def error(self, message: str) -> NoReturn:
        hint = ""
        unknown = re.search(r"unrecognized arguments: (\S+)", message)
        choice = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if unknown:
            hint = near(unknown[1].partition("=")[0], _options_of(self))
        elif choice:
            hint = near(choice[1], re.findall(r"[\w-]+", choice[2]))
        self.exit(
            Exit.WRONG_INPUT,
            f"{self.prog}: error: {message}.{hint} `{self.prog} --help` shows what there is.\n",
        )


def _options_of(parser: argparse.ArgumentParser) -> list[str]:
    found: list[str] = []
    for action in parser._actions:
        found += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                found += _options_of(sub)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if re.match(r"gate --(?!help)", " ".join(arguments)):  # short for `gate run --candidate ...`
        arguments.insert(1, "run")
    if arguments[:1] == ["train"]:  # argparse takes the words without a dash at one place alone
        changes = [word for word in arguments[2:] if re.match(r"\w[\w.]*=", word)]
        arguments = [*arguments[:2], *changes, *(w for w in arguments[2:] if w not in changes)]
    options = _parser().parse_args(arguments)
    options.command_line = ["eval-anything", *arguments]
    module_name, _, function = options.does.partition(":")
    try:
        command = getattr(importlib.import_module(f"eval_anything.cli.{module_name}"), function)
        code = int(command(options))
        sys.stdout.flush()
        return code
    except EvalError as error:
        print(f"eval-anything: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            "eval-anything: stopped. What is recorded is kept: the same command goes on.",
            file=sys.stderr,
        )
        return Exit.STOPPED
    except BrokenPipeError:  # `eval-anything ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except Exception as error:
        if os.environ.get("EVAL_ANYTHING_DEBUG"):
            raise
        if isinstance(error, OSError) and error.filename is not None:
            print(f"eval-anything: error: {error.filename}: {error.strerror}", file=sys.stderr)
            return Exit.WRONG_INPUT if error.errno in _WRONG_PATH else Exit.INFRASTRUCTURE
        print(
            f"eval-anything: internal error: {type(error).__name__}: {error}. Please report it; "
            "EVAL_ANYTHING_DEBUG=1 shows where it happened.",
            file=sys.stderr,
        )
        return Exit.INFRASTRUCTURE


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="eval-anything",
        description="Evaluation of any-to-any models: text, images, audio and video, in and out.",
        epilog=_EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"eval-anything {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_run(commands)
    _add_score(commands)
    _add_tasks(commands)
    _add_judges(commands)
    models = _group(commands, "models", "what can be evaluated")
    _command(models, "list", "kinds of models and how they are named", "models:list_models")
    _add_compare(commands)
    _add_gate(commands)
    _add_leaderboard(commands)
    _add_annotate(commands)
    _add_train(commands)
    _add_data_commands(commands)
    _command(commands, "doctor", "what is installed, and what is missing", "doctor:doctor")
    return parser


def _command(commands: Any, name: str, about: str, does: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=about[:1].upper() + about[1:] + "."
    )
    parser.set_defaults(does=does)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser


def _group(commands: Any, name: str, about: str) -> Any:
    parser = commands.add_parser(name, help=about, description=about[:1].upper() + about[1:] + ".")
    return parser.add_subparsers(metavar="COMMAND", required=True)


def _add_include(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--include",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="a folder with your own tasks or judges (may be repeated)",
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="a downloaded data set, or a folder of them (may be repeated)",
    )


def _add_allow_code(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--allow-code", action="store_true", help="run scoring code of included folders")


def _add_judge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--judge",
        metavar="NAME=SPEC",
        action="append",
        default=[],
        help="the model behind a judge: NAME=openai/MODEL@http://host:port/v1",
    )


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--tasks", metavar="A,B", default="", help="tasks or suites; default: the whole suite")
    add("--suite", metavar="S", help="where bare task names are looked up; default: the model's own")
    _add_include(parser)
    _add_data(parser)
    _add_allow_code(parser)
    _add_judge(parser)
    add("--limit", metavar="N", type=_at_least_one, help="the first N samples of each task")
    add("--repeats", metavar="K", type=_at_least_one, default=1, help="answers a sample (1)")
    add("--seed", metavar="N", type=int, default=0, help="seed of sampling (0)")
    add("--out", metavar="DIR", type=Path, help="the run's directory; default: runs/<model>")
    add("--max-failed", metavar="SHARE", type=_share, default=0.1, help="exit 1 above it (0.1)")
    add(
        "--lm-eval",
        metavar="K=V",
        action="append",
        default=[],
        help="an option of lm-evaluation-harness, for tasks lm_eval/NAME",
    )
    add("--against", metavar="RUN", type=Path, help="the run that pairwise judges compare with")
    add("--budget", metavar="MONEY", type=_not_negative, help="stop when this much is spent on servers")
    add("--allow-missing", action="store_true", help="replay: missing outputs score the floor")
    add("--dry-run", action="store_true", help="show what would run, and stop")


def _add_run(commands: Any) -> None:
    run = _command(commands, "run", "evaluate a model", "run:run")
    add = run.add_argument
    add("--model", metavar="SPEC", required=True, help="a path, `micro`, hf/ID or replay/FILE.jsonl")
    _add_evaluation(run)
    add("--temperature", metavar="T", type=_not_negative, default=0.0, help="0 is greedy (0)")
    add("--model-arg", metavar="K=V", action="append", default=[], help="an option of the model")
    add("--concurrency", metavar="N", type=_at_least_one, help="samples at the model at once")


def _add_score(commands: Any) -> None:
    score = _command(commands, "score", "score saved outputs, or judge a run again", "run:score")
    score.add_argument(
        "--outputs", metavar="FILE.jsonl|FOLDER|RUN", type=Path, required=True, help="what was answered"
    )
    _add_evaluation(score)


def _add_tasks(commands: Any) -> None:
    tasks = _group(commands, "tasks", "list, show, check and make tasks")
    list_ = _command(tasks, "list", "all tasks in reach", "tasks:list_tasks")
    list_.add_argument("--suite", metavar="S", help="only this suite")
    _add_include(list_)
    show = _command(
        tasks, "show", "a task: what it asks and how it scores; or a suite", "tasks:show_task"
    )
    show.add_argument("name", metavar="NAME")
    show.add_argument(
        "--reference", action="store_true", help="of a suite: published rows, computed anew"
    )
    _add_include(show)
    _add_data(show)
    check = _command(tasks, "validate", "check a task folder of your own", "tasks:validate_task")
    check.add_argument("path", metavar="PATH", type=Path)
    _add_include(check)
    _add_data(check)
    fetch = _command(tasks, "fetch", "download what a suite is not bundled with", "fetch:fetch")
    fetch.add_argument("name", metavar="SUITE")
    _add_include(fetch)
    export = _command(tasks, "export", "tasks as a folder for another tool", "lm_eval:export_tasks")
    export.add_argument("form", metavar="lm_eval", choices=["lm_eval"])
    export.add_argument("names", metavar="NAME", nargs="+")
    export.add_argument("--out", metavar="DIR", type=Path, required=True, help="where")
    export.add_argument(
        "--max-tokens", metavar="N", type=_at_least_one, default=512, help="of an answer (512)"
    )
    _add_include(export)
    new = _command(tasks, "new", "make a task folder to start from", "tasks:new_task")
    new.add_argument("name", metavar="SUITE/TASK")
    new.add_argument("--dir", metavar="DIR", type=Path, default=Path(), help="where (.)")


def _add_judges(commands: Any) -> None:
    judges = _group(commands, "judges", "list, show, check and measure judges")
    list_ = _command(judges, "list", "all judges in reach", "judges:list_judges")
    _add_include(list_)
    show = _command(judges, "show", "one judge: what it gives, and how good it is", "judges:show_judge")
    show.add_argument("name", metavar="NAME")
    _add_include(show)
    check = _command(judges, "validate", "check a judge folder of your own", "judges:validate_judge")
    check.add_argument("path", metavar="PATH", type=Path)
    measure = _command(judges, "calibrate", "measure a judge against labels", "judges:calibrate_judge")
    add = measure.add_argument
    add("name", metavar="NAME")
    labels = measure.add_mutually_exclusive_group(required=True)
    labels.add_argument("--labels", metavar="FILE", type=Path, help="JSONL of labelled responses")
    labels.add_argument("--micro", action="store_true", help="500 pairs of the micro world")
    add("--metric", metavar="M", help="what to measure; default: synergy, or the only metric")
    add("--limit", metavar="N", type=_at_least_one, help="the first N labels")
    add("--again", metavar="N", type=_whole, default=50, help="labels to ask about twice (50)")
    add("--budget", metavar="MONEY", type=_not_negative, help="stop when this much is spent")
    add("--dry-run", action="store_true", help="estimate calls and money, and stop")
    _add_judge(measure)
    _add_include(measure)
    _add_allow_code(measure)


def _add_compare(commands: Any) -> None:
    both = _command(commands, "compare", "two runs on the same samples", "compare:compare_runs")
    both.add_argument("base", metavar="BASE", type=Path)
    both.add_argument("candidate", metavar="CANDIDATE", type=Path)
    both.add_argument("--all", action="store_true", help="every metric and group")
    both.add_argument("--markdown", action="store_true", help="as Markdown")


def _add_gate(commands: Any) -> None:
    gate = _group(commands, "gate", "is a checkpoint worse than the baseline?")
    run = _command(gate, "run", "a verdict on a run", "gate:run_gate")
    run.epilog = "exit codes: 0 pass or warn; 1 block; 2 inconclusive; 3 invalid; 4 disk failed"
    run.add_argument("--candidate", metavar="RUN", type=Path, required=True)
    run.add_argument("--baseline", metavar="RUN", type=Path, help="in place of the policy's")
    run.add_argument("--policy", metavar="FILE", type=Path, required=True)
    run.add_argument("--out", metavar="DIR", type=Path, help="where reports go; default: the candidate")
    plan = _command(gate, "plan", "what loss the gate can see", "gate:plan")
    plan.add_argument("--policy", metavar="FILE", type=Path, required=True)
    plan.add_argument("--baseline", metavar="RUN", type=Path, required=True)
    plan.add_argument("--pilot", metavar="RUN", type=Path, help="a second run, to measure the spread")
    plan.add_argument(
        "--correlation", metavar="R", type=_number, default=0.5, help="assumed without a pilot (0.5)"
    )
    init = _command(gate, "init", "write a commented policy", "gate:init")
    init.add_argument("path", metavar="FILE", type=Path, nargs="?", default=Path("policy.yaml"))
    init.add_argument("--schema", action="store_true", help="print the JSON schema of policies instead")


def _add_leaderboard(commands: Any) -> None:
    leaderboard = _group(commands, "leaderboard", "runs as a site that opens from a file")
    build = _command(leaderboard, "build", "build or renew a site of runs", "leaderboard:build_site")
    add = build.add_argument
    add("runs", metavar="RUN", type=Path, nargs="+", help="the directory of a run")
    add(
        "--out", metavar="DIR", type=Path, required=True, help="the site; with --single-file also X.html"
    )
    add("--single-file", action="store_true", help="one page with everything in it, at most 25 MB")
    _add_include(build)


def _add_annotate(commands: Any) -> None:
    annotate = _command(commands, "annotate", "label by people, on a local page", "annotate:annotate")
    add = annotate.add_argument
    add("task", metavar="TASK", nargs="?", help="whose prompts; without --outputs: votes on modalities")
    add(
        "--outputs",
        metavar="RUN|FILE",
        type=Path,
        nargs="+",
        default=[],
        help="responses to grade, or with --against to compare",
    )
    add("--against", metavar="RUN|FILE", type=Path, help="the responses to compare with")
    add("--out", metavar="FILE.jsonl", type=Path, help="default: annotations/SUITE-TASK.jsonl")
    add("--annotator", metavar="NAME", help="who answers; default: the login name")
    add("--scale", metavar="N", type=int, choices=range(2, 10), default=5, help="grades 1 to N (5)")
    add("--port", metavar="N", type=_whole, default=0, help="of the page; default: any that is free")
    add("--limit", metavar="N", type=_at_least_one, help="the first N samples")
    add("--seed", metavar="N", type=int, default=0, help="of the order of samples and sides (0)")
    reading = annotate.add_mutually_exclusive_group()
    reading.add_argument(
        "--summary", metavar="FILE", type=Path, help="count answers, and their agreement"
    )
    reading.add_argument(
        "--export", metavar="FILE", type=Path, help="write labels, votes and training rows"
    )
    _add_include(annotate)
    _add_data(annotate)


def _add_train(commands: Any) -> None:
    train = _command(commands, "train", "train a model, and evaluate it while it trains", "train:train")
    add = train.add_argument
    add("method", metavar="METHOD", help="sft, reward, dpo, or what an installed package adds")
    add("--config", metavar="FILE", type=Path, required=True, help="settings as YAML (docs/training.md)")
    add("changes", metavar="KEY=VALUE", nargs="*", help="settings in place of the file's: beta=0.2")


def _add_data_commands(commands: Any) -> None:
    data = _group(commands, "data", "check and convert training data")
    check = _command(data, "check", "is a file of training data right?", "data:command")
    check.set_defaults(data_command="check")
    check.add_argument("file", metavar="FILE", type=Path)
    check.add_argument("--examples", metavar="N", type=_whole, default=2, help="rows of each kind (2)")
    check.add_argument(
        "--allow-contamination", action="store_true", help="prompts of benchmarks are no mistake"
    )
    _add_include(check)
    _add_data(check)
    convert = _command(data, "convert", "make rows of other projects' fields", "data:command")
    convert.set_defaults(data_command="convert")
    convert.add_argument("source", metavar="SOURCE", type=Path, help="JSONL, JSON, parquet or a folder")
    convert.add_argument("--out", metavar="DIR", type=Path, required=True, help="where rows.jsonl goes")
    convert.add_argument("--skip-wrong", action="store_true", help="leave out rows that lack something")


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _not_negative(text: str) -> float:
    value = _number(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share, 0 to 1")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
