"""Runs tasks of lm_eval with lm_eval's own code, and writes its results into the run.

    <run>/lm_eval/<task>/answers.jsonl   every answer of the model, written at once
    <run>/lm_eval/<task>/records.jsonl   one record for each document, written when the task is finished
    <run>/lm_eval/<task>/lm_eval.json    lm_eval's numbers: a task that has it is finished

A stopped run resumes: lm_eval builds the requests again, and those with an answer are not sent again.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from eval_anything.content import Latency, Record, TextPart, Usage
from eval_anything.errors import EvalError, UserError
from eval_anything.evaluation.external import ExternalTasks
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.lm_eval.metrics import document_score, metric_name, summaries
from eval_anything.lm_eval.names import PREFIX
from eval_anything.lm_eval.quiet import quiet
from eval_anything.lm_eval.request_log import Answers
from eval_anything.lm_eval.results import SUMMARY, Numbers, Summary, group_results, task_results
from eval_anything.lm_eval.tasks import LmEvalPlan, LmEvalTask
from eval_anything.models.base import Model
from eval_anything.output.progress import Progress
from eval_anything.runs.directory import Run, read_run
from eval_anything.runs.results_file import AggregateResult, TaskResult

# The seeds of lm_eval's `simple_evaluate`: they choose its few-shot examples, not the seed of the run.
_SEED, _OTHER_SEED = 0, 1234


class LmEvalTasks(ExternalTasks):
    """Tasks that lm_eval runs: it writes the prompts and scores the answers of our model."""

    source = PREFIX
    packages = ("lm-eval",)

    def __init__(self, plan: LmEvalPlan) -> None:
        self._plan = plan
        self.tasks = plan.tasks
        self.chosen = plan.chosen

    def pending(self, counts: Mapping[str, int], run: Path) -> list[str]:
        """Tasks that are not finished, or have fewer than `counts` samples."""
        finished = task_results(run, self.tasks)
        return [n for n in self.tasks if n not in finished or finished[n].samples < counts[n]]

    def run(
        self,
        names: Sequence[str],
        counts: Mapping[str, int],
        model: Model,
        seed: int,
        run: Run,
        progress: Progress,
    ) -> None:
        """Runs these tasks one after another, each with the first `counts` documents."""
        from eval_anything.lm_eval.lm import EvalAnythingLM

        lm = EvalAnythingLM(model, seed=seed, store=run.store, progress=progress)
        try:
            for name in names:
                progress.say(f"{name}: {counts[name]} documents, by lm_eval")
                lm.answers = Answers(run.path / name / "answers.jsonl")
                if lm.answers.has_any():
                    model.answered_before()
                try:
                    _run_task(name, self._plan, counts[name], lm, run)
                finally:
                    lm.answers.close()
        finally:
            lm.close()

    def results(self, run: Path) -> dict[str, TaskResult]:
        """Entries of results.json for the tasks that are finished."""
        return task_results(run, self.tasks)

    def aggregates(self, run: Path) -> dict[str, AggregateResult]:
        """Numbers of the groups whose tasks are all finished."""
        return group_results(self._plan, run)


def _run_task(name: str, plan: LmEvalPlan, count: int, lm: Any, run: Run) -> None:
    task = plan.tasks[name]
    short = task.wrapped.config.task
    results = _evaluated(name, task, count, lm, plan)
    documents: dict[int, list[dict[str, Any]]] = {}
    for sample in results["samples"][short]:
        documents.setdefault(sample["doc_id"], []).append(sample)
    recorded_ids = {record.sample_id for record in read_run(run.path, name)}
    records = [_record(task, short, number, logged, lm) for number, logged in sorted(documents.items())]
    for record in records:
        if record.sample_id not in recorded_ids:
            run.append(name, record)
    metrics = summaries(task.wrapped, results["results"][short], documents, records)
    primary = task.file.primary
    summary = Summary(
        primary=primary if primary in metrics else next(iter(metrics)),
        metrics=metrics,
        samples=len(records),
        failed=sum(record.error is not None for record in records),
        lm_eval=Numbers(
            results=_plain(results["results"][short]),
            num_fewshot=results["n-shot"].get(short),
            version=results["versions"].get(short),
        ),
    )
    write_atomically(run.path / name / SUMMARY, pretty_json(summary))


def _evaluated(name: str, task: LmEvalTask, count: int, lm: Any, plan: LmEvalPlan) -> Any:
    """Results of lm_eval's `evaluate`. UserError for an error of lm_eval or of the task's code."""
    from lm_eval.evaluator import evaluate

    options = _apply(plan.options, task.wrapped)
    try:
        with quiet(name):
            return evaluate(
                lm,
                {task.wrapped.config.task: task.wrapped},
                limit=count,
                confirm_run_unsafe_code=plan.allow_code,
                **options,
            )
    except EvalError:
        raise
    except Exception as error:
        raise UserError(f"{name}: lm_eval fails on it: {type(error).__name__}: {error}") from error


def _apply(options: Mapping[str, Any], task: Any) -> dict[str, Any]:
    """Applies options to a task and sets the seeds, like lm_eval's `simple_evaluate`; the remaining
    options are for `evaluate`."""
    import numpy as np
    import torch

    random.seed(_SEED)
    np.random.seed(_OTHER_SEED)
    torch.manual_seed(_OTHER_SEED)
    remaining = dict(options)
    shots = remaining.pop("num_fewshot", None)
    kwargs = remaining.pop("gen_kwargs", None)
    if kwargs and task.get_config("output_type") == "generate_until":
        task.set_config(key="generation_kwargs", value=kwargs, update=True)
    configured = task.get_config("num_fewshot")
    if configured is None or (shots is not None and configured != 0):
        task.set_config(key="num_fewshot", value=shots or 0)
    task.set_fewshot_seed(seed=_OTHER_SEED)
    return {"fewshot_as_multiturn": True, **remaining}


def _record(
    task: LmEvalTask, short: str, number: int, logged: Sequence[dict[str, Any]], lm: Any
) -> Record:
    """Record of one document; `logged` are the samples that lm_eval logged, one for each filter."""
    sample = task.samples[number]
    scores = {
        metric_name(metric, entry["filter"]): document_score(task.wrapped, metric, entry[metric])
        for entry in logged
        for metric in entry.get("metrics", ())
    }
    answers = [answer for answers in logged[0]["resps"] for answer in answers]
    return Record(
        sample_id=sample.id,
        repeat=0,
        item=task.item(sample),
        source_id=sample.source_id,
        parts=_parts(logged[0]),
        order_known=True,
        stop_reason=None,
        scores=scores,
        error=lm.failures.get((short, number)),
        usage=lm.usage.get((short, number), Usage()),
        latency=Latency(),
        details={
            "target": str(logged[0]["target"]),
            "answers": _plain(answers),
            "filtered": _plain({entry["filter"]: entry["filtered_resps"] for entry in logged}),
        },
    )


def _plain(value: Any) -> Any:
    """A value of lm_eval, which may contain numbers of numpy, as JSON types."""
    return msgspec.to_builtins(value, enc_hook=lambda v: v.item() if hasattr(v, "item") else str(v))


def _parts(logged: Mapping[str, Any]) -> tuple[TextPart, ...]:
    """Parts of the model's answer: its text, or the continuation with the highest likelihood."""
    answers, arguments = logged["resps"], logged["arguments"]
    first = answers[0][0]
    if isinstance(first, str):
        return (TextPart(first),) if first else ()
    if len(arguments) < 2 or not isinstance(first, tuple):
        return ()
    best = max(range(len(answers)), key=lambda i: answers[i][0][0])
    return (TextPart(str(arguments[best][1]).strip()),)
