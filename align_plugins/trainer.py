"""The interface of a training method.

A method is a class that an entry point of `eval_anything.trainers` names; `eval-anything train NAME`
finds it there, whatever package it is from:

    [project.entry-points."eval_anything.trainers"]
    mine = "my_package:MyTrainer"

It needs a name, a type of settings, and `train`. Importing it should load nothing heavy: mistakes in
settings are reported before torch is imported. `training/` has the parts of methods that learn from rows
by gradient steps; methods/sft.py shows how they fit together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

from align_plugins.settings import MethodSettings, read_settings, rows_of_settings
from eval_anything.output.progress import Progress

S = TypeVar("S", bound=MethodSettings)


class Trained(NamedTuple):
    """The outcome of a training.

    Attributes:
        json: a JSON object for programs.
        lines: the same as lines for people.
        blocked: whether a gate refuses the result (exit code 1).
    """

    json: dict[str, Any]
    lines: Sequence[str]
    blocked: bool = False


class Trainer(ABC, Generic[S]):
    """A training method with its settings. Creating one reads nothing but them.

    Attributes:
        name: name on the command line.
        settings_type: type of its settings file.

    Example:
        >>> from align_plugins.methods.sft import SftSettings, SftTrainer
        >>> SftTrainer(SftSettings(model="micro", data="rows.jsonl", out="trained")).name
        'sft'
    """

    name: ClassVar[str]
    settings_type: ClassVar[type[MethodSettings]]

    def __init__(self, settings: S) -> None:
        self.settings = settings

    @classmethod
    def from_config(cls, path: Path, changes: Sequence[str] = ()) -> Self:
        """The method with the settings of a YAML file.

        Args:
            path: the file.
            changes: `key=value` entries that override keys of the file.

        Raises:
            FileProblemsError: lists each mistake in the file with its line.
            UserError: a change is wrong.
        """
        settings: Any = read_settings(path, changes, cls.settings_type)
        return cls(settings)

    @classmethod
    def settings_rows(cls) -> list[tuple[str, str, str]]:
        """Name, default and meaning of each setting, for `train NAME --help`."""
        return rows_of_settings(cls.settings_type)

    @abstractmethod
    def train(self, progress: Progress) -> Trained:
        """Trains and evaluates, or resumes the training in the folder `out`.

        After a kill the same call resumes and ends with the same weights.

        Args:
            progress: prints lines and bars for people.

        Returns:
            The outcome, which is also written to the folder.

        Raises:
            EvalError: the training stopped; its message says why and how to fix it.
        """
