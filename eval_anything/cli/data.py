"""`eval-anything data`: commands that the package of the trainers provides."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from eval_anything import plugins

Command = Callable[[Namespace], int]
"""Runs with the parsed options and returns the exit code."""


def command(options: Namespace) -> int:
    """Runs `data check` or `data convert`."""
    run: Command = plugins.load(plugins.DATA, options.data_command)
    return int(run(options))
