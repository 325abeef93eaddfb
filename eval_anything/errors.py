"""Errors that end a command with one message (what, where, how to fix it) and an exit code.

EvalError
├── UserError                  wrong input (exit code 2)
│   ├── FileProblemsError      mistakes in a file, each with its line
│   └── MissingDataError       a data set that is not on this machine
├── InfrastructureError        disk, network or server failed (exit code 4)
│   └── ServerError            one request to a server failed
└── BudgetError                the money of --budget is spent (exit code 5)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command but the gate."""

    DONE = 0
    FAILED = 1  # too many failed samples, or a judged metric is INVALID
    WRONG_INPUT = 2
    INFRASTRUCTURE = 4
    STOPPED = 5


class GateExit(IntEnum):
    """Exit codes of the gate, where wrong input is INVALID, so that 2 has one meaning."""

    PASS = 0
    BLOCK = 1
    INCONCLUSIVE = 2
    INVALID = 3
    INFRASTRUCTURE = 4


class EvalError(Exception):
    """Base of the errors that end a command with a message instead of a traceback."""

    exit_code = Exit.WRONG_INPUT


class UserError(EvalError):
    """The user's input is wrong, or two runs cannot be compared."""


class InfrastructureError(EvalError):
    """Disk, network or server failed: unfinished work stays pending, and a resumed run retries it."""

    exit_code = Exit.INFRASTRUCTURE


class ServerError(InfrastructureError):
    """A server does not answer, or reports an internal error: this one request stays pending."""


def install(extra: str) -> str:
    """The command that adds an extra of eval-anything, which is on no package index.

    Example:
        >>> install("openai")
        "pip install '.[openai]' in the checkout of eval-anything"
    """
    return f"pip install '.[{extra}]' in the checkout of eval-anything"


def near(name: str, choices: Iterable[str]) -> str:
    """Suggestion for an unknown name, with a space before it; empty if no choice is similar.

    Example:
        >>> near("selecton", ["selection", "synergy"])
        ' Did you mean selection?'
    """
    closest = difflib.get_close_matches(name, sorted(set(choices)), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(closest)}?" if closest else ""
