"""What tasks of lm_eval came to, read from the run: nothing of lm_eval is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from eval_anything.errors import UserError
from eval_anything.lm_eval import names
from eval_anything.lm_eval.metrics import ends_of, metric_name, numbers_of
from eval_anything.lm_eval.quiet import quiet
from eval_anything.runs.results_file import AggregateResult, TaskResult

if TYPE_CHECKING:
    from eval_anything.lm_eval.tasks import LmEvalPlan


SUMMARY = "lm_eval.json"


class Numbers(Struct, frozen=True):
    """lm_eval's own account of a task: its row of numbers (`acc,none`, `acc_stderr,none`), the number of
    examples in a prompt, the version of the task."""

    results: dict[str, Any]
    num_fewshot: Any
    version: Any


class Summary(TaskResult, frozen=True, kw_only=True):
    """lm_eval.json: the task's entry of results.json, and what it is made from."""

    lm_eval: Numbers


S = TypeVar("S", bound=TaskResult)


def read_summary(run: Path, task: str, type_: type[S]) -> S | None:
    """lm_eval.json of a task, or what a type takes of it; None if the task is not done."""
    path = run / task / SUMMARY
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise UserError(f"{path} is damaged ({error}): delete it, and the task is done anew") from None


def task_results(run: Path, tasks: Iterable[str]) -> dict[str, TaskResult]:
    """The entries of results.json for the tasks that are done."""
    results = {task: read_summary(run, task, TaskResult) for task in tasks}
    return {task: result for task, result in results.items() if result is not None}


def group_results(plan: LmEvalPlan, run: Path) -> dict[str, AggregateResult]:
    """The numbers of groups such as mmlu whose tasks are all done, made by lm_eval from theirs."""
    rows = {}
    for task in plan.tasks:
        summary = read_summary(run, task, Summary)
        if summary is not None:
            rows[task.removeprefix(f"{names.PREFIX}/")] = summary.lm_eval.results
    found: dict[str, AggregateResult] = {}
    for group in plan.groups:
        if all(task.task_name in rows for task in group.get_all_tasks()):
            with quiet():
                found |= _numbers(f"{names.PREFIX}/{group.name}", group.aggregate(rows))
    return found


def _numbers(name: str, row: Mapping[str, Any]) -> dict[str, AggregateResult]:
    found: dict[str, AggregateResult] = {}
    for metric, filter_, value, stderr in numbers_of(row):
        spread = float(stderr) if isinstance(stderr, Real) else None
        n = int(row.get("sample_len", 2))
        ends = ends_of(metric, float(value), spread, n, n - 1)
        found[f"{name}:{metric_name(metric, filter_)}"] = AggregateResult(
            value=float(value), stderr=spread, ci95=ends
        )
    return found
