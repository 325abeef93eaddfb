"""Pipeline of one sample: request -> response -> checked -> scored -> recorded.

It is asynchronous, with a bounded queue between generation and scoring: the two overlap, and neither
gets far ahead of the other.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from eval_anything.content import Record, Response, Sample, Score, TextPart
from eval_anything.errors import EvalError, InfrastructureError, ServerError, UserError
from eval_anything.evaluation.batches import Batch
from eval_anything.judges.assemble import TaskScorers, awaits_a_judge
from eval_anything.judges.canaries import SAMPLES, canaries
from eval_anything.judges.scorer import Scorer, score_response
from eval_anything.media import MediaStore
from eval_anything.models.base import Model, Request, Sampling, failure_of
from eval_anything.models.checked import checked, kept, with_answer_texts
from eval_anything.models.turns import converse, messages_before
from eval_anything.runs.directory import Run, read_run
from eval_anything.servers.trial import EarlyRefusalError, Held
from eval_anything.tasks.task import Task
from eval_anything.tasks.where import inputs_of, outputs_of

# Scoring mostly waits for judge models; the number of threads limits programs.
_SCORING_AT_ONCE = 64


# After this many failures of servers without a success between them, the run stops.
_SERVER_ERRORS_IN_A_ROW = 20


T = TypeVar("T")


class Answered(NamedTuple):
    """A response to be scored: by all scorers of its task, or, if `earlier` is its record, by those
    judges that came to the run after it (`judges`)."""

    request: Request
    response: Response
    earlier: Record | None = None
    judges: Sequence[Scorer] = ()


class Failed(NamedTuple):
    """A request that a server failed, or with a medium that cannot be read; with an answer it is the
    judge's server that failed."""

    request: Request
    answered: Answered | None
    error: InfrastructureError


class Pending:
    """Samples that are pending because a server failed or a medium of theirs cannot be read, with the
    reason of each, and the error that stops the run, if any.

    Attributes:
        samples: the reason by task and sample id.
        failed: the requests behind them, which `--skip-failing` may give up.
        canaries: the reason of each pending canary.
        error: the error that stops the run.
        alive: asks whether the model's server answers another request, before many failures in a row
            stop the run; None: they stop it at once.
    """

    def __init__(self, alive: Callable[[], Awaitable[bool]] | None = None) -> None:
        self.samples: dict[tuple[str, str], str] = {}
        self.failed: list[Failed] = []
        self.canaries: list[str] = []
        self.error: EvalError | None = None
        self.alive = alive
        self._in_a_row = 0
        self._lock = asyncio.Lock()

    @property
    def count(self) -> int:
        """Number of pending samples."""
        return len(self.samples)

    @property
    def reason(self) -> str:
        """The first reason of a sample."""
        return next(iter(self.samples.values()), "")

    def add(self, task: str, sample_ids: Iterable[str], error: InfrastructureError) -> None:
        """Adds pending samples of a task."""
        for sample_id in sample_ids:
            self.samples.setdefault((task, sample_id), str(error))

    async def failed_all(
        self, requests: Iterable[Request], error: ServerError, answered: Answered | None = None
    ) -> None:
        """Adds the samples of failed requests; many failures in a row stop the run."""
        for request in requests:
            self.add(request.task, [request.sample_id], error)
            self.failed.append(Failed(request, answered, error))
        self._in_a_row += 1
        async with self._lock:
            if self._in_a_row < _SERVER_ERRORS_IN_A_ROW or self.error is not None:
                return
            if self.alive is not None and answered is None and await self.alive():
                self._in_a_row = 0
            else:
                self.stop(error)

    def unreadable(self, request: Request, reason: str) -> None:
        """Adds the sample of a request with a medium that cannot be read."""
        error = InfrastructureError(f"its question cannot be read: {reason}")
        self.add(request.task, [request.sample_id], error)
        self.failed.append(Failed(request, None, error))

    def stop(self, error: EvalError) -> None:
        """Stops the run: no new batch begins, and the first such error is raised at the end."""
        self.error = self.error or error

    def went_well(self) -> None:
        """Notes that a sample was recorded."""
        self._in_a_row = 0

    def decided(self, held: Held[T]) -> list[tuple[T, EarlyRefusalError]]:
        """Work that was held, to go on with; none if the run stops, also because all was refused."""
        try:
            return held.decide() if self.error is None else []
        except EarlyRefusalError as error:
            self.stop(error)
            return []


async def run_batches(
    batches: Iterable[Batch],
    model: Model,
    tasks: Mapping[str, Task],
    scorers: Mapping[str, TaskScorers],
    run: Run,
    on_record: Callable[[Record], None],
    pending: Pending | None = None,
    unjudged: Sequence[Answered] = (),
) -> Pending:
    """Answers, scores and records all batches; samples for which a server failed are left pending.
    Before them come answers on record that lack the scores of a judge (`unjudged`).

    Any other EvalError stops the run, and so do many failures of servers in a row: no new batch begins,
    batches in progress are still recorded, then the error is raised. What a server refuses before it has
    accepted a request is held until all others are done.
    """
    upcoming = iter(batches)
    pending = Pending() if pending is None else pending
    answered: asyncio.Queue[Answered] = asyncio.Queue(2 * model.batch_size + 2)
    refused: Held[Batch] = Held()
    held: Held[Answered] = Held()

    async def score_all() -> None:
        while True:
            work = await answered.get()
            task = work.request.task
            try:
                record = await make_record(work, tasks[task], scorers[task])
                run.append(task, record)
                pending.went_well()
                on_record(record)
            except EarlyRefusalError as error:
                held.add(work, error)
            except ServerError as error:
                await pending.failed_all([work.request], error, work)
            except EvalError as error:
                pending.stop(error)
            finally:
                answered.task_done()

    async def answer(remaining: Iterator[Batch]) -> None:
        async with asyncio.TaskGroup() as generating:
            for _ in range(model.concurrency):
                generating.create_task(
                    _answer_all(remaining, model, tasks, run.store, answered, pending, refused)
                )

    async def all_done() -> None:
        for work in unjudged:
            if pending.error is None:
                await answered.put(work)
        await answer(upcoming)
        await answer(iter(await _fail_single(pending.decided(refused), answered)))
        await answered.join()
        while judged_again := pending.decided(held):
            for work, _ in judged_again:
                await answered.put(work)
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


async def _fail_single(
    refused: Sequence[tuple[Batch, EarlyRefusalError]],
    answered: asyncio.Queue[Answered],
) -> list[Batch]:
    """Fails the requests that were refused alone; returns the larger batches, to be asked again."""
    for batch, error in refused:
        if len(batch.requests) == 1:
            await answered.put(Answered(batch.requests[0], Response(error=error.failure)))
    return [batch for batch, _ in refused if len(batch.requests) > 1]


async def run_canaries(
    tasks: Mapping[str, Task],
    scorers: Mapping[str, TaskScorers],
    run: Run,
    pending: Pending,
    part: tuple[int, int] | None = None,
) -> None:
    """Scores and records the canaries, with every available judge that is a model, supports canaries and
    has not scored them yet. Part i of n scores those of every n-th sample that has any."""
    number, count = part or (1, 1)
    counter = itertools.count()

    async def score_canary(
        task: Task,
        judges: Sequence[Scorer],
        sample: Sample,
        name: str,
        canary: Response,
        earlier: Record | None,
    ) -> None:
        request = Request(task.name, name, 0, task.messages(sample), Sampling())
        missing = list(judges) if earlier is None else await missing_judges(judges, sample, earlier)
        if not missing:
            return
        try:
            scores = await score_response(missing, sample, canary)
        except ServerError as error:
            pending.canaries.append(str(error))
            return
        if earlier is None:
            record = _record(request, canary, task, sample, scores)
        else:
            names = tuple(judge.name for judge in missing)
            record = msgspec.structs.replace(earlier, scores=earlier.scores | scores, judged=names)
        run.append(task.name, record, "canaries")

    try:
        async with asyncio.TaskGroup() as group:
            for name, task in tasks.items():
                judges = [s for s in scorers[name].scorers if s.judged and s.available and s.canaries]
                recorded = {r.sample_id: r for r in read_run(run.path, name, "canaries")}
                for sample in task.samples[:SAMPLES] if judges else ():
                    if next(counter) % count != number - 1:
                        continue
                    for canary, response in canaries(sample, run.store):
                        key = f"{canary}:{sample.id}"
                        group.create_task(
                            score_canary(task, judges, sample, key, response, recorded.get(key))
                        )
    except* Exception as errors:
        raise _first(errors) from None


async def _answer_all(
    batches: Iterator[Batch],
    model: Model,
    tasks: Mapping[str, Task],
    store: MediaStore,
    answered: asyncio.Queue[Answered],
    pending: Pending,
    refused: Held[Batch],
) -> None:
    async def ask(requests: list[Request]) -> list[Response]:
        return await answers_of(model, requests, store)

    for batch in batches:
        if pending.error is not None:
            return
        samples = {(r.task, r.sample_id): tasks[r.task].by_id[r.sample_id] for r in batch.requests}
        try:
            answers = await converse(batch.requests, samples, ask, checked)
        except EarlyRefusalError as error:
            refused.add(batch, error)
        except ServerError as error:
            await pending.failed_all([r for r in batch.requests if r.key in batch.pending], error)
        except EvalError as error:
            pending.stop(error)
        else:
            for request, response in answers:
                if request.key not in batch.pending:
                    continue
                if response.error is not None and response.error.kind == "unreadable_input":
                    pending.unreadable(request, response.error.message)
                else:
                    await answered.put(Answered(request, response))


async def answers_of(model: Model, requests: list[Request], store: MediaStore) -> list[Response]:
    """One response per request. An exception becomes a failure of the request that causes it: the
    requests of the batch are then sent one by one. Texts follow the rule of `answer_text`; saved ones
    stay as they are."""
    try:
        answers = await model.generate(requests, store)
        if [type(answer) for answer in answers] != [Response] * len(requests):
            types = ", ".join(sorted({type(answer).__name__ for answer in answers}))
            raise UserError(
                f"{type(model).__name__}.generate was asked for {len(requests)} Responses and returned "
                f"{len(answers)} ({types}): it must return one a request, in order"
            )
        if not model.saved_answers:
            answers = [with_answer_texts(answer) for answer in answers]
        return [kept(answer, store) for answer in answers]
    except EvalError:
        raise
    except Exception as error:
        if len(requests) > 1:
            return [(await answers_of(model, [request], store))[0] for request in requests]
        return [Response(error=failure_of(error))]


async def make_record(
    work: Answered, task: Task, scorers: TaskScorers, forgiving: bool = False
) -> Record:
    """The record of a response with the scores of the judges that are to score it; errors as in
    `score_response`."""
    if work.earlier is not None:
        return await _judged_later(work, work.earlier, task, scorers, forgiving)
    return await _scored(work.request, work.response, task, scorers, forgiving)


async def _scored(
    request: Request, response: Response, task: Task, scorers: TaskScorers, forgiving: bool
) -> Record:
    """The record of a response: checked, and scored by all judges of its task."""
    if all(isinstance(part, TextPart) for part in response.parts):
        response = checked(response)
    else:  # reading media takes a while
        response = await asyncio.to_thread(checked, response)
    sample = task.by_id[request.sample_id]
    last_turn = sample
    if sample.turns:  # without what stands in front of the task's own messages
        messages = messages_before(sample, response.turns)
        last_turn = msgspec.structs.replace(sample, messages=messages)
    scores = await score_response(scorers.scorers, last_turn, response, forgiving)
    return _record(request, response, task, sample, scores)


async def missing_judges(
    judges: Sequence[Scorer], sample: Sample, record: Record, retry: bool = False
) -> list[Scorer]:
    """Judges that apply to the sample and whose scores the record lacks, with `retry` also those whose
    model gave no verdict."""
    missing = []
    for judge in judges:
        scores = [score for score in record.scores.values() if score.judge == judge.name]
        awaited = any(map(awaits_a_judge, scores))
        failed = retry and judge.judged and any(score.value is None for score in scores)
        if awaited or failed or (not scores and await judge.score(sample, Response())):
            missing.append(judge)
    return missing


async def _judged_later(
    work: Answered, earlier: Record, task: Task, scorers: TaskScorers, forgiving: bool
) -> Record:
    """The earlier record of an answer with the scores of the judges that it lacks."""
    sample = task.by_id[work.request.sample_id]
    if sample.turns:
        sample = msgspec.structs.replace(sample, messages=messages_before(sample, work.response.turns))
    names = tuple(judge.name for judge in work.judges)
    scores = {metric: s for metric, s in earlier.scores.items() if s.judge not in names}
    scores |= await score_response(work.judges, sample, work.response, forgiving)
    in_order = {metric: scores[metric] for metric in [*scorers.metrics, *scores] if metric in scores}
    return msgspec.structs.replace(earlier, scores=in_order, judged=names)


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
        inputs=tuple(inputs_of(sample)),
        outputs=tuple(outputs_of(sample)),
    )


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
