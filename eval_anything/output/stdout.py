"""stdout of a command: what the command itself writes, and nothing that other code prints."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from eval_anything.output.colour import coloured

_streams: list[TextIO] = []
"""The stdout of the running command, if `own_stdout` is in force."""


def print_lines(*lines: str) -> None:
    """Writes lines to the command's stdout, with colours on a terminal."""
    stream = _stream()
    stream.write(coloured("".join(f"{line}\n" for line in lines), stream))


def write(text: str) -> None:
    """Writes text to the command's stdout, as it is."""
    _stream().write(text)


def _stream() -> TextIO:
    return _streams[-1] if _streams else sys.stdout


@contextlib.contextmanager
def own_stdout() -> Iterator[None]:
    """A context in which only `print_lines` and `write` reach stdout.

    What scoring code, models and libraries print goes to stderr, also from child processes and from code
    that is not Python.
    """
    original = sys.stdout
    with _redirected(original) as stream:
        _streams.append(stream)
        sys.stdout = sys.stderr
        try:
            yield
        finally:
            sys.stdout = original
            _streams.pop()
            stream.flush()


@contextlib.contextmanager
def _redirected(original: TextIO) -> Iterator[TextIO]:
    """A stream to stdout, while the file descriptor of stdout leads to stderr; a stdout that is no
    file descriptor is returned as it is."""
    try:
        is_descriptor = original.fileno() == 1
        saved = os.dup(1) if is_descriptor else -1
    except (AttributeError, OSError, ValueError):  # an object of a notebook or a test
        is_descriptor = False
    if not is_descriptor or sys.stderr is None:
        yield original
        return
    original.flush()
    stream = os.fdopen(saved, "w", encoding=original.encoding, errors=original.errors)
    os.dup2(2, 1)
    try:
        yield stream
    finally:
        os.dup2(saved, 1)
        with contextlib.suppress(OSError):  # the reader of a pipe is gone, which `flush` has reported
            stream.close()
