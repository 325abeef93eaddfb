"""Source of tasks from lm-evaluation-harness, for our runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from eval_anything.evaluation.external import ExternalTasks, ListedTask, SourceRequest, TaskSource
from eval_anything.lm_eval import names
from eval_anything.lm_eval.run import LmEvalTasks
from eval_anything.lm_eval.tasks import plan_tasks


class LmEvalSource(TaskSource):
    """Tasks, groups and tags of lm_eval, and those of YAML files in included folders."""

    title: ClassVar[str] = "lm-evaluation-harness"

    def holds_tasks(self, folder: Path) -> bool:
        """True if a folder contains tasks for lm_eval."""
        return names.has_tasks(folder)

    def entries(self, include: Sequence[Path]) -> Iterable[ListedTask]:
        """Tasks, groups and tags, sorted by name."""
        return [ListedTask(name, *entry) for name, entry in sorted(names.index(include).items())]

    def find(self, name: str, include: Sequence[Path]) -> ListedTask:
        """The task, group or tag of this name. UserError, with similar names, if there is none."""
        return ListedTask(name, *names.find(name, names.index(include)))

    def plan(self, request: SourceRequest) -> ExternalTasks:
        """Loads and checks the requested tasks."""
        return LmEvalTasks(plan_tasks(request))
