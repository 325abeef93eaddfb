"""Errors that a user sees: one message each (what, where, how to mend it) and an exit code."""

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


class EvalError(Exception):
    """Base of the errors that end a command with a message instead of a traceback."""

    exit_code = Exit.WRONG_INPUT


class UserError(EvalError):
    """The user's input is wrong, or two runs cannot be compared."""


class InfrastructureError(EvalError):
    """Disk, network or server failed: what was not done stays pending, a resume retries it."""

    exit_code = Exit.INFRASTRUCTURE


class ServerError(InfrastructureError):
    """A server does not answer, or answers with its own failure: that one request stays pending."""


def near(name: str, known: Iterable[str]) -> str:
    """ " Did you mean X?" for the known names nearest to a wrong one, or an empty string."""
    close = difflib.get_close_matches(name, sorted(set(known)), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(close)}?" if close else ""
