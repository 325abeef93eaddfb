"""From what a user asks for to what will run: names resolved, tasks read, nothing loaded or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eval_anything.errors import UserError
from eval_anything.evaluation.options import Options
from eval_anything.judges.assemble import TaskScorers, scorers_of
from eval_anything.judges.folder import find_judges, judge_named
from eval_anything.judges.registry import JudgeMetrics
from eval_anything.judges.scorer import Scorer
from eval_anything.lm_eval.names import PREFIX, split_names
from eval_anything.models.base import Model
from eval_anything.models.spec import resolve
from eval_anything.runs.directory import RunFile, begun_run, read_run, read_run_file
from eval_anything.servers.prices import Spending
from eval_anything.tasks.load import load_task
from eval_anything.tasks.registry import Registry, Suite
from eval_anything.tasks.task import Task

if TYPE_CHECKING:
    from eval_anything.lm_eval.tasks import Harness


class Plan(NamedTuple):
    """What will run: the model, the suites that it touches, the tasks with what scores them, and how
    many samples of each. A run that is already in `out` is part of the plan. `harness` is what of the
    tasks is run by lm_eval."""

    model: Model
    suites: list[Suite]
    tasks: dict[str, Task]
    scorers: dict[str, TaskScorers]
    counts: dict[str, int]
    repeats: int
    out: Path
    harness: Harness | None = None


def make_plan(options: Options) -> Plan:
    """Resolves every name in the options and reads the tasks; nothing is loaded or written."""
    model = resolve(options.model, options.model_args)
    if options.concurrency is not None:
        if model.concurrency > 1:
            model.concurrency = options.concurrency
        else:
            model.batch_size = options.concurrency
    out = Path(options.out) if options.out is not None else Path("runs") / model.name
    old = begun_run(out)
    include, data = _paths(options.include), _paths(options.data)
    registry = Registry(include)
    own, of_harness = split_names(options.tasks)
    suites = []
    if own or not of_harness:
        suites = registry.select(own, options.suite or model.default_suite)
    chosen = [task for suite in suites for task in suite.tasks]
    before, of_harness_before = split_names(old.tasks if old is not None else ())
    names = list(dict.fromkeys([*before, *chosen]))
    for name in names:
        if name not in registry.folders:
            raise UserError(f"the run in {out} also holds {name}: give the --include that has it")
    judges = find_judges(include)
    metrics = JudgeMetrics(judges)
    tasks = {name: load_task(registry.folders[name], metrics, data) for name in names}
    if options.data and all(task.file.data is None for task in tasks.values()):
        raise UserError("--data: none of the tasks that are run reads a data set")
    for name in options.judges:
        judge_named(name, judges)
        if not any(name in task.file.judges for task in tasks.values()):
            raise UserError(f"--judge {name}: none of the tasks that are run has this judge")
    scorers = {
        name: scorers_of(task, judges, options.allow_code, options.judges)
        for name, task in tasks.items()
    }
    repeats = max(options.repeats, old.repeats if old is not None else 1)
    harness = _harness(options, model, of_harness, of_harness_before, repeats)
    by_harness = harness.tasks if harness is not None else {}
    if harness is not None:
        suites = [*suites, Suite(PREFIX, harness.asked)]
    counts = _counts(suites, options.limit, {**tasks, **by_harness}, old)
    asked = [
        (name, sample.id, repeat)
        for name, task in tasks.items()
        for sample in task.samples[: counts[name]]
        for repeat in range(repeats)
    ]
    for name, task in tasks.items():
        for scorer in scorers[name].scorers:
            scorer.check_task(task)
    _set_against(Path(options.against) if options.against else None, tasks, scorers)
    _share_budget(options.budget, [model, *(s for found in scorers.values() for s in found.scorers)])
    model.prepare(list(tasks.values()), asked, registry.folders)
    whole = {
        suite.name: suite for suite in map(registry.suite, {t.folder.suite for t in tasks.values()})
    }
    whole |= {suite.name: suite for suite in suites if suite.name not in whole}
    whole |= {suite.name: suite for suite in registry.combining(names)}
    for name, task in by_harness.items():
        tasks[name], scorers[name] = task, TaskScorers([], None)
    return Plan(model, list(whole.values()), tasks, scorers, counts, repeats, out, harness)


def _paths(words: Sequence[str]) -> list[Path]:
    return [Path(word) for word in words]


def _harness(
    options: Options, model: Model, wanted: Sequence[str], before: Sequence[str], repeats: int
) -> Harness | None:
    """What lm_eval runs: the tasks that are named, and those that the run already holds."""
    if not wanted and not before and not options.lm_eval:
        return None
    from eval_anything.lm_eval.tasks import plan_harness

    include, code = _paths(options.include), options.allow_code
    return plan_harness(wanted, before, model, include, code, options.lm_eval, repeats)


def _counts(
    suites: Sequence[Suite], limit: int | None, tasks: Mapping[str, Task], old: RunFile | None
) -> dict[str, int]:
    """How many samples of each task: what is asked for now, and at least what the run has."""
    counts = dict(old.counts) if old is not None else {}
    for suite in suites:
        for name in suite.tasks:
            most = limit if limit is not None else suite.limit
            count = len(tasks[name].samples)
            counts[name] = max(counts.get(name, 0), count if most is None else min(most, count))
    return counts


def _set_against(
    run: Path | None, tasks: Mapping[str, Task], scorers: Mapping[str, TaskScorers]
) -> None:
    """Gives judges that compare the responses of the run that is compared with."""
    comparing = [
        (name, scorer)
        for name, found in scorers.items()
        for scorer in found.scorers
        if scorer.compares and scorer.available
    ]
    if run is None:
        if comparing:
            raise UserError(f"judge {comparing[0][1].name} compares with another run: add --against RUN")
        return
    if not comparing:
        raise UserError("--against: no pairwise judge has a model; add --judge NAME=SPEC")
    read_run_file(run)  # says so if it is no run
    for name, scorer in comparing:
        others = {record.sample_id: record for record in read_run(run, name) if record.repeat == 0}
        scorer.against(tasks[name], others, str(run))


def _share_budget(budget: float | None, payers: Sequence[Model | Scorer]) -> None:
    """All who ask servers count their spending together."""
    spending = Spending(budget)
    for payer in payers:
        payer.spending = spending
    spending.must_know([payer.paid_as for payer in payers if payer.paid_as is not None])
