"""Tasks of other evaluation tools, which run them by themselves into one of our runs.

A source is an entry point of `eval_anything.task_sources`. Its tasks are called `<source>/<name>`, with
the name of the entry point as prefix.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from msgspec import Struct

from eval_anything import plugins
from eval_anything.errors import UserError
from eval_anything.models.base import Model
from eval_anything.output.progress import Progress
from eval_anything.runs.directory import Run
from eval_anything.runs.results_file import AggregateResult, TaskResult
from eval_anything.tasks.task import Task


class ListedTask(NamedTuple):
    """One name of a source in listings: its kind ("task", "group" ...) and the files that define it."""

    name: str
    kind: str
    files: tuple[Path, ...]


class SourceRequest(Struct, frozen=True, kw_only=True):
    """What a run wants of one source.

    Attributes:
        names: asked for now, without the prefix.
        held: tasks that the run holds already, without the prefix.
        options: of the source, as the user wrote them.
        repeats: answers per sample that the run asks for.
    """

    names: Sequence[str]
    held: Sequence[str]
    model: Model
    include: Sequence[Path]
    allow_code: bool
    options: Mapping[str, str]
    repeats: int


class ExternalTasks(ABC):
    """The tasks of one source in one run.

    Attributes:
        source: the name of the source.
        tasks: all of them by full name.
        chosen: full names of those that are asked for now.
        packages: distributions whose versions run.json states.
    """

    source: str
    packages: tuple[str, ...] = ()
    tasks: Mapping[str, Task]
    chosen: tuple[str, ...]

    @abstractmethod
    def pending(self, counts: Mapping[str, int], run: Path) -> list[str]:
        """Full names of the tasks that are not done on so many samples."""

    @abstractmethod
    def run(
        self,
        names: Sequence[str],
        counts: Mapping[str, int],
        model: Model,
        seed: int,
        run: Run,
        progress: Progress,
    ) -> None:
        """Runs these tasks on a loaded model, into the run. Answers are written as they come, so that
        the next call goes on after an exception. ServerError leaves what is not done pending."""

    @abstractmethod
    def results(self, run: Path) -> dict[str, TaskResult]:
        """The entries of results.json for the tasks that are done, by full name."""

    def aggregates(self, run: Path) -> dict[str, AggregateResult]:
        """Numbers over several tasks that are done, by full name, as results.json has them."""
        return {}


class TaskSource(ABC):
    """Another evaluation tool whose tasks can be part of a run. Made without arguments.

    Attributes:
        title: what listings call it.
    """

    title: ClassVar[str]

    @abstractmethod
    def holds_tasks(self, folder: Path) -> bool:
        """Whether a folder given by `--include` has tasks for it. It must be quick."""

    @abstractmethod
    def entries(self, include: Sequence[Path]) -> Iterable[ListedTask]:
        """Every name that `--tasks` may have, without the prefix."""

    @abstractmethod
    def find(self, name: str, include: Sequence[Path]) -> ListedTask:
        """One of them. UserError with the near names."""

    @abstractmethod
    def plan(self, request: SourceRequest) -> ExternalTasks:
        """The tasks, read and checked; nothing is run. UserError for unknown names, wrong options, and
        tasks that the model cannot do."""


def find_source(name: str) -> TaskSource:
    """The source of a name. UserError if there is none, or it does not import."""
    source: TaskSource = plugins.load(plugins.TASK_SOURCES, name)()
    return source


def split_names(names: Iterable[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Names of our own tasks, and those of each source without their prefix. UserError for a source
    alone: some have thousands of tasks."""
    sources = plugins.names(plugins.TASK_SOURCES)
    own: list[str] = []
    external: dict[str, list[str]] = {}
    for name in names:
        source, slash, task = name.partition("/")
        if source not in sources:
            own.append(name)
        elif slash:
            external.setdefault(source, []).append(task)
        else:
            raise UserError(
                f"--tasks {name}: name some of its tasks, as {name}/TASK. "
                f"`eval-anything tasks list --suite {name}` lists them."
            )
    return own, external
