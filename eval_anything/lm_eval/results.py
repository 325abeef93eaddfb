"""Results of tasks of lm_eval, read from the run; without importing lm_eval, but for groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from eval_anything.errors import UserError
from eval_anything.files.json_text import decode_strict
from eval_anything.files.reading import MAX_DOCUMENT, read_file
from eval_anything.lm_eval import names
from eval_anything.lm_eval.metrics import ends_of, metric_name, numbers_of
from eval_anything.lm_eval.quiet import quiet
from eval_anything.runs.results_file import AggregateResult, TaskResult

if TYPE_CHECKING:
    from eval_anything.lm_eval.tasks import LmEvalPlan


SUMMARY = "lm_eval.json"


class Numbers(Struct, frozen=True):
    """lm_eval's own results of a task: its row of numbers (`acc,none`, `acc_stderr,none`), the number of
    examples in a prompt, the version of the task."""

    results: dict[str, Any]
    num_fewshot: Any
    version: Any


class Summary(TaskResult, frozen=True, kw_only=True):
    """lm_eval.json: the task's entry of results.json, and the numbers of lm_eval behind it."""

    lm_eval: Numbers


S = TypeVar("S", bound=TaskResult)


def read_summary(run: Path, task: str, type_: type[S]) -> S | None:
    """Reads lm_eval.json of a task as a type with some of its fields; None if the task is not finished.

    UserError if the file is damaged.
    """
    path = run / task / SUMMARY
    try:
        return decode_strict(read_file(path, MAX_DOCUMENT), type_)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise UserError(f"{path} is damaged ({error}): delete it and run the task again") from None


def task_results(run: Path, tasks: Iterable[str]) -> dict[str, TaskResult]:
    """Entries of results.json for the tasks that are finished."""
    summaries = {task: read_summary(run, task, TaskResult) for task in tasks}
    return {task: summary for task, summary in summaries.items() if summary is not None}


def group_results(plan: LmEvalPlan, run: Path) -> dict[str, AggregateResult]:
    """Numbers of the groups, such as mmlu, whose tasks are all finished; aggregated by lm_eval."""
    rows = {}
    for task in plan.tasks:
        summary = read_summary(run, task, Summary)
        if summary is not None:
            rows[task.removeprefix(f"{names.PREFIX}/")] = summary.lm_eval.results
    aggregates: dict[str, AggregateResult] = {}
    for group in plan.groups:
        if all(task.task_name in rows for task in group.get_all_tasks()):
            with quiet():
                aggregates |= _numbers(f"{names.PREFIX}/{group.name}", group.aggregate(rows))
    return aggregates


def _numbers(name: str, row: Mapping[str, Any]) -> dict[str, AggregateResult]:
    aggregates: dict[str, AggregateResult] = {}
    for metric, filter_, estimate, stderr in numbers_of(row):
        spread = float(stderr) if isinstance(stderr, Real) else None
        n = int(row.get("sample_len", 2))
        ends = ends_of(metric, float(estimate), spread, n, n - 1)
        aggregates[f"{name}:{metric_name(metric, filter_)}"] = AggregateResult(
            value=float(estimate), stderr=spread, ci95=ends
        )
    return aggregates
