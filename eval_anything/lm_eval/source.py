"""lm-evaluation-harness as a source of tasks of our runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from eval_anything.evaluation.external import ExternalTasks, ListedTask, SourceRequest, TaskSource
from eval_anything.lm_eval import names
from eval_anything.lm_eval.results import group_results, task_results
from eval_anything.lm_eval.run import pending_tasks, run_tasks
from eval_anything.lm_eval.tasks import LmEvalPlan, plan_tasks
from eval_anything.models.base import Model
from eval_anything.output.progress import Progress
from eval_anything.runs.directory import Run
from eval_anything.runs.results_file import AggregateResult, TaskResult


class LmEvalTasks(ExternalTasks):
    """Tasks that lm_eval runs: it writes prompts and scores answers, our model gives them."""

    source = names.PREFIX
    packages = ("lm-eval",)

    def __init__(self, plan: LmEvalPlan) -> None:
        self._plan = plan
        self.tasks = plan.tasks
        self.chosen = plan.chosen

    def pending(self, counts: Mapping[str, int], run: Path) -> list[str]:
        return pending_tasks(self._plan, counts, run)

    def run(
        self,
        names: Sequence[str],
        counts: Mapping[str, int],
        model: Model,
        seed: int,
        run: Run,
        progress: Progress,
    ) -> None:
        run_tasks(self._plan, names, counts, model, seed, run, progress)

    def results(self, run: Path) -> dict[str, TaskResult]:
        return task_results(run, self.tasks)

    def aggregates(self, run: Path) -> dict[str, AggregateResult]:
        return group_results(self._plan, run)


class LmEvalSource(TaskSource):
    """Tasks, groups and tags of lm_eval, and those of YAML files in included folders."""

    title: ClassVar[str] = "lm-evaluation-harness"

    def holds_tasks(self, folder: Path) -> bool:
        return names.has_tasks(folder)

    def entries(self, include: Sequence[Path]) -> Iterable[ListedTask]:
        return [ListedTask(name, *entry) for name, entry in sorted(names.index(include).items())]

    def find(self, name: str, include: Sequence[Path]) -> ListedTask:
        return ListedTask(name, *names.find(name, names.index(include)))

    def plan(self, request: SourceRequest) -> ExternalTasks:
        return LmEvalTasks(plan_tasks(request))
