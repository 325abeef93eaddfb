"""Samples asked again (`--retry-failed`), and samples given up that a server always fails
(`--skip-failing`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path

from eval_anything.content import Failure, Record, Response
from eval_anything.errors import EvalError
from eval_anything.evaluation.batches import request_of
from eval_anything.evaluation.layers import RunSampling
from eval_anything.evaluation.pipeline import Answered, Pending, make_record
from eval_anything.judges.assemble import TaskScorers
from eval_anything.models.base import Model, Request
from eval_anything.runs.directory import Outline, Run, read_outlines
from eval_anything.tasks.task import Task

Recorded = Mapping[str, Collection[tuple[str, int]]]
"""(sample id, repeat) on record for each task."""


def is_asked_again(outline: Outline, kind: bool | str) -> bool:
    """Whether `--retry-failed` asks for a record again: True for every failure, or one kind of them."""
    return kind is not False and outline.error is not None and kind in (True, outline.error.kind)


def liveness(
    model: Model, tasks: Mapping[str, Task], run: Run, sampling: RunSampling
) -> Callable[[], Awaitable[bool]]:
    """A function that asks the model for a sample again that it has answered in this run: False if its
    server fails, or if it never answered one."""

    async def alive() -> bool:
        request = _answered_request(tasks, run.path, sampling)
        if request is None:
            return False
        try:
            await model.generate([request], run.store)
        except EvalError:
            return False
        return True

    return alive


def _answered_request(tasks: Mapping[str, Task], run: Path, sampling: RunSampling) -> Request | None:
    """The first request of a sample that has an answer on record."""
    for name, task in tasks.items():
        for outline in read_outlines(run, name):
            if outline.error is None and outline.sample_id in task.by_id:
                sample = task.by_id[outline.sample_id]
                return request_of(task, sample, outline.repeat, sampling.of(name))
    return None


async def skip_failing(
    pending: Pending,
    tasks: Mapping[str, Task],
    scorers: Mapping[str, TaskScorers],
    run: Run,
    recorded: Recorded,
    on_record: Callable[[Record], None],
) -> None:
    """Gives up the pending samples, if the model's server answers other ones.

    A sample without an answer is recorded as `skipped`, without scores. An answer that a judge's server
    failed is recorded, unscored by that judge. A sample that is on record already keeps that record.
    """
    if not pending.failed or pending.alive is None or not await pending.alive():
        return
    failed, pending.failed = pending.failed, []
    for entry in failed:
        request = entry.request
        pending.samples.pop((request.task, request.sample_id), None)
        skipped = Answered(request, Response(error=Failure("skipped", str(entry.error))))
        work = entry.answered or skipped
        is_recorded = (request.sample_id, request.repeat) in recorded.get(request.task, ())
        if is_recorded and work.earlier is None:
            continue
        record = await make_record(work, tasks[request.task], scorers[request.task], forgiving=True)
        run.append(request.task, record)
        on_record(record)
