"""Responses of models and judgements of judges, collected by the evaluation's pipeline into a run
directory.

The pipeline works in batches, loses at most one batch when it is killed, and leaves responses that a
server could not give for the next call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from align_plugins.data.rows import Prompt
from eval_anything.content import ANYTHING, MODALITIES, Part, Record, Response, Sample
from eval_anything.errors import ServerError, UserError
from eval_anything.evaluation.batches import PlannedBatches, Unfinished
from eval_anything.evaluation.evaluate import load_model
from eval_anything.evaluation.layers import RunSampling
from eval_anything.evaluation.pipeline import run_batches
from eval_anything.judges.assemble import TaskScorers, make_judge
from eval_anything.judges.folder import find_judges, judge_named
from eval_anything.judges.scorer import Scorer
from eval_anything.media import MediaStore
from eval_anything.models.base import Model, Request, Sampling
from eval_anything.models.replay.model import stored
from eval_anything.output.progress import Progress
from eval_anything.runs.directory import FORMAT, RunFile, open_run, read_outlines, read_run
from eval_anything.servers.prices import Spending
from eval_anything.tasks.samples import ListedSamples
from eval_anything.tasks.task import Task, TaskFile, TaskFolder


class SavedResponses(Model):
    """A model that returns given responses, for judges to score."""

    name = spec = "saved"
    arguments: Mapping[str, str] = {}
    batch_size = 64

    def __init__(self, responses: Mapping[str, Sequence[Part]]) -> None:
        self._responses = responses

    @classmethod
    def from_spec(cls, spec: str, reference: str | Path, arguments: Mapping[str, str]) -> Model:
        """Raises UserError: the responses come from Python and have no SPEC."""
        raise UserError(f"{spec}: answers that are there already have no name to be asked by")

    def weights(self) -> str:
        """Empty: there are no weights."""
        return ""

    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        """The stored response to each request."""
        return [Response(stored(self._responses[r.sample_id], store)) for r in requests]


def task_of(name: str, rows: Sequence[Prompt]) -> Task:
    """Task made of the prompts of rows. Responses may have any modality; it has no scorers."""
    samples = tuple(Sample(row.id, row.messages, ANYTHING, source_id=row.source_id) for row in rows)
    file = TaskFile(
        version=1,
        title=name,
        description="",
        licence="",
        inputs=[],
        outputs=list(MODALITIES),
        primary="",
    )
    return Task(TaskFolder(f"feedback/{name}", Path(), False), file, ListedSamples(samples), None)


def ask(
    task: Task,
    model: Model,
    folder: Path,
    sampling: Sampling,
    progress: Progress,
    scorers: Sequence[Scorer] = (),
) -> dict[str, Record]:
    """Records by sample id: the model's response, and the scores that `scorers` give it.

    Resumes a run that is in `folder`. ServerError if a server left some prompts without a response; the
    next call asks for those only.
    """
    spending = model.spending = Spending()
    for scorer in scorers:
        scorer.spending = spending
    with open_run(folder, lambda old: _run_file(task, model, sampling, old)) as run:
        completed = {(r.sample_id, r.repeat) for r in read_outlines(run.path, task.name)}
        requested = {task.name: (task, task.samples)}
        planned = PlannedBatches(requested, 1, RunSampling(sampling), model.batch_size)
        batches = Unfinished(planned, {task.name: completed})
        if batches.count:
            load_model(model)

        async def work() -> None:
            try:
                by_name = {task.name: TaskScorers(list(scorers), None)}
                unanswered = await run_batches(batches, model, {task.name: task}, by_name, run, advance)
                if unanswered.count:
                    raise ServerError(
                        f"{task.name}: {unanswered.count} answers wait for a server "
                        f"({unanswered.reason}): the same command goes on with them"
                    )
            finally:
                await model.close()
                for scorer in scorers:
                    await scorer.close()

        with progress.bar(batches.count) as advance:
            asyncio.run(work())
        run.save(status="done")
    return {record.sample_id: record for record in read_run(folder, task.name)}


def _run_file(task: Task, model: Model, sampling: Sampling, old: RunFile | None) -> RunFile:
    """run.json; the folder's name is a hash of all that decides the run, so an old one is the same."""
    if old is not None:
        return old
    return RunFile(
        format=FORMAT,
        model=model.name,
        spec=model.spec,
        weights=model.weights(),
        arguments=dict(model.arguments),
        sampling=sampling.recorded(),
        seed=sampling.seed,
        repeats=1,
        tasks=[task.name],
        counts={task.name: len(task.samples)},
        fingerprints={task.name: task.parts_of_fingerprint},
        versions={},
        command=[],
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        status="running",
    )


def judge_of(judge_option: str, include: Sequence[str], allow_code: bool) -> Scorer:
    """Judge of a NAME or NAME=SPEC. UserError if there is none, or if it needs a model."""
    name, _, spec = judge_option.partition("=")
    folder = judge_named(name, find_judges([Path(path) for path in include]))
    scorer = make_judge(folder, allow_code, spec or None)
    if not scorer.available:
        raise UserError(f"judge {name} needs a model: write {name}=SPEC")
    return scorer
