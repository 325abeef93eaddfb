"""The interface of a training method.

A method is a class named by an entry point of `eval_anything.trainers`; `eval-anything train NAME` finds
it there, whoever wrote it:

    [project.entry-points."eval_anything.trainers"]
    mine = "my_package:MyTrainer"

It needs a name, a type of settings, and `train`. Importing it should load nothing heavy: mistakes in
settings are reported before torch is there. Trainings on rows by gradient steps have their parts in
`training/`; methods/sft.py puts them together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

from align_plugins.settings import MethodSettings, read_settings
from eval_anything.output.progress import Progress

S = TypeVar("S", bound=MethodSettings)


class Trained(NamedTuple):
    """The outcome of a training.

    Attributes:
        json: one object for programs.
        lines: the same for people.
        blocked: whether a gate refuses it: exit code 1.
    """

    json: dict[str, Any]
    lines: Sequence[str]
    blocked: bool = False


class Trainer(ABC, Generic[S]):
    """A method with its settings. Making one reads nothing but them.

    Attributes:
        name: its name on the command line.
        settings_type: the type of its settings file.
    """

    name: ClassVar[str]
    settings_type: ClassVar[type[MethodSettings]]

    def __init__(self, settings: S) -> None:
        self.settings = settings

    @classmethod
    def from_config(cls, path: Path, changes: Sequence[str] = ()) -> Self:
        """The method with the settings of a file, and `key=value` in place of some."""
        settings: Any = read_settings(path, changes, cls.settings_type)
        return cls(settings)

    @abstractmethod
    def train(self, progress: Progress) -> Trained:
        """Trains, or goes on with what is in the training's folder, and evaluates. EvalError says why it
        stopped; after a kill the same call goes on and comes to the same weights."""
