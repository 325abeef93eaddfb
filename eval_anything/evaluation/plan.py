"""Plan of a run from its options: names resolved, tasks read, scorers made, nothing loaded."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from eval_anything import plugins
from eval_anything.errors import UserError
from eval_anything.evaluation.external import ExternalTasks, SourceRequest, find_source, split_names
from eval_anything.evaluation.in_place import RecordedModel, in_place
from eval_anything.evaluation.judge_models import JudgeModels, judge_models, recorded_specs
from eval_anything.evaluation.layers import RunSampling, recorded_sampling, run_sampling
from eval_anything.evaluation.options import Options
from eval_anything.evaluation.presets import preset_arguments
from eval_anything.evaluation.selection import ChosenSamples
from eval_anything.evaluation.shards import shard_of
from eval_anything.judges.assemble import TaskScorers, scorers_of
from eval_anything.judges.folder import JudgeFolder, find_judges
from eval_anything.judges.registry import JudgeMetrics
from eval_anything.judges.scorer import ComparingScorer, Scorer
from eval_anything.models.base import Model, Sampling, folder_name
from eval_anything.models.replicas.engine import ReplicaEngine
from eval_anything.models.replicas.model import ReplicatedModel
from eval_anything.models.replicas.process import ProcessEngine
from eval_anything.models.spec import resolve
from eval_anything.runs.directory import RunFile, begun_run, read_run, read_run_file
from eval_anything.servers.prices import Spending
from eval_anything.tasks.load import load_task
from eval_anything.tasks.registry import Registry, Suite
from eval_anything.tasks.samples import Samples
from eval_anything.tasks.task import Task


class RunPlan(NamedTuple):
    """Content of a run: the tasks of this call, and those that the run in `out` has already.

    Attributes:
        suites: suites that the user names, or that have aggregates over the tasks.
        tasks: by name, including those of `external`.
        scorers: of each task.
        samples: those of each task that the run is for.
        chosen: ids of the samples of tasks of which the run has a part, for run.json.
        repeats: answers per sample.
        out: directory of the run.
        external: tasks that other tools run and score, by source.
        spending: counts what the run pays.
        options: the options, those of the run in `out` if it is judged in place.
        judges: the SPEC or path of the model of each judge that has one, for run.json.
        against: the run that judges compare with.
        shared_judge: the SPEC for all judges that ask a chat model, if the environment has it.
        sampling: the settings of generation.
        notes: lines for people, on what the run leaves out, and on its settings.
        part: number, from 1, and count of shards, if this call is for one of them.
        engine: the machines that load the model; None if this process does.
    """

    model: Model
    suites: list[Suite]
    tasks: dict[str, Task]
    scorers: dict[str, TaskScorers]
    samples: dict[str, Samples]
    chosen: dict[str, list[str]]
    repeats: int
    out: Path
    external: list[ExternalTasks]
    spending: Spending
    options: Options
    judges: Mapping[str, str] = {}
    against: str | None = None
    shared_judge: str | None = None
    notes: list[str] = []
    part: tuple[int, int] | None = None
    sampling: RunSampling = RunSampling(Sampling())
    engine: ReplicaEngine | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Number of samples of each task."""
        return {name: len(samples) for name, samples in self.samples.items()}

    @property
    def own_tasks(self) -> dict[str, Task]:
        """Tasks that the engine runs itself, by name."""
        external = {name for tasks in self.external for name in tasks.tasks}
        return {name: task for name, task in self.tasks.items() if name not in external}

    @property
    def answered(self) -> dict[str, int]:
        """Number of samples of each task without those that saved outputs leave out."""
        left_out = Counter(task for task, _ in {(task, id_) for task, id_, _ in self.model.left_out})
        return {name: count - left_out[name] for name, count in self.counts.items()}

    @property
    def all_scorers(self) -> list[Scorer]:
        """Scorers of all tasks; one per task and judge."""
        return [scorer for scorers in self.scorers.values() for scorer in scorers.scorers]


class _Names(NamedTuple):
    """Resolved names in the options and in the run that `out` has.

    Attributes:
        chosen: suites with our own tasks that the user names.
        tasks: our own tasks, those of the run in `out` and those that the user names.
        external: tasks of each external source that the user names, without prefix.
        recorded_external: tasks of each external source in the run in `out`, without prefix.
    """

    registry: Registry
    chosen: list[Suite]
    tasks: list[str]
    external: Mapping[str, Sequence[str]]
    recorded_external: Mapping[str, Sequence[str]]


def make_plan(
    options: Options,
    model: Model | None = None,
    recorded: RunFile | None = None,
    only: Mapping[str, Collection[str]] | None = None,
) -> RunPlan:
    """Resolves every name in the options and reads the tasks; nothing is loaded or written.

    Args:
        options: the options of the evaluation.
        model: the model, in place of the one that `options.model` names.
        recorded: run.json of a run that is planned again with its own judges, whatever is in
            `options.out`.
        only: ids of the samples of each task that may be chosen, if not all may.

    Raises:
        UserError: for a name that is unknown, a task with mistakes, options that contradict each other,
            and scoring code that is not allowed.
    """
    options, model, judged_run = in_place(options, model)
    engine = _engine(options)
    model = _model(options, model, engine)
    part = None if options.shard is None else shard_of(options.shard, os.environ)
    out = Path(options.out) if options.out is not None else Path("runs") / folder_name(model, part)
    run = begun_run(out) if recorded is None else recorded
    repeats = max(options.repeats, run.repeats if run is not None else 1)

    names = _resolve_names(options, model.default_suite, run, out)
    judges = find_judges(_paths(options.include))
    tasks = _read_tasks(options, names, judges)
    variables = os.environ if recorded is None else {}
    models = judge_models(options, tasks, judges, run, variables)
    scorers = _make_scorers(options, tasks, judges, models)
    if engine is not None and engine.remote:
        for scorer in (scorer for task_scorers in scorers.values() for scorer in task_scorers.scorers):
            scorer.run_on(engine)
    external = _plan_external(options, names, model, repeats)
    suites = names.chosen + [Suite(e.source, e.chosen) for e in external]
    all_tasks = tasks | {name: task for e in external for name, task in e.tasks.items()}
    external_names = [name for e in external for name in e.tasks]
    chosen = ChosenSamples(options, model, all_tasks, external_names, run, only)
    chosen.extend(suites)
    all_tasks = {name: task for name, task in all_tasks.items() if name in chosen.samples}
    tasks = {name: task for name, task in tasks.items() if name in all_tasks}
    if (begun := recorded or judged_run) is not None:
        sampling = recorded_sampling(begun)
    else:
        sampling = run_sampling(options, model, tasks, all_tasks.keys() - tasks.keys())
    plan = RunPlan(
        model=model,
        suites=_with_aggregates(suites, tasks, names.registry),
        tasks=all_tasks,
        scorers={name: scorers.get(name, TaskScorers([], None)) for name in all_tasks},
        samples=chosen.samples,
        chosen=chosen.chosen,
        repeats=repeats,
        out=out,
        external=external,
        spending=Spending(options.budget),
        options=options,
        judges=recorded_specs(models, judges),
        against=models.against,
        shared_judge=models.shared if models.from_variable else None,
        notes=[*chosen.lines(), *sampling.notes, *_shard_lines(part, options.budget)],
        sampling=sampling,
        part=part,
        engine=engine,
    )
    payers = [] if isinstance(model, RecordedModel) else [model]
    _share_budget(plan.spending, [*payers, *plan.all_scorers])
    model.prepare(list(tasks.values()), _requests(plan), names.registry.folders)
    return plan


def _shard_lines(part: tuple[int, int] | None, budget: float | None) -> list[str]:
    """Lines for people about a shard."""
    if part is None:
        return []
    number, count = part
    lines = [
        f"shard {number} of {count}: batches {number}, {number + count} ... of the run. `eval-anything "
        "runs merge OUT SHARD...` joins the shards once all are done"
    ]
    if budget is not None:
        lines.append(
            f"--budget {budget:g}: of this shard alone; {count} shards may spend {count} times that"
        )
    return lines


def _paths(words: Sequence[str]) -> list[Path]:
    return [Path(word) for word in words]


def _engine(options: Options) -> ReplicaEngine | None:
    """The engine of the options; None for a model that this process loads."""
    if options.engine == "ray":
        from eval_anything.models.replicas.on_ray.engine import RayEngine

        return RayEngine(options.address, options.gpus_per_replica)
    return ProcessEngine() if options.replicas > 1 else None


def _model(options: Options, model: Model | None, engine: ReplicaEngine | None) -> Model:
    """The model, with the name and the concurrency of the options, on the engine if there is one."""
    arguments = options.model_args
    if model is None:
        if options.preset is not None:
            arguments = {**preset_arguments(options.preset), **arguments}
        model = resolve(options.model, arguments)
    elif arguments:
        raise UserError("model_args: a model that is an object has its arguments already")
    if options.name is not None:
        model.name, model.folder = options.name, None
    if options.concurrency is not None:
        if model.concurrency > 1:
            model.concurrency = options.concurrency
        else:
            model.batch_size = options.concurrency
    if engine is not None:
        model = ReplicatedModel(model, engine, options.replicas, arguments)
    return model


def _resolve_names(options: Options, default_suite: str, run: RunFile | None, out: Path) -> _Names:
    """Names of tasks, suites and groups as tasks. UserError for an unknown one."""
    registry = Registry(_paths(options.include))
    own_names, external = split_names(options.tasks)
    chosen = []
    if own_names or not external:
        chosen = registry.select(own_names, options.suite or default_suite)
    recorded_names, recorded_external = split_names(run.tasks if run is not None else ())
    tasks = list(dict.fromkeys([*recorded_names, *(task for suite in chosen for task in suite.tasks)]))
    for name in tasks:
        if name not in registry.folders:
            raise UserError(f"the run in {out} also holds {name}: give the --include that has it")
    for key in options.source_options:
        source, dot, _ = key.partition(".")
        if not dot:
            raise UserError(f"--source-option {key}: must be SOURCE.KEY=VALUE")
        if source not in external and source not in recorded_external:
            raise UserError(f"--source-option {key}: no task of {source} is run (--tasks {source}/TASK)")
    return _Names(registry, chosen, tasks, external, recorded_external)


def _read_tasks(options: Options, names: _Names, judges: dict[str, JudgeFolder]) -> dict[str, Task]:
    """Our own tasks with their samples. UserError for a --data that none of them reads."""
    folders = names.registry.folders
    metrics, data_folders = JudgeMetrics(judges), _paths(options.data)
    tasks = {name: load_task(folders[name], metrics, data_folders) for name in names.tasks}
    if options.data and all(task.file.data is None for task in tasks.values()):
        raise UserError("--data: none of the tasks that are run reads a data set")
    return tasks


def _make_scorers(
    options: Options,
    tasks: Mapping[str, Task],
    judges: dict[str, JudgeFolder],
    models: JudgeModels,
) -> dict[str, TaskScorers]:
    """Scorers of each task, after checking that they fit the task."""
    scorers = {
        name: scorers_of(task, judges, options.allow_code, models.specs, models.arguments)
        for name, task in tasks.items()
    }
    for name, task in tasks.items():
        for scorer in scorers[name].scorers:
            scorer.check_task(task)
            scorer.fresh_verdicts = options.fresh_verdicts
    _set_against(Path(models.against) if models.against else None, tasks, scorers)
    return scorers


def _plan_external(options: Options, names: _Names, model: Model, repeats: int) -> list[ExternalTasks]:
    """Tasks of each external source: those that the user names, and those in the run. UserError with
    `--shard` and `--replicas`, since their tools run them as a whole."""
    sources = sorted({*names.external, *names.recorded_external})
    flags = {
        "--shard": options.shard is not None,
        "--replicas": options.replicas > 1,
        "--engine ray": options.engine == "ray",
    }
    for flag, is_given in flags.items():
        if is_given and sources:
            raise UserError(f"{flag}: tasks of {', '.join(sources)} cannot be cut: run them without it")
    return [
        find_source(source).plan(
            SourceRequest(
                names=names.external.get(source, ()),
                held=names.recorded_external.get(source, ()),
                model=model,
                include=_paths(options.include),
                allow_code=options.allow_code,
                options={
                    key.removeprefix(f"{source}."): text
                    for key, text in options.source_options.items()
                    if key.startswith(f"{source}.")
                },
                repeats=repeats,
            )
        )
        for source in sources
    ]


def _with_aggregates(
    chosen: Sequence[Suite], tasks: Mapping[str, Task], registry: Registry
) -> list[Suite]:
    """Suites that the user chose, suites of our own tasks, and suites with aggregates over the tasks.

    UserError for a formula that does not import.
    """
    homes = [registry.suite(name) for name in dict.fromkeys(t.folder.suite for t in tasks.values())]
    suites = {suite.name: suite for suite in [*chosen, *homes, *registry.combining(tasks)]}
    for aggregate in (a for suite in suites.values() for a in suite.aggregates.values()):
        plugins.load(plugins.AGGREGATES, aggregate.formula)  # fails now rather than after the run
    return list(suites.values())


def _requests(plan: RunPlan) -> Iterator[tuple[str, str, int]]:
    """(task, sample id, repeat) of every answer of our own tasks."""
    for name in plan.own_tasks:
        for id_ in plan.samples[name].ids:
            for repeat in range(plan.repeats):
                yield name, id_, repeat


def _set_against(
    run: Path | None, tasks: Mapping[str, Task], scorers: Mapping[str, TaskScorers]
) -> None:
    """Gives the responses of the run of `--against` to the judges that compare."""
    comparing = [
        (name, scorer)
        for name, task_scorers in scorers.items()
        for scorer in task_scorers.scorers
        if isinstance(scorer, ComparingScorer)
    ]
    if run is None:
        if comparing:
            raise UserError(f"judge {comparing[0][1].name} compares with another run: add --against RUN")
        return
    if not comparing:
        raise UserError("--against: no pairwise judge has a model; add --judge NAME=SPEC")
    read_run_file(run)  # UserError if it is no run
    for name, scorer in comparing:
        other_records = {
            record.sample_id: record for record in read_run(run, name) if record.repeat == 0
        }
        scorer.against(tasks[name], other_records, str(run))


def _share_budget(spending: Spending, payers: Sequence[Model | Scorer]) -> None:
    """Makes all models and scorers count their spending together, against one budget."""
    for payer in payers:
        payer.spending = spending
    spending.must_know([payer.paid_as for payer in payers if payer.paid_as is not None])
