"""`eval-anything train`: a method of an installed package, with its settings."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from eval_anything import plugins
from eval_anything.cli.printing import show
from eval_anything.errors import Exit
from eval_anything.output.progress import Progress


class TrainingReport(Protocol):
    """Report on a training: `json` for programs, `lines` for people, `blocked` if the gate blocks it."""

    json: dict[str, Any]
    lines: Sequence[str]
    blocked: bool


class Method(Protocol):
    """Interface of an entry point of `eval_anything.trainers`: a class with these two methods."""

    @classmethod
    def from_config(cls, path: Path, changes: Sequence[str]) -> Method:
        """The method with the settings of a file and `key=value` changes. UserError lists mistakes."""

    def train(self, progress: Progress) -> TrainingReport:
        """Trains, or resumes the training that is there. EvalError says why it stopped."""


def train(options: Namespace) -> Exit:
    """Trains, and prints the report; exit code 1 if the gate blocks the checkpoint."""
    method: type[Method] = plugins.load(plugins.TRAINERS, options.method)
    progress = Progress("silent" if options.json else "auto")
    trained = method.from_config(options.config, options.changes).train(progress)
    exit_code = show(options, trained.json, *trained.lines)
    return Exit.FAILED if trained.blocked else exit_code
