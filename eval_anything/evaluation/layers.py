"""Settings of generation of a run, from their sources in order: options, preset, checkpoint, task."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from eval_anything.errors import UserError
from eval_anything.evaluation.options import Options
from eval_anything.evaluation.presets import settings_of_preset, system_text
from eval_anything.models.base import Model, check_settings
from eval_anything.runs.directory import RunFile
from eval_anything.runs.resume import shown
from eval_anything.sampling import RESTRICTIONS, GenerationSettings, Sampling, contradiction, merged
from eval_anything.tasks.task import Task

_OPTIONS = "options"
_TASK = "task "
_LIMITS = ("max_new_tokens", "max_tokens")  # keys of `--model-arg` that say the same


class RunSampling(NamedTuple):
    """The settings of a run.

    Attributes:
        base: those of tasks that have none of their own.
        by_task: those of tasks that have some.
        sources: where each of the base is from, for those that no option gives.
        notes: lines for people.
    """

    base: Sampling
    by_task: Mapping[str, Sampling] = {}
    sources: Mapping[str, str] = {}
    notes: Sequence[str] = ()

    def of(self, task: str) -> Sampling:
        """The settings of a task."""
        return self.by_task.get(task, self.base)


def recorded_sampling(file: RunFile) -> RunSampling:
    """The settings that a run has on record. UserError for those of a later version."""

    def sampling(settings: Mapping[str, Any]) -> Sampling:
        return Sampling(seed=file.seed, **msgspec.convert(settings, GenerationSettings).values())

    try:
        by_task = {} if file.task_sampling is msgspec.UNSET else file.task_sampling
        sources = {} if file.sampling_from is msgspec.UNSET else file.sampling_from
        settings = {task: sampling(recorded) for task, recorded in by_task.items()}
        return RunSampling(sampling(file.sampling), settings, sources)
    except msgspec.ValidationError as error:
        raise UserError(f"run.json has settings that this version does not read: {error}") from None


def run_sampling(
    options: Options, model: Model, tasks: Mapping[str, Task], external: Collection[str] = ()
) -> RunSampling:
    """The settings of a run, checked with its model.

    Args:
        options: those of the run.
        model: the model, resolved and not loaded.
        tasks: the tasks that the engine asks.
        external: tasks of other tools, which have settings of their own.

    Raises:
        UserError: settings that contradict each other, or that the model does not have.
    """
    layers, notes = _layers(options, model)
    _check_external(options, tasks, external, notes)
    base, sources, dropped = _resolved(layers, options.seed, model)
    notes += dropped
    by_task: dict[str, Sampling] = {}
    for name, task in tasks.items():
        if task.file.generation is None:
            continue
        task_layer = (_TASK + name, task.file.generation.values())
        by_task[name], _, dropped = _resolved([*layers, task_layer], options.seed, model)
        notes += [f"{name}: {note}" for note in dropped]
    if not model.saved_answers:
        for sampling in [base, *by_task.values()]:
            notes += model.check_sampling(sampling)
    elsewhere = {name: label for name, label in sources.items() if label != _OPTIONS}
    if elsewhere:
        notes.insert(0, _provenance(base, sources))
    notes += [f"{name}: {_listed(s.recorded())}, as the task says" for name, s in by_task.items()]
    return RunSampling(base, by_task, elsewhere, list(dict.fromkeys(notes)))


Layers = list[tuple[str, Mapping[str, Any]]]


def _layers(options: Options, model: Model) -> tuple[Layers, list[str]]:
    """The sources of all tasks, the first one first, and notes."""
    from_options = options.values()
    if "system" in from_options:
        from_options["system"] = system_text(from_options["system"], "--system")
    limits = [key for key in _LIMITS if key in options.model_args]
    if limits and "max_new_tokens" in from_options:
        raise UserError(f"--max-new-tokens and --model-arg {limits[0]} say the same: keep one")
    layers: Layers = [(_OPTIONS, from_options)]
    notes: list[str] = []
    if options.preset is not None:
        settings, notes = settings_of_preset(options.preset, model)
        layers.append((f"preset {options.preset}", settings))
    if options.sampling is not None:
        layers.append(("the checkpoint", model.checkpoint_settings().values()))
    if model.own_settings.values():
        layers.append((model.spec, model.own_settings.values()))
    if limits:  # which only the user can have said
        shadowed = [label for label, settings in layers if "max_new_tokens" in settings]
        layers = [(la, {k: v for k, v in s.items() if k != "max_new_tokens"}) for la, s in layers]
        notes += [f"{limits[0]} is that of --model-arg, not of {label}" for label in shadowed]
    return layers, notes


def _resolved(layers: Layers, seed: int, model: Model) -> tuple[Sampling, dict[str, str], list[str]]:
    """The settings of some layers, the name of the layer of each, and notes."""
    settings = merged(layers)
    ranks = {label: rank for rank, (label, _) in enumerate(layers)}
    notes = []
    temperature, label = settings.get("temperature", (0.0, ""))
    values = {name: setting for name, (setting, _) in settings.items()}
    if temperature == 0:
        free = GenerationSettings(**{n: values[n] for n in RESTRICTIONS if n in values}).idle()
        weaker = [n for n in free if label and ranks[label] < ranks[settings[n][1]]]
        for name in weaker:
            notes.append(f"{name} of {settings.pop(name)[1]} is left out: temperature 0 is greedy")
            del values[name]
        if idle := {name: setting for name, setting in free.items() if name not in weaker}:
            sources = ", ".join(dict.fromkeys(_named(n, settings[n][1]) for n in idle))
            raise UserError(f"{sources}: {contradiction(idle)}")
    check_settings(
        model,
        {
            name: _named(name, source)
            for name, (_, source) in settings.items()
            if not (model.saved_answers and source.startswith(_TASK))
        },
    )
    return Sampling(seed=seed, **values), {n: source for n, (_, source) in settings.items()}, notes


def _named(name: str, source: str) -> str:
    """A setting as its source has it, for messages."""
    return f"--{name.replace('_', '-')}" if source == _OPTIONS else f"{name} of {source}"


def _provenance(base: Sampling, sources: Mapping[str, str]) -> str:
    """A line that says which settings a run has, and where they are from."""
    values = base.values()
    parts = []
    for label in dict.fromkeys(sources.values()):
        settings = {name: values[name] for name, source in sources.items() if source == label}
        parts.append(f"{_listed(settings)} ({label})")
    return f"generation: {'; '.join(parts)}"


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {shown(setting)}" for name, setting in settings.items())


def _check_external(
    options: Options, tasks: Mapping[str, Task], external: Collection[str], notes: list[str]
) -> None:
    """Notes that settings do not hold for tasks of other tools; UserError if there are no others."""
    flags = [_named(name, _OPTIONS) for name in options.values()]
    flags += ["--preset"] if options.preset is not None else []
    flags += ["--sampling"] if options.sampling is not None else []
    if not external or not flags:
        return
    words = (
        f"{', '.join(flags)}: tasks of other tools have settings of their own, which --source-option "
        "changes"
    )
    if not tasks:
        raise UserError(f"{words}: leave it out")
    notes.append(words)
