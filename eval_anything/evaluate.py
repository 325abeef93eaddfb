"""The main job: one model on some tasks, into one run directory, resumed if it is there."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from eval_anything import __version__
from eval_anything.calibration import calibration_summary
from eval_anything.content import Record
from eval_anything.errors import Exit, UserError
from eval_anything.files import pretty_json, write_atomically
from eval_anything.judges import find_judges, judge_named
from eval_anything.models.base import Model, Sampling
from eval_anything.models.spec import resolve
from eval_anything.pipeline import Batch, Pending, plan, run_batches, run_canaries
from eval_anything.prices import BudgetError, Spending, read_prices
from eval_anything.progress import Progress
from eval_anything.results import TaskResult, aggregates, invalid_metrics, task_result
from eval_anything.runs import (
    FORMAT,
    Run,
    RunFile,
    Status,
    begun_run,
    open_run,
    read_run,
)
from eval_anything.scorers.assemble import TaskScorers, scorers_of
from eval_anything.scorers.base import Scorer
from eval_anything.tasks.load import load_task
from eval_anything.tasks.registry import Registry, Suite
from eval_anything.tasks.task import Task, sha256_of


class Options(Struct, frozen=True, kw_only=True):
    """What `eval-anything run` is asked for; the names are those of its options."""

    model: str
    tasks: Sequence[str] = ()
    suite: str | None = None
    include: Sequence[Path] = ()
    allow_code: bool = False
    judges: Mapping[str, str] = {}
    limit: int | None = None
    repeats: int = 1
    seed: int = 0
    temperature: float = 0.0
    model_args: Mapping[str, str] = {}
    out: Path | None = None
    concurrency: int | None = None
    max_failed: float = 0.1
    budget: float | None = None
    command: Sequence[str] = ()


class Plan(NamedTuple):
    """What will run: the model, the suites that it touches, the tasks with what scores them, and how
    many samples of each. A run that is already in `out` is part of the plan."""

    model: Model
    suites: list[Suite]
    tasks: dict[str, Task]
    scorers: dict[str, TaskScorers]
    counts: dict[str, int]
    repeats: int
    out: Path


class Outcome(NamedTuple):
    """What ran: results.json's object, the run's directory, its tasks, the exit code and why."""

    results: dict[str, Any]
    run: Path
    tasks: dict[str, Task]
    exit_code: Exit
    reasons: list[str]


def make_plan(options: Options) -> Plan:
    """Resolves every name in the options and reads the tasks; nothing is loaded or written."""
    model = resolve(options.model, options.model_args)
    if options.concurrency is not None:
        if model.concurrency > 1:
            model.concurrency = options.concurrency
        else:
            model.batch_size = options.concurrency
    out = options.out if options.out is not None else Path("runs") / model.name
    old = begun_run(out)
    registry = Registry(options.include)
    suites = registry.select(options.tasks, options.suite or model.default_suite)
    chosen = [task for suite in suites for task in suite.tasks]
    names = list(dict.fromkeys([*(old.tasks if old is not None else ()), *chosen]))
    for name in names:
        if name not in registry.folders:
            raise UserError(f"the run in {out} also holds {name}: give the --include that has it")
    judges = find_judges(options.include)
    tasks = {name: load_task(registry.folders[name], judges) for name in names}
    for name in options.judges:
        judge_named(name, judges)
        if not any(name in task.file.judges for task in tasks.values()):
            raise UserError(f"--judge {name}: none of the tasks that are run has this judge")
    scorers = {
        name: scorers_of(task, judges, options.allow_code, options.judges)
        for name, task in tasks.items()
    }
    counts = dict(old.counts) if old is not None else {}
    for suite in suites:
        for name in suite.tasks:
            limit = options.limit if options.limit is not None else suite.limit
            count = len(tasks[name].samples)
            counts[name] = max(counts.get(name, 0), count if limit is None else min(limit, count))
    repeats = max(options.repeats, old.repeats if old is not None else 1)
    asked = [
        (name, sample.id, repeat)
        for name, task in tasks.items()
        for sample in task.samples[: counts[name]]
        for repeat in range(repeats)
    ]
    for name, task in tasks.items():
        for scorer in scorers[name].scorers:
            scorer.check_task(task)
    spending = Spending(options.budget)
    payers: list[Model | Scorer] = [model, *(s for found in scorers.values() for s in found.scorers)]
    for payer in payers:
        payer.spending = spending
    spending.must_know([payer.paid_as for payer in payers if payer.paid_as is not None])
    model.prepare(list(tasks.values()), asked, registry.folders)
    whole = {
        suite.name: suite for suite in map(registry.suite, {t.folder.suite for t in tasks.values()})
    }
    whole |= {suite.name: suite for suite in suites if len(suite.tasks) > 1}
    return Plan(model, list(whole.values()), tasks, scorers, counts, repeats, out)


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
        done = {name: {(r.sample_id, r.repeat) for r in read_run(run.path, name)} for name in what.tasks}
        batches = plan(
            {name: (task, what.counts[name]) for name, task in what.tasks.items()},
            what.repeats,
            Sampling(options.temperature, options.seed),
            what.model.batch_size,
            done,
        )
        pending = Pending()
        if batches or _judged(what.scorers):
            with _status_of(run.save):
                if batches:
                    _load(what.model)
                with progress.bar(sum(len(b.pending) for b in batches)) as advance:
                    pending = asyncio.run(_work(batches, what, run, advance))
        outcome = _outcome(options, what, run.path, pending)
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


def _judged(scorers: Mapping[str, TaskScorers]) -> bool:
    return any(s.judged and s.available for task in scorers.values() for s in task.scorers)


def _load(model: Model) -> None:
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
    differences = _differences(old, new)
    if differences:
        raise UserError(
            f"{what.out} holds a run that is not the same: {'; '.join(differences)}. "
            "Choose another directory with --out, or repeat the run as it was."
        )
    return msgspec.structs.replace(new, created=old.created)


def _differences(old: RunFile, new: RunFile) -> list[str]:
    """What keeps the new call from going on with the old run, in words."""
    found = []
    if old.weights != new.weights:
        found.append(f"the model's weights ({old.weights[:12]} there, {new.weights[:12]} now)")
    for name in ("seed", "sampling", "arguments"):
        before, now = getattr(old, name), getattr(new, name)
        if before != now:
            found.append(f"{name} ({before} there, {now} now)")
    for task in new.tasks:
        before, now = old.fingerprints.get(task), new.fingerprints[task]
        if before is not None and before != now:
            keys = [k for k in {**before, **now} if before.get(k) != now.get(k)]
            found.append(f"{task}: {', '.join(keys)}")
    return found


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"eval-anything": __version__, "python": sys.version.split()[0]}
    for package in ("torch", "transformers", "numpy", "av", "pillow"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _outcome(options: Options, what: Plan, run: Path, pending: Pending) -> Outcome:
    """All numbers of the run's tasks, from the records."""
    records = {name: read_run(run, name) for name in what.tasks}
    canaries = {name: read_run(run, name, "canaries") for name in what.tasks}
    results = {
        name: task_result(task, what.scorers[name], records[name], canaries[name])
        for name, task in what.tasks.items()
    }
    combined: dict[str, Any] = {}
    for suite in what.suites:
        combined |= {f"{suite.name}/{k}": v for k, v in aggregates(suite, results).items()}
    json = {
        "model": what.model.name,
        "tasks": {name: result.json for name, result in results.items()},
        "aggregates": combined,
        "judges": _judges(what.scorers),
        "cost": _cost(what, [r for found in (records, canaries) for rs in found.values() for r in rs]),
        "run": str(run),
    }
    reasons = _reasons(options.max_failed, results)
    code = Exit.FAILED if reasons else Exit.DONE
    if pending.count:
        code = Exit.INFRASTRUCTURE
        reasons.append(
            f"{pending.count} samples are pending: {pending.reason}. The same command goes on with them."
        )
    return Outcome(json, run, what.tasks, code, reasons)


def _reasons(max_failed: float, results: Mapping[str, TaskResult]) -> list[str]:
    reasons = [f"{name} is INVALID: {why}" for name, why in invalid_metrics(results)]
    for name, result in results.items():
        samples, failed = result.json["samples"], result.json["failed"]
        if failed > max_failed * samples:
            reasons.append(
                f"{name}: the model failed {failed} of {samples} samples, "
                f"more than --max-failed {max_failed:g} allows"
            )
    return reasons


def _judges(scorers: Mapping[str, TaskScorers]) -> dict[str, Any]:
    return {
        s.name: {
            "kind": s.kind,
            "fingerprint": s.fingerprint,
            "available": s.available,
            "calibration": "exact" if s.kind == "program" else calibration_summary(s.fingerprint),
        }
        for task in scorers.values()
        for s in task.scorers
    }


def _cost(what: Plan, records: Sequence[Record]) -> dict[str, Any]:
    """What the run took from its records: tokens and money of the model and of each judge.

    What runs here costs no money; the money of a server's model without a known price is null.
    """
    prices = read_prices()
    model = _sum([record.usage for record in records])
    takers = {what.model.name: (what.model.paid_as, model)}
    for scorer in {s.name: s for found in what.scorers.values() for s in found.scorers}.values():
        if scorer.paid_as is not None:
            scores = [s for r in records for s in r.scores.values() if s.judge == scorer.name]
            used = _sum([s.details.get("usage", {}) for s in scores])
            takers[f"judge {scorer.name}"] = (scorer.paid_as, used)
    parts = {
        name: 0.0 if paid_as is None else prices.money(paid_as, tokens)
        for name, (paid_as, tokens) in takers.items()
    }
    known = [money for money in parts.values() if money is not None]
    return {
        "tokens": model,
        "money": sum(known) if len(known) == len(parts) else None,
        "currency": prices.currency,
        "prices": prices.date,
        "by": {name: {"tokens": takers[name][1], "money": money} for name, money in parts.items()},
    }


def _sum(usages: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {key: sum(usage.get(key, 0) for usage in usages) for key in ("input", "output")}
