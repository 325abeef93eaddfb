"""The main job: one model on some tasks, into one run directory, resumed if it is there."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from eval_anything.content import Record
from eval_anything.errors import ServerError, UserError
from eval_anything.evaluation.external import ExternalTasks
from eval_anything.evaluation.options import Options
from eval_anything.evaluation.outcome import Outcome, make_outcome
from eval_anything.evaluation.pipeline import Batch, Pending, plan, run_batches, run_canaries
from eval_anything.evaluation.plan import RunPlan, make_plan
from eval_anything.files.hashing import sha256_of
from eval_anything.models.base import Model, Sampling
from eval_anything.output.progress import Progress
from eval_anything.runs.directory import FORMAT, Run, RunFile, Status, open_run, read_outlines
from eval_anything.runs.results_file import write_results
from eval_anything.runs.resume import differences, refuse_another
from eval_anything.servers.prices import BudgetError
from eval_anything.version import __version__


def evaluate(
    options: Options,
    progress: Progress,
    on_plan: Callable[[RunPlan], None] = lambda plan: None,
    model: Model | None = None,
) -> Outcome:
    """Runs what is not on record yet and computes the results. KeyboardInterrupt leaves a run that
    can be resumed; so does every EvalError after it has begun. `model` is as in `make_plan`."""
    what = make_plan(options, model)
    on_plan(what)
    with open_run(what.out, lambda old: _run_file(options, what, old)) as run:
        tasks = what.own_tasks
        done = {n: {(r.sample_id, r.repeat) for r in read_outlines(run.path, n)} for n in tasks}
        batches = plan(
            {name: (task, what.counts[name]) for name, task in tasks.items()},
            what.repeats,
            Sampling(options.temperature, options.seed),
            what.model.batch_size,
            done,
        )
        external = any(e.pending(what.counts, run.path) for e in what.external)
        pending = Pending()
        if batches or external or any(s.judged and s.available for s in what.all_scorers):
            with _status_of(run.save):
                if batches or external:
                    load_model(what.model)
                with progress.bar(sum(len(b.pending) for b in batches)) as advance:
                    pending = asyncio.run(_work(batches, what, run, advance))
                for external_tasks in what.external:
                    _run_external(external_tasks, what, options.seed, run, progress, pending)
        outcome = make_outcome(options.max_failed, what, run.path, pending)
        write_results(run.path, outcome.results)
        run.save(status="failed" if pending.count else "done")
        return outcome


async def _work(
    batches: Sequence[Batch], what: RunPlan, run: Run, advance: Callable[[Record], None]
) -> Pending:
    """All that waits for models and judges, in one event loop."""
    try:
        pending = await run_batches(batches, what.model, what.tasks, what.scorers, run, advance)
        await run_canaries(what.tasks, what.scorers, run, pending)
    finally:
        await what.model.close()
        for scorer in what.all_scorers:
            await scorer.close()
    return pending


def _run_external(
    tasks: ExternalTasks, what: RunPlan, seed: int, run: Run, progress: Progress, pending: Pending
) -> None:
    """Runs the tasks of a source that are not done; those that a server kept from it are pending."""
    names = tasks.pending(what.counts, run.path)
    if names:
        try:
            tasks.run(names, what.counts, what.model, seed, run, progress)
        except ServerError as error:
            unfinished = tasks.pending(what.counts, run.path)
            pending.add(sum(what.counts[name] for name in unfinished), error)


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


def _run_file(options: Options, what: RunPlan, old: RunFile | None) -> RunFile:
    """run.json for this call: a new one, or the old one extended. UserError if they do not agree."""
    fingerprints = {
        name: {
            **task.parts_of_fingerprint,
            **{f"judge {s.name}": s.fingerprint for s in what.scorers[name].scorers},
            "sampling": sha256_of({"temperature": options.temperature}),
        }
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
        versions=_versions(p for tasks in what.external for p in tasks.packages),
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


def _versions(more_packages: Iterable[str]) -> dict[str, str]:
    """Versions of what answers and scores may depend on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"eval-anything": __version__, "python": sys.version.split()[0]}
    for package in ("torch", "transformers", "numpy", "av", "pillow", *more_packages):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
