"""`eval-anything train`: a method of an installed package, with its settings."""

from __future__ import annotations

import textwrap
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from eval_anything import plugins
from eval_anything.cli.printing import show
from eval_anything.errors import Exit
from eval_anything.output.progress import Progress
from eval_anything.output.tables import table

_LONGEST_DEFAULT, _LONGEST_MEANING = 25, 70


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

    @classmethod
    def settings_rows(cls) -> list[tuple[str, str, str]]:
        """Name, default and meaning of each setting."""

    def train(self, progress: Progress) -> TrainingReport:
        """Trains, or resumes the training that is there. EvalError says why it stopped."""


def show_settings(options: Namespace) -> Exit:
    """Prints the settings of a method with their defaults: `train METHOD --help`."""
    method: type[Method] = plugins.load(plugins.TRAINERS, options.method)
    rows = [
        [name, _short(default, _LONGEST_DEFAULT), _short(meaning, _LONGEST_MEANING)]
        for name, default, meaning in method.settings_rows()
    ]
    return show(
        options,
        rows,
        f"usage: eval-anything train {options.method} --config FILE [KEY=VALUE ...]\n",
        table(["setting", "default", "meaning"], rows),
        "\n`evaluate` has options of `eval-anything run`, such as evaluate.limit=20, and more: "
        "docs/training.md",
    )


def _short(text: str, length: int) -> str:
    return textwrap.shorten(text, length, placeholder=" ...")


def train(options: Namespace) -> Exit:
    """Trains, and prints the report; exit code 1 if the gate blocks the checkpoint."""
    method: type[Method] = plugins.load(plugins.TRAINERS, options.method)
    progress = Progress("silent" if options.json else "auto")
    trained = method.from_config(options.config, options.changes).train(progress)
    exit_code = show(options, trained.json, *trained.lines)
    return Exit.FAILED if trained.blocked else exit_code
