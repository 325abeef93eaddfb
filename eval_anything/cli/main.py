"""`eval-anything`: runs the command that is named, and turns errors into messages and exit codes."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import re
import sys
from argparse import Namespace
from collections.abc import Sequence

from eval_anything.cli.arguments import parser_for
from eval_anything.errors import EvalError, Exit, GateExit
from eval_anything.output.colour import coloured
from eval_anything.output.stdout import own_stdout
from eval_anything.servers.secrets import without_key

# Errors that the user's path causes, not the disk.
_WRONG_PATH = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EACCES,
    errno.EPERM,
    errno.ELOOP,
    errno.ENAMETOOLONG,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if re.match(r"gate --(?!help)", " ".join(arguments)):  # short for `gate run --candidate ...`
        arguments.insert(1, "run")
    if arguments[:1] == ["train"]:  # argparse accepts words without a dash only in one group
        changes = [word for word in arguments[2:] if re.match(r"\w[\w.]*=", word)]
        arguments = [*arguments[:2], *changes, *(w for w in arguments[2:] if w not in changes)]
    options = _method_help(arguments) or parser_for(arguments).parse_args(arguments)
    options.command_line = ["eval-anything", *arguments]
    module_name, _, function = options.handler.partition(":")
    try:
        command = getattr(importlib.import_module(f"eval_anything.cli.{module_name}"), function)
        with own_stdout():
            return int(command(options))
    except EvalError as error:
        _print_error(f"error: {without_key(str(error))}")
        return _code(error.exit_code, arguments)
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
            _print_error(f"error: {error.filename}: {error.strerror}")
            is_wrong = error.errno in _WRONG_PATH
            return _code(Exit.WRONG_INPUT if is_wrong else Exit.INFRASTRUCTURE, arguments)
        _print_error(
            f"internal error: {type(error).__name__}: {without_key(str(error))}. Please report it; "
            "EVAL_ANYTHING_DEBUG=1 shows where it happened."
        )
        return Exit.INFRASTRUCTURE


def _method_help(arguments: Sequence[str]) -> Namespace | None:
    """The options of `train METHOD --help`, which shows the settings of the method; else None."""
    if arguments[:1] != ["train"] or len(arguments) < 3 or arguments[1].startswith("-"):
        return None
    _, method, *words = arguments
    if not {"-h", "--help"} & set(words):
        return None
    return Namespace(handler="train:show_settings", method=method, json="--json" in words)


def _print_error(message: str) -> None:
    with contextlib.suppress(OSError):  # the disk that is full has the log, too
        print(coloured(f"eval-anything: {message}", sys.stderr), file=sys.stderr)


def _code(code: Exit, arguments: Sequence[str]) -> int:
    """The exit code of an error: `gate` has another one for wrong input."""
    is_wrong_gate = arguments[:1] == ["gate"] and code == Exit.WRONG_INPUT
    return GateExit.INVALID if is_wrong_gate else code
