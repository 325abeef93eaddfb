"""The way of one sample: request -> response -> checked -> scored -> recorded.

One asyncio pipeline with a bounded queue in the middle, so that scoring overlaps generation and
neither runs away from the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from eval_anything.content import Failure, Record, Response, Sample, Score, TextPart
from eval_anything.errors import EvalError, ServerError, UserError
from eval_anything.judges.assemble import TaskScorers
from eval_anything.judges.canaries import SAMPLES, canaries
from eval_anything.judges.scorer import Scorer, score_response
from eval_anything.media import MediaError, MediaStore
from eval_anything.models.base import Model, Request, Sampling
from eval_anything.models.checked import checked
from eval_anything.models.turns import converse
from eval_anything.runs.directory import Run, read_run
from eval_anything.tasks.task import Task

# Batches are sorted by length inside windows of this many batches of the file's order.
_WINDOW = 16


# Scoring waits for judge models most of the time; programs are bounded by the threads there are.
_SCORING_AT_ONCE = 64


# After this many failures of a server without one success, the rest is not tried.
_SERVER_ERRORS_IN_A_ROW = 20


Key = tuple[str, str, int]  # task, sample id, repeat


class Batch(NamedTuple):
    """Requests that go to the model together; those already on record are not recorded again."""

    requests: list[Request]
    pending: frozenset[Key]


class Pending:
    """How many samples wait for a server that failed, and why; and what stops the run, if anything."""

    def __init__(self) -> None:
        self.count = 0
        self.reason = ""
        self.error: EvalError | None = None
        self._in_a_row = 0

    def add(self, samples: int, error: ServerError) -> None:
        """Counts them; stops if nothing has gone well for a while."""
        self.count += samples
        self.reason = self.reason or str(error)
        self._in_a_row += 1
        if self._in_a_row >= _SERVER_ERRORS_IN_A_ROW:
            self.stop(error)

    def stop(self, error: EvalError) -> None:
        """Nothing new is begun; the first error is the one that is raised in the end."""
        self.error = self.error or error

    def went_well(self) -> None:
        """A sample was recorded."""
        self._in_a_row = 0


def plan(
    tasks: Mapping[str, tuple[Task, int]],
    repeats: int,
    sampling: Sampling,
    batch_size: int,
    done: Mapping[str, set[tuple[str, int]]],
) -> list[Batch]:
    """The batches of a run. `tasks` holds each task with how many of its samples are wanted.

    Which requests share a batch depends on the whole plan, not on what is done: a run that goes on
    repeats an interrupted batch as it was, so its floating-point sums, and answers, are the same.
    """
    batches = []
    for name, (task, count) in tasks.items():
        requests = [
            Request(name, sample.id, repeat, task.messages(sample), sampling)
            for repeat in range(repeats)
            for sample in task.samples[:count]
        ]
        window = batch_size * _WINDOW
        for start in range(0, len(requests), window):
            ordered = sorted(requests[start : start + window], key=_length, reverse=True)
            for at in range(0, len(ordered), batch_size):
                batch = ordered[at : at + batch_size]
                pending = frozenset(
                    r.key for r in batch if (r.sample_id, r.repeat) not in done.get(name, ())
                )
                if pending:
                    batches.append(Batch(batch, pending))
    return batches


def _length(request: Request) -> int:
    """A rough length, so that a batch has little padding: media count as 100 characters."""
    parts = (part for message in request.messages for part in message.parts)
    return sum(len(p.text) if isinstance(p, TextPart) else 100 for p in parts)


async def run_batches(
    batches: Sequence[Batch],
    model: Model,
    tasks: Mapping[str, Task],
    scorers: Mapping[str, TaskScorers],
    run: Run,
    on_record: Callable[[Record], None],
) -> Pending:
    """Answers, scores and records all batches; what a server failed to do is left pending.

    Any other EvalError stops it, and so does a server that fails again and again: nothing new is
    asked, what is under way is still recorded, then the error is raised.
    """
    todo = iter(batches)
    pending = Pending()
    answered: asyncio.Queue[tuple[Request, Response]] = asyncio.Queue(2 * model.batch_size + 2)

    async def score_all() -> None:
        while True:
            request, response = await answered.get()
            try:
                record = await _scored(request, response, tasks[request.task], scorers[request.task])
                run.append(request.task, record)
                pending.went_well()
                on_record(record)
            except ServerError as error:
                pending.add(1, error)
            except EvalError as error:
                pending.stop(error)
            finally:
                answered.task_done()

    async def all_done() -> None:
        async with asyncio.TaskGroup() as generating:
            for _ in range(model.concurrency):
                generating.create_task(_answer_all(todo, model, tasks, run.store, answered, pending))
        await answered.join()
        for worker in scoring:
            worker.cancel()

    try:
        async with asyncio.TaskGroup() as group:
            scoring = [group.create_task(score_all()) for _ in range(_SCORING_AT_ONCE)]
            group.create_task(all_done())
    except* Exception as errors:
        raise _first(errors) from None
    if pending.error is not None:
        raise pending.error
    return pending


async def run_canaries(
    tasks: Mapping[str, Task],
    scorers: Mapping[str, TaskScorers],
    run: Run,
    pending: Pending,
) -> None:
    """Scores the canaries that are not on record yet, by every judge with a model behind it for which
    canaries have a meaning."""

    async def one(
        task: Task, judges: Sequence[Scorer], name: str, sample: Sample, canary: Response
    ) -> None:
        try:
            scores = await score_response(judges, sample, canary)
        except ServerError as error:
            pending.add(1, error)
        else:
            request = Request(task.name, f"{name}:{sample.id}", 0, task.messages(sample), Sampling())
            run.append(task.name, _record(request, canary, task, sample, scores), "canaries")

    try:
        async with asyncio.TaskGroup() as group:
            for name, task in tasks.items():
                judges = [s for s in scorers[name].scorers if s.judged and s.available and s.canaries]
                done = {r.sample_id for r in read_run(run.path, name, "canaries")} if judges else set()
                for sample in task.samples[:SAMPLES] if judges else ():
                    for canary, response in canaries(sample, run.store):
                        if f"{canary}:{sample.id}" not in done:
                            group.create_task(one(task, judges, canary, sample, response))
    except* Exception as errors:
        raise _first(errors) from None


async def _answer_all(
    todo: Iterator[Batch],
    model: Model,
    tasks: Mapping[str, Task],
    store: MediaStore,
    answered: asyncio.Queue[tuple[Request, Response]],
    pending: Pending,
) -> None:
    async def ask(requests: list[Request]) -> list[Response]:
        return await _answers(model, requests, store)

    for batch in todo:
        if pending.error is not None:
            return
        samples = {(r.task, r.sample_id): tasks[r.task].by_id[r.sample_id] for r in batch.requests}
        try:
            answers = await converse(batch.requests, samples, ask, checked)
        except ServerError as error:
            pending.add(len(batch.pending), error)
        except EvalError as error:
            pending.stop(error)
        else:
            for request, response in answers:
                if request.key in batch.pending:
                    await answered.put((request, response))


async def _answers(model: Model, requests: list[Request], store: MediaStore) -> list[Response]:
    """One response a request; an exception is the failure of the one request that causes it."""
    try:
        answers = await model.generate(requests, store)
        if [type(answer) for answer in answers] != [Response] * len(requests):
            types = ", ".join(sorted({type(answer).__name__ for answer in answers}))
            raise UserError(
                f"{type(model).__name__}.generate was asked for {len(requests)} Responses and returned "
                f"{len(answers)} ({types}): it must return one a request, in order"
            )
        return [_kept(answer, store) for answer in answers]
    except EvalError:
        raise
    except Exception as error:
        if len(requests) > 1:
            return [(await _answers(model, [request], store))[0] for request in requests]
        return [Response(error=Failure("model_error", f"{type(error).__name__}: {error}"))]


def _kept(response: Response, store: MediaStore) -> Response:
    """The response with all its media in the store; a model may answer with files that lie elsewhere."""
    try:
        parts = tuple(p if isinstance(p, TextPart) else store.keep(p) for p in response.parts)
    except MediaError as error:
        return Response(error=Failure("invalid_output", str(error)))
    return response if parts == response.parts else msgspec.structs.replace(response, parts=parts)


async def _scored(request: Request, response: Response, task: Task, scorers: TaskScorers) -> Record:
    if all(isinstance(part, TextPart) for part in response.parts):
        response = checked(response)
    else:  # reading media takes a while
        response = await asyncio.to_thread(checked, response)
    sample = task.by_id[request.sample_id]
    asked = msgspec.structs.replace(sample, messages=request.messages) if sample.turns else sample
    scores = await score_response(scorers.scorers, asked, response)
    return _record(request, response, task, sample, scores)


def _record(
    request: Request, response: Response, task: Task, sample: Sample, scores: dict[str, Score]
) -> Record:
    return Record(
        sample_id=request.sample_id,
        repeat=request.repeat,
        item=task.item(sample),
        source_id=sample.source_id,
        parts=response.parts,
        turns=response.turns,
        order_known=response.order_known,
        stop_reason=response.stop_reason,
        scores=scores,
        error=response.error,
        usage=response.usage,
        latency=response.latency,
        details=response.details,
        groups=task.groups(sample),
    )


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
