"""Replies of a replica's process: a result, or the name and text of what was raised there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eval_anything.errors import InfrastructureError, ServerError, UserError
from eval_anything.media import MediaError

Reply = tuple[Any, str | None, str | None]
"""A result, or None with the name and text of an exception."""


_RAISED = {error.__name__: error for error in (UserError, InfrastructureError, ServerError, MediaError)}
"""Errors of a model that the engine tells apart."""


def reply_of(work: Callable[[], Any]) -> Reply:
    """Does some work and replies with its result, or with what it raises.

    Example:
        >>> reply_of(lambda: 1 // 0)
        (None, 'ZeroDivisionError', 'integer division or modulo by zero')
    """
    try:
        return work(), None, None
    except Exception as error:
        return None, type(error).__name__, str(error)


def result_of(reply: Reply) -> Any:
    """The result in a reply. Raises what was raised there, under its name, which is on record."""
    result, name, text = reply
    if name is None:
        return result
    kind = _RAISED.get(name) or type(name, (Exception,), {})
    raise kind(text)
