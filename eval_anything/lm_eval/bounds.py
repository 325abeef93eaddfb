"""Bounds on the tasks of included folders, which lm_eval itself does not set: templates and patterns."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import Any, TypeVar

from eval_anything.errors import UserError
from eval_anything.files.templates import Filters, Template

R = TypeVar("R")


PATTERN_SECONDS = 120.0
"""Time for the filters of a task, and for the metrics of a document: their patterns read model text."""


class _IsolatedTemplates:
    """Stands for lm_eval's jinja2 environment. The templates are rendered in a child process."""

    filters = Filters(f"{__name__}:make_filters", keep_newline=True)

    def from_string(self, source: str) -> Template:
        return Template(source, False, self.filters)


def make_filters() -> dict[str, Any]:
    """The filters that lm_eval adds to those of Jinja2."""
    return {
        "regex_replace": lambda text, pattern, replacement, count=0: re.sub(
            pattern, replacement, text, count=count
        )
    }


def isolate_templates() -> None:
    """Has all templates of lm_eval rendered within bounds. It renders them itself with a plain jinja2
    environment, in which a template can run any code."""
    from lm_eval import utils

    utils.env = _IsolatedTemplates()


def bound_patterns(task: Any, name: str) -> None:
    """Bounds the time of a task's filters and metrics: a pattern may need time exponential in a text."""
    for step in ("apply_filters", "process_results"):
        setattr(task, step, _within_time(getattr(task, step), f"{name}: its filters or metrics"))


def _within_time(function: Callable[..., R], owner: str) -> Callable[..., R]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise UserError(f"{owner} take more than {PATTERN_SECONDS:g} s: check their patterns")

    @wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> R:
        if threading.current_thread() is not threading.main_thread():
            return function(*args, **kwargs)  # signals reach the main thread alone
        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, PATTERN_SECONDS)
        try:
            return function(*args, **kwargs)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    return bounded
