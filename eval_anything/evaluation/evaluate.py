"""Evaluation of one model on some tasks: a new run directory, or an existing one resumed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET

from eval_anything.content import Record
from eval_anything.errors import EvalError, Exit, ServerError, UserError
from eval_anything.evaluation.batches import PlannedBatches, Unfinished
from eval_anything.evaluation.external import ExternalTasks
from eval_anything.evaluation.judging import joins, judges_to_come, unjudged_answers
from eval_anything.evaluation.options import Options
from eval_anything.evaluation.outcome import Outcome, make_outcome, resume_spending
from eval_anything.evaluation.pipeline import (
    Answered,
    Pending,
    run_batches,
    run_canaries,
)
from eval_anything.evaluation.plan import RunPlan, make_plan
from eval_anything.evaluation.skipping import Recorded, is_asked_again, liveness, skip_failing
from eval_anything.files.hashing import sha256_of
from eval_anything.judges.assemble import NO_FINGERPRINT
from eval_anything.models.base import Model
from eval_anything.models.replicas.engine import ReplicaEngine
from eval_anything.output.progress import Progress
from eval_anything.runs.comparable import JUDGE
from eval_anything.runs.directory import (
    FORMAT,
    Run,
    RunFile,
    Shard,
    Status,
    each_outline,
    open_run,
)
from eval_anything.runs.results_file import write_results
from eval_anything.runs.resume import differences, refuse_another
from eval_anything.runs.spending_file import SpendingFile
from eval_anything.servers.prices import BudgetError, Spending, spent_text
from eval_anything.servers.secrets import without_key
from eval_anything.version import __version__


def evaluate(
    options: Options,
    progress: Progress,
    on_plan: Callable[[RunPlan], None] = lambda plan: None,
    model: Model | None = None,
    only: Mapping[str, Collection[str]] | None = None,
) -> Outcome:
    """Answers and scores all samples that are not on record yet, and writes the results.

    KeyboardInterrupt, and an EvalError after the start, leave a run that the same call resumes.

    Args:
        options: model, tasks and the rest, as the command line has them.
        progress: where to show progress.
        on_plan: called with the plan before anything is run.
        model: the model, in place of the one that `options.model` names.
        only: ids of the samples of each task that may be chosen, if not all may.
    """
    run_plan = make_plan(options, model, only=only)
    options = run_plan.options
    on_plan(run_plan)
    if options.retry_failed and run_plan.external:
        sources = ", ".join(tasks.source for tasks in run_plan.external)
        progress.say(f"--retry-failed: tasks of {sources} are not asked again")
    tasks = run_plan.own_tasks
    sampling = run_plan.sampling
    planned = batches_of(run_plan, run_plan.model.batch_size)
    shard = None
    if run_plan.part is not None:
        shard = Shard(*run_plan.part, run_plan.model.batch_size, planned.fingerprint())
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(
            open_run(run_plan.out, lambda old: _run_file(options, run_plan, shard, old))
        )
        file = stack.enter_context(contextlib.closing(SpendingFile(run.path)))
        resume_spending(run_plan, run.path, file)
        recorded = _recorded(options, run_plan, run)
        answered = {
            name: {key for key, again in keys.items() if not again}
            | {(id_, repeat) for task, id_, repeat in run_plan.model.left_out if task == name}
            for name, keys in recorded.items()
        }
        batches = Unfinished(planned, answered, lambda number: shard is None or shard.has(number))
        external = any(e.pending(run_plan.counts, run.path) for e in run_plan.external)
        alive = liveness(run_plan.model, tasks, run, sampling) if options.skip_failing else None
        pending = Pending(alive)
        unjudged = asyncio.run(unjudged_answers(run_plan, run))
        judging = unjudged or any(s.judged and s.available for s in run_plan.all_scorers)
        if batches.count or external or judging:
            with _status_of(run.save), _final_sum(run_plan.spending, progress), _opened(run_plan.engine):
                if batches.count or external:
                    load_model(run_plan.model)
                with progress.bar(batches.count + len(unjudged)) as advance:
                    work = _work(batches, run_plan, run, pending, recorded, advance, unjudged)
                    asyncio.run(work)
                for external_tasks in run_plan.external:
                    _run_external(external_tasks, run_plan, options.seed, run, progress, pending)
        outcome = make_outcome(options.max_failed, run_plan, run.path, pending)
        if shard is not None and outcome.exit_code == Exit.FAILED:
            outcome = outcome._replace(exit_code=Exit.DONE)  # the merged run decides
        write_results(run.path, outcome.results)
        if outcome.exit_code == Exit.INFRASTRUCTURE:
            run.save(status="failed")
        else:
            run.save(status="done", to_judge=UNSET)
        return outcome


def batches_of(run_plan: RunPlan, batch_size: int) -> PlannedBatches:
    """All batches of a run, of all of its shards."""
    samples = {name: (task, run_plan.samples[name]) for name, task in run_plan.own_tasks.items()}
    return PlannedBatches(samples, run_plan.repeats, run_plan.sampling, batch_size)


async def _work(
    batches: Unfinished,
    run_plan: RunPlan,
    run: Run,
    pending: Pending,
    recorded: Recorded,
    advance: Callable[[Record], None],
    unjudged: Sequence[Answered],
) -> None:
    """Runs the batches and the canaries, judges what is on record, closes the model and the scorers."""
    tasks, scorers = run_plan.tasks, run_plan.scorers
    try:
        await run_batches(batches, run_plan.model, tasks, scorers, run, advance, pending, unjudged)
        await skip_failing(pending, tasks, scorers, run, recorded, advance)
        await run_canaries(tasks, scorers, run, pending, run_plan.part)
    finally:
        await run_plan.model.close()
        for scorer in run_plan.all_scorers:
            await scorer.close()


def _run_external(
    tasks: ExternalTasks, run_plan: RunPlan, seed: int, run: Run, progress: Progress, pending: Pending
) -> None:
    """Runs the unfinished tasks of an external source; those that fail for a server become pending."""
    names = tasks.pending(run_plan.counts, run.path)
    if names:
        try:
            tasks.run(names, run_plan.counts, run_plan.model, seed, run, progress)
        except ServerError as error:
            unfinished = tasks.pending(run_plan.counts, run.path)
            for name in unfinished:
                pending.add(name, [sample.id for sample in run_plan.samples[name]], error)


def _recorded(options: Options, run_plan: RunPlan, run: Run) -> dict[str, dict[tuple[str, int], bool]]:
    """The (sample id, repeat) on record of each task, and whether it is asked again. Tells the model and
    the judges whether the run has answers and scores of them on record."""
    answered = False
    judges: set[str] = set()
    recorded: dict[str, dict[tuple[str, int], bool]] = {}
    for name in run_plan.own_tasks:
        keys = recorded[name] = {}
        for outline in each_outline(run.path, name):
            keys[outline.key] = is_asked_again(outline, options.retry_failed)
            if outline.error is None:
                answered = True
                judges.update(s.judge for s in outline.scores.values() if s.value is not None)
    if answered:
        run_plan.model.answered_before()
    for scorer in run_plan.all_scorers:
        if scorer.name in judges:
            scorer.answered_before()
    return recorded


def load_model(model: Model) -> None:
    """Loads the weights of a model, once. UserError if that fails, or another EvalError."""
    if model.loaded:
        return
    try:
        model.load()
        model.loaded = True
    except EvalError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"--model {model.spec} does not load: {reason}") from error


@contextlib.contextmanager
def _opened(engine: ReplicaEngine | None) -> Iterator[None]:
    """Keeps an engine open, if there is one."""
    if engine is None:
        yield
        return
    engine.open()
    try:
        yield
    finally:
        engine.close()


@contextlib.contextmanager
def _status_of(save: Any) -> Any:
    """Records in run.json that the work failed or was stopped; a kill leaves the status "running"."""
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


@contextlib.contextmanager
def _final_sum(spending: Spending, progress: Progress) -> Iterator[None]:
    """Says what was spent if the work stops; the error of a spent budget says it itself, anew, with
    what requests under way have cost."""
    try:
        yield
    except BudgetError:
        raise spending.stop() from None
    except BaseException:
        if spending.calls:
            progress.say(spent_text(spending.total()))
        raise


def _run_file(options: Options, run_plan: RunPlan, shard: Shard | None, old: RunFile | None) -> RunFile:
    """Content of run.json: a new one, or the old one with the tasks of this call added.

    UserError if the call is not a continuation of the old run.
    """
    new = new_run_file(options, run_plan, shard)
    if old is None:
        return new
    elsewhere = "another directory with --out"
    if options.out is None:
        elsewhere += ", or another name for the model with --name"
    refuse_another("run", str(run_plan.out), unlike_settings(old, new), elsewhere)
    to_judge = judges_to_come(old, new.fingerprints) or UNSET
    return msgspec.structs.replace(new, created=old.created, to_judge=to_judge)


def new_run_file(options: Options, run_plan: RunPlan, shard: Shard | None = None) -> RunFile:
    """Content of run.json of a run that begins."""
    own_tasks = run_plan.own_tasks
    fingerprints = {
        name: {
            **task.parts_of_fingerprint,
            **{f"{JUDGE}{s.name}": s.fingerprint for s in run_plan.scorers[name].scorers},
            "sampling": sha256_of(
                run_plan.sampling.of(name).decisive()
                if name in own_tasks
                else {"temperature": run_plan.sampling.base.temperature}
            ),
        }
        for name, task in run_plan.tasks.items()
    }
    by_task = {name: s.recorded() for name, s in run_plan.sampling.by_task.items()}
    return RunFile(
        format=FORMAT,
        model=run_plan.model.name,
        spec=run_plan.model.spec,
        weights=run_plan.model.weights(),
        arguments=dict(run_plan.model.arguments),
        sampling=run_plan.sampling.base.recorded(),
        seed=options.seed,
        repeats=run_plan.repeats,
        tasks=list(run_plan.tasks),
        counts=run_plan.answered,
        fingerprints=fingerprints,
        versions=_versions(p for tasks in run_plan.external for p in tasks.packages),
        command=[without_key(word) for word in options.command],
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        status="running",
        judge_arguments=_judge_arguments(run_plan) or UNSET,
        judges=dict(run_plan.judges) or UNSET,
        against=run_plan.against or UNSET,
        chosen=run_plan.chosen or UNSET,
        shard=shard or UNSET,
        paid_as=run_plan.model.paid_as or UNSET,
        task_sampling=by_task or UNSET,
        sampling_from=dict(run_plan.sampling.sources) or UNSET,
    )


def _judge_arguments(run_plan: RunPlan) -> dict[str, dict[str, Any]]:
    """The arguments of each judge that has any."""
    return {s.name: dict(s.arguments) for s in run_plan.all_scorers if s.arguments}


def unlike_settings(old: RunFile, new: RunFile) -> list[str]:
    """Differences, in words, that keep the new call from resuming the old run."""

    def identity(run: RunFile) -> dict[str, Any]:
        fields = {"seed": run.seed, "sampling": run.sampling, "arguments": run.arguments}
        return {"the model's weights": run.weights[:12], **fields, **shard_settings(run)}

    unlike = differences(identity(old), identity(new), groups=("sampling", "arguments"))
    for task in new.tasks:
        if task in old.tasks and old.sampling == new.sampling:
            changes = differences(old.sampling_of(task), new.sampling_of(task))
            unlike += [f"{task}: {words}" for words in changes]
        now = new.fingerprints[task]
        before = old.fingerprints.get(task, now)
        parts: list[str] = []
        for key in {**before, **now}:
            if before.get(key) == now.get(key) or joins(key, before.get(key), now.get(key)):
                continue
            settings = _settings_unlike(task, key, old, new)
            unlike += settings or []
            parts += [_part_unlike(task, key, old, new)] if settings is None else []
        unlike += [f"{task}: {', '.join(parts)}"] if parts else []
    return list(dict.fromkeys(unlike))


def shard_settings(run: RunFile) -> dict[str, Any]:
    """Settings of a run that say which shard it is, by names for messages."""
    shard = run.shard
    if shard is UNSET:
        return {"--shard": None}
    plan = {"requests per batch": shard.batch_size, "the plan of all batches": shard.plan[:12]}
    return {"--shard": shard.name, **plan}


def _settings_unlike(task: str, key: str, old: RunFile, new: RunFile) -> list[str] | None:
    """The settings behind a part of a task's fingerprints that differ; None if it is no setting."""
    if key == "sampling" and old.sampling_of(task) != new.sampling_of(task):
        return []  # which is said already
    name = key.removeprefix(JUDGE)
    if name == key or new.fingerprints[task].get(key) is None:
        return None
    if new.fingerprints[task][key] == NO_FINGERPRINT:
        return [f"judge {name} has no model now: repeat its --judge"]
    return differences(_judge_settings(old, name), _judge_settings(new, name)) or None


def _part_unlike(task: str, key: str, old: RunFile, new: RunFile) -> str:
    """A part of a task's fingerprints that differs, in words."""
    if key == "version":
        return f"version {old.fingerprints[task].get(key)} -> {new.fingerprints[task].get(key)}"
    return f"{key} (it has no such judge now)" if key not in new.fingerprints[task] else key


def _judge_settings(run: RunFile, name: str) -> dict[str, Any]:
    """The options that decide about one judge of a run, by names for messages."""
    arguments = {} if run.judge_arguments is UNSET else run.judge_arguments.get(name, {})
    return {
        f"--judge {name}": None if run.judges is UNSET else run.judges.get(name),
        **{f"--judge-arg {name}:{key}": setting for key, setting in arguments.items()},
        "--against": run.against or None,
    }


def _versions(more_packages: Iterable[str]) -> dict[str, str]:
    """Versions of the packages that answers and scores may depend on."""
    packages = ("torch", "transformers", "numpy", "av", "pillow", *more_packages)
    installed = {package: _version(package) for package in packages}
    return {
        "eval-anything": __version__,
        "python": sys.version.split()[0],
        **{package: version for package, version in installed.items() if version is not None},
    }


@cache
def _version(package: str) -> str | None:
    """The version of an installed package: metadata take milliseconds to read."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None
