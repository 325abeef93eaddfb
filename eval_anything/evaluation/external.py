"""Interface for the tasks of other evaluation tools, which execute them and write into one of our runs.

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
    """A name of a source for listings, its kind ("task", "group" ...) and the files that define it."""

    name: str
    kind: str
    files: tuple[Path, ...]


class SourceRequest(Struct, frozen=True, kw_only=True):
    """Input for the plan of one source.

    Attributes:
        names: tasks that the user names now, without the prefix.
        held: tasks that are in the run already, without the prefix.
        model: the model under evaluation.
        include: folders of `--include`.
        allow_code: whether code in these folders may be executed.
        options: options of the source (`--source-option`), as the user wrote them.
        repeats: answers per sample in this run.
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
        tasks: all tasks by full name.
        chosen: full names of the tasks that the user names now.
        packages: distributions whose versions run.json records.
    """

    source: str
    packages: tuple[str, ...] = ()
    tasks: Mapping[str, Task]
    chosen: tuple[str, ...]

    @abstractmethod
    def pending(self, counts: Mapping[str, int], run: Path) -> list[str]:
        """Full names of the tasks that are unfinished, given the number of samples of each task."""

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
        """Runs tasks on a loaded model, and writes into the run.

        Answers must be written as they come, so that the next call continues after an exception. After a
        ServerError the unfinished tasks are pending.
        """

    @abstractmethod
    def results(self, run: Path) -> dict[str, TaskResult]:
        """Entries of results.json for the finished tasks, by full name."""

    def aggregates(self, run: Path) -> dict[str, AggregateResult]:
        """Aggregates over several finished tasks for results.json, by full name."""
        return {}


class TaskSource(ABC):
    """Another evaluation tool whose tasks can be part of a run. Its constructor takes no arguments.

    Attributes:
        title: its name in listings.
    """

    title: ClassVar[str]

    @abstractmethod
    def holds_tasks(self, folder: Path) -> bool:
        """Whether a folder of `--include` has tasks of this tool. It must be quick."""

    @abstractmethod
    def entries(self, include: Sequence[Path]) -> Iterable[ListedTask]:
        """Every name that `--tasks` may have, without the prefix."""

    @abstractmethod
    def find(self, name: str, include: Sequence[Path]) -> ListedTask:
        """The entry of one name. UserError, with similar names, for an unknown one."""

    @abstractmethod
    def plan(self, request: SourceRequest) -> ExternalTasks:
        """The tasks, read and checked; nothing is run.

        UserError for unknown names, wrong options, and tasks that the model does not support.
        """


def find_source(name: str) -> TaskSource:
    """The source that is registered under a name. UserError if there is none, or it does not import."""
    source: TaskSource = plugins.load(plugins.TASK_SOURCES, name)()
    return source


def split_names(names: Iterable[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Splits names into those of our own tasks, and those of each source without its prefix.

    UserError for the name of a source alone, since some have thousands of tasks.
    """
    sources = plugins.names(plugins.TASK_SOURCES)
    own_names: list[str] = []
    external_names: dict[str, list[str]] = {}
    for name in names:
        source, slash, task = name.partition("/")
        if source not in sources:
            own_names.append(name)
        elif slash:
            external_names.setdefault(source, []).append(task)
        else:
            raise UserError(
                f"--tasks {name}: name some of its tasks, as {name}/TASK. "
                f"`eval-anything tasks list --suite {name}` lists them."
            )
    return own_names, external_names
