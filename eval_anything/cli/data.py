"""`eval-anything data`: its commands come from the package of the trainers."""

from __future__ import annotations

from argparse import Namespace

from eval_anything.plugins import DATA, extension


def command(options: Namespace) -> int:
    """Runs `data check` or `data convert`."""
    return int(extension(DATA, options.data_command, "command")(options))
