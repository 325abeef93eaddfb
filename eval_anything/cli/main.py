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

from eval_anything import __version__
from eval_anything.errors import EvalError, Exit, near

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
    _add_allow_code(parser)
    _add_judge(parser)
    add("--limit", metavar="N", type=_at_least_one, help="the first N samples of each task")
    add("--repeats", metavar="K", type=_at_least_one, default=1, help="answers a sample (1)")
    add("--seed", metavar="N", type=int, default=0, help="seed of sampling (0)")
    add("--out", metavar="DIR", type=Path, help="the run's directory; default: runs/<model>")
    add("--max-failed", metavar="SHARE", type=_share, default=0.1, help="exit 1 above it (0.1)")
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
        "--outputs", metavar="FILE.jsonl|RUN", type=Path, required=True, help="what was answered"
    )
    _add_evaluation(score)


def _add_tasks(commands: Any) -> None:
    tasks = _group(commands, "tasks", "list, show, check and make tasks")
    list_ = _command(tasks, "list", "all tasks in reach", "tasks:list_tasks")
    list_.add_argument("--suite", metavar="S", help="only this suite")
    _add_include(list_)
    show = _command(tasks, "show", "one task: what it asks and how it scores", "tasks:show_task")
    show.add_argument("name", metavar="NAME")
    _add_include(show)
    check = _command(tasks, "validate", "check a task folder of your own", "tasks:validate_task")
    check.add_argument("path", metavar="PATH", type=Path)
    _add_include(check)
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
    _add_judge(measure)
    _add_include(measure)
    _add_allow_code(measure)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
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
