"""The main job: one model on some tasks, into one run directory, resumed if it is there."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from eval_anything.content import Record
from eval_anything.errors import ServerError, UserError
from eval_anything.evaluation.options import Options
from eval_anything.evaluation.outcome import Outcome, make_outcome
from eval_anything.evaluation.pipeline import Batch, Pending, plan, run_batches, run_canaries
from eval_anything.evaluation.plan import Plan, make_plan
from eval_anything.files.hashing import sha256_of
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.judges.assemble import TaskScorers
from eval_anything.models.base import Model, Sampling
from eval_anything.output.progress import Progress
from eval_anything.runs.directory import FORMAT, Run, RunFile, Status, open_run, read_outlines
from eval_anything.runs.resume import differences, refuse_another
from eval_anything.servers.prices import BudgetError
from eval_anything.tasks.task import Task
from eval_anything.version import __version__


def evaluate(
    options: Options,
    progress: Progress,
    on_plan: Callable[[Plan], None] = lambda plan: None,
) -> Outcome:
    """Runs what is not on record yet and computes the results. KeyboardInterrupt leaves a run that
    can be resumed; so does every EvalError after it has begun."""
    what = make_plan(options)
    on_plan(what)
    with open_run(what.out, lambda old: _run_file(options, what, old)) as run:
        by_harness = what.harness.tasks if what.harness is not None else {}
        done = {n: {(r.sample_id, r.repeat) for r in read_outlines(run.path, n)} for n in what.tasks}
        batches = plan(
            {n: (t, what.counts[n]) for n, t in what.tasks.items() if n not in by_harness},
            what.repeats,
            Sampling(options.temperature, options.seed),
            what.model.batch_size,
            done,
        )
        todo = _by_harness(what, run)
        pending = Pending()
        if batches or todo or _judged(what.scorers):
            with _status_of(run.save):
                if batches or todo:
                    load_model(what.model)
                with progress.bar(sum(len(b.pending) for b in batches)) as advance:
                    pending = asyncio.run(_work(batches, what, run, advance))
                if todo:
                    _run_harness(todo, what, options.seed, run, progress, pending)
        outcome = make_outcome(options.max_failed, what, run.path, pending)
        write_atomically(run.path / "results.json", pretty_json(outcome.results))
        run.save(status="failed" if pending.count else "done")
        return outcome


async def _work(
    batches: Sequence[Batch], what: Plan, run: Run, advance: Callable[[Record], None]
) -> Pending:
    """All that waits for models and judges, in one event loop."""
    try:
        pending = await run_batches(batches, what.model, what.tasks, what.scorers, run, advance)
        await run_canaries(what.tasks, what.scorers, run, pending)
    finally:
        await what.model.close()
        for scorer in (s for found in what.scorers.values() for s in found.scorers):
            await scorer.close()
    return pending


def _by_harness(what: Plan, run: Run) -> list[str]:
    """The tasks that lm_eval still has to run."""
    if what.harness is None:
        return []
    from eval_anything.lm_eval.run import pending_tasks

    return pending_tasks(what.harness, what.counts, run.path)


def _run_harness(
    todo: Sequence[str], what: Plan, seed: int, run: Run, progress: Progress, pending: Pending
) -> None:
    """Runs tasks of lm_eval; those that a server kept from being done are pending."""
    from eval_anything.lm_eval.run import run_tasks

    assert what.harness is not None
    try:
        run_tasks(what.harness, todo, what.counts, what.model, seed, run, progress)
    except ServerError as error:
        done = set(todo) - set(_by_harness(what, run))
        pending.add(sum(what.counts[name] for name in todo if name not in done), error)


def _judged(scorers: Mapping[str, TaskScorers]) -> bool:
    return any(s.judged and s.available for task in scorers.values() for s in task.scorers)


def load_model(model: Model) -> None:
    """Loads the weights. UserError says why they do not load."""
    try:
        model.load()
    except UserError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"--model {model.spec} does not load: {reason}") from error


@contextlib.contextmanager
def _status_of(save: Any) -> Any:
    """Notes in run.json how the work ended; a kill leaves "running"."""
    status: Status = "failed"
    try:
        yield
        status = "running"
    except (KeyboardInterrupt, asyncio.CancelledError, BudgetError):
        status = "stopped"
        raise
    finally:
        if status != "running":
            with contextlib.suppress(Exception):  # the first error is the one to show
                save(status=status)


def _fingerprint(task: Task, scorers: TaskScorers, temperature: float) -> dict[str, str]:
    """sha256 of each thing that makes two numbers on a task comparable."""
    judges = {f"judge {s.name}": s.fingerprint for s in scorers.scorers}
    return {
        **task.parts_of_fingerprint,
        **judges,
        "sampling": sha256_of({"temperature": temperature}),
    }


def _run_file(options: Options, what: Plan, old: RunFile | None) -> RunFile:
    """run.json for this call: a new one, or the old one extended. UserError if they do not agree."""
    fingerprints = {
        name: _fingerprint(task, what.scorers[name], options.temperature)
        for name, task in what.tasks.items()
    }
    new = RunFile(
        format=FORMAT,
        model=what.model.name,
        spec=what.model.spec,
        weights=what.model.weights(),
        arguments=dict(what.model.arguments),
        sampling={"temperature": options.temperature},
        seed=options.seed,
        repeats=what.repeats,
        tasks=list(what.tasks),
        counts=dict(what.counts),
        fingerprints=fingerprints,
        versions=_versions(),
        command=list(options.command),
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        status="running",
    )
    if old is None:
        return new
    refuse_another("run", str(what.out), _unlike(old, new), "another directory with --out")
    return msgspec.structs.replace(new, created=old.created)


def _unlike(old: RunFile, new: RunFile) -> list[str]:
    """Reasons why the new call cannot go on with the old run, in words."""

    def decides(run: RunFile) -> dict[str, Any]:
        fields = {"seed": run.seed, "sampling": run.sampling, "arguments": run.arguments}
        return {"the model's weights": run.weights[:12], **fields}

    unlike = differences(decides(old), decides(new))
    for task in new.tasks:
        before, now = old.fingerprints.get(task), new.fingerprints[task]
        if before is not None and before != now:
            keys = [k for k in {**before, **now} if before.get(k) != now.get(k)]
            unlike.append(f"{task}: {', '.join(keys)}")
    return unlike


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"eval-anything": __version__, "python": sys.version.split()[0]}
    for package in ("torch", "transformers", "numpy", "av", "pillow", "lm-eval"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
