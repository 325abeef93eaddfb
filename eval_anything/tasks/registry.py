"""Finds task folders without reading them, and turns the names a user gives into folders.

A task is `<suite>/<task>/task.yaml`. The bundled ones lie in benchmarks/; `--include DIR` adds a
folder of suites, one suite, or one task. A suite may have a suite.yaml: its order, a limit,
aggregates, tasks of other suites, and groups, `<suite>/<group>`, which name some of its tasks together.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from eval_anything import plugins
from eval_anything.errors import UserError, near
from eval_anything.files.json_text import utf8_lines
from eval_anything.files.mistakes import Mistakes
from eval_anything.files.places import content_folder, folders_with
from eval_anything.files.yaml_files import load_yaml, read_yaml
from eval_anything.tasks.task import TaskFile, TaskFolder


class Aggregate(Struct, frozen=True, forbid_unknown_fields=True):
    """A number computed from metrics of several tasks. `formula` is the name of an entry point of
    `eval_anything.aggregates`; `inputs` maps its variables to `<task>:<metric>`, or to another aggregate
    of the suite."""

    formula: str
    inputs: dict[str, str]


class SuiteFile(Struct, frozen=True, forbid_unknown_fields=True):
    """suite.yaml. `tasks` holds names of the suite's own tasks (`selection`) or full names
    (`open/selection`); `groups` names subsets of them."""

    title: str
    description: str
    tasks: list[str]
    limit: int | None = None
    aggregates: dict[str, Aggregate] = {}
    groups: dict[str, list[str]] = {}


class Suite(NamedTuple):
    """Tasks under one name, in order; `groups` are subsets by name, without the suite's name."""

    name: str
    tasks: tuple[str, ...]
    limit: int | None = None
    aggregates: dict[str, Aggregate] = {}
    groups: dict[str, tuple[str, ...]] = {}


class Registry:
    """All available task folders by name. Its construction lists directories, but reads no files.

    Args:
        include: more folders of tasks beside the bundled ones (`--include`): a task, a suite, or a
            folder of suites.

    Raises:
        UserError: a folder does not exist or holds nothing to include, or a name is taken twice.
    """

    def __init__(self, include: Sequence[Path] = ()) -> None:
        self.folders: dict[str, TaskFolder] = {}
        self._suite_files: dict[str, Path] = {}
        self._scan(content_folder("benchmarks"), trusted=True)
        for directory in include:
            if not directory.is_dir():
                raise UserError(f"--include {directory}: there is no such folder")
            count = self._scan(directory.resolve(), trusted=False)
            if not count and not _holds_others(directory.resolve()):
                raise UserError(
                    f"--include {directory}: no task.yaml or judge.yaml in it. "
                    "It should be a task folder, a suite of them, or a folder of suites."
                )

    def _scan(self, root: Path, trusted: bool) -> int:
        """Adds the suites and tasks at `root` and below, and returns the number of their folders."""
        suites = folders_with(root, "suite.yaml")
        for path in suites:
            file = self._suite_files.setdefault(path.name, path / "suite.yaml")
            if file.parent != path:
                raise UserError(
                    f"two folders are the suite {path.name}: {file.parent} and {path}. Rename one."
                )
        tasks = folders_with(root, "task.yaml")
        for path in tasks:
            name = f"{path.parent.name}/{path.name}"
            folder = self.folders.setdefault(name, TaskFolder(name, path, trusted))
            if folder.path != path:
                raise UserError(
                    f"two folders are the task {name}: {folder.path} and {path}. "
                    "Rename one of them or its parent folder."
                )
        return len(suites) + len(tasks)

    @property
    def suites(self) -> list[str]:
        """Names of all suites: folders that hold tasks, and named selections."""
        return sorted({f.suite for f in self.folders.values()} | set(self._suite_files))

    def suite(self, name: str) -> Suite:
        """A suite by its name, checked; without a suite.yaml it has all its tasks by name.

        UserError for an unknown name or a mistake in suite.yaml.
        """
        path = self._suite_files.get(name)
        if path is None:
            tasks = tuple(sorted(n for n, f in self.folders.items() if f.suite == name))
            if not tasks:
                raise UserError(f"unknown suite {name!r}.{near(name, self.suites)} {self._hint()}")
            return Suite(name, tasks)
        file, mistakes = load_yaml(path, SuiteFile)
        full = _full_names(name, file.tasks)
        for i, task in enumerate(full):
            if task not in self.folders:
                mistakes.add(f"unknown task {task!r}.{near(task, self.folders)}", "tasks", i)
        groups = {group: _full_names(name, tasks) for group, tasks in file.groups.items()}
        for group, tasks in groups.items():
            self._check_group(name, group, tasks, full, mistakes)
        if not full:
            mistakes.add("names no tasks", "tasks")
        if file.limit is not None and file.limit < 1:
            mistakes.add("limit must be at least 1", "limit")
        if not path.is_relative_to(content_folder("benchmarks")):  # bundled formulas are tested
            _check_formulas(file, mistakes)
        mistakes.check()
        return Suite(name, full, file.limit, file.aggregates, groups)

    def _check_group(
        self, suite: str, group: str, tasks: Sequence[str], members: Sequence[str], mistakes: Mistakes
    ) -> None:
        """Checks that a group has tasks, all of them `members` of the suite, and a name of its own."""
        for i, task in enumerate(tasks):
            if task not in members:
                mistakes.add(f"{task!r} is no task of this suite", "groups", group, i)
        if not tasks:
            mistakes.add(f"group {group!r} names no tasks", "groups", group)
        if f"{suite}/{group}" in self.folders:
            mistakes.add(f"{group!r} is a task already: rename the group", "groups", group)

    def group(self, name: str) -> Suite | None:
        """The tasks of the group `<suite>/<group>` as a part of its suite; None if there is none."""
        suite_name, _, group = name.partition("/")
        if suite_name not in self._suite_files:
            return None
        suite = self.suite(suite_name)
        tasks = suite.groups.get(group)
        return None if tasks is None else suite._replace(tasks=tasks, groups={})

    @property
    def groups(self) -> list[str]:
        """Full names of all groups."""
        full_names: list[str] = []
        for name, path in self._suite_files.items():
            try:
                full_names += [f"{name}/{group}" for group in read_yaml(path, SuiteFile).groups]
            except UserError:  # reported when the suite itself is read
                continue
        return sorted(full_names)

    def combining(self, tasks: Collection[str]) -> list[Suite]:
        """The bundled suites with aggregates whose tasks are all among these."""
        bundled = content_folder("benchmarks")
        names = [n for n, path in self._suite_files.items() if path.is_relative_to(bundled)]
        suites = [self.suite(name) for name in sorted(names)]
        return [s for s in suites if s.aggregates and set(s.tasks) <= set(tasks)]

    def select(self, names: Sequence[str], suite: str) -> list[Suite]:
        """The suites that the `--tasks` names stand for, in order; all of `suite` without names.

        A name is that of a task, a group or a suite; a bare one is looked up in `suite`. A single task
        becomes a suite of one, without aggregates. UserError for an unknown name.
        """
        if not names:
            return [self.group(suite) or self.suite(suite)]
        return [self._select_one(name, suite) for name in names]

    def _select_one(self, name: str, suite: str) -> Suite:
        if name in self.folders:
            return Suite(self.folders[name].suite, (name,))
        if "/" not in name:
            if f"{suite}/{name}" in self.folders:
                return Suite(suite, (f"{suite}/{name}",))
            if name in self.suites:
                return self.suite(name)
        group = self.group(name if "/" in name else f"{suite}/{name}")
        if group is not None:
            return group
        candidates = [*self.folders, *self.suites, *self.groups]
        elsewhere = [full for full in self.folders if full.rpartition("/")[2] == name]
        if elsewhere:
            raise UserError(
                f"suite {suite!r} has no task {name!r}, but there is {' and '.join(elsewhere)}: "
                "give the full name, or choose the suite with --suite"
            )
        bare = {full.rpartition("/")[2]: full for full in self.folders}
        raise UserError(f"unknown task {name!r}.{near(name, [*candidates, *bare])} {self._hint()}")

    def _hint(self) -> str:
        return "`eval-anything tasks list` shows all; --include DIR adds your own."


def _full_names(suite: str, tasks: Sequence[str]) -> tuple[str, ...]:
    """Full names of the tasks in a suite's file, where the suite's own name may be left out."""
    return tuple(task if "/" in task else f"{suite}/{task}" for task in tasks)


def _check_formulas(file: SuiteFile, mistakes: Mistakes) -> None:
    for name, aggregate in file.aggregates.items():
        formulas = plugins.names(plugins.AGGREGATES)
        if aggregate.formula not in formulas:
            message = plugins.unknown("formula", aggregate.formula, formulas)
            mistakes.add(message, "aggregates", name, "formula")


def _holds_others(root: Path) -> bool:
    """Whether a folder without tasks holds judges, or tasks of an external source."""
    if folders_with(root, "judge.yaml"):
        return True
    sources = plugins.load_all(plugins.TASK_SOURCES).values()
    return any(source().holds_tasks(root) for source in sources if not isinstance(source, UserError))


def read_task_file(folder: TaskFolder) -> TaskFile:
    """task.yaml alone, without samples: enough for a listing. FileProblemsError lists its mistakes."""
    return read_yaml(folder.path / "task.yaml", TaskFile)


def count_samples(folder: TaskFolder, file: TaskFile) -> int | None:
    """Number of samples, without parsing them: non-empty lines, or the number that a data set declares;
    None for a part of a data set."""
    if file.data is not None:
        return file.data.samples
    try:
        return sum(1 for line in utf8_lines(folder.path / file.samples) if line.strip())
    except (OSError, UnicodeDecodeError):
        return 0
