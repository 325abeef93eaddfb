"""Entry points by which installed packages extend eval-anything: a table of all groups, and a loader.

A package registers an object in its pyproject.toml under the name by which users refer to it:

    [project.entry-points."eval_anything.models"]
    parrot = "parrot_package:ParrotModel"

eval-anything registers its own objects in the same way. An object is imported when it is first used.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from eval_anything.errors import UserError, near

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_OURS = "eval-anything"


class Group(NamedTuple):
    """One kind of object that packages add.

    Attributes:
        name: the entry-point group.
        noun: the word for one object of the group in messages.
        about: purpose of the objects, and the option or key by which a user refers to one.
        interface: `module:name` of the base class, or of the type of a function.
        example: a line of pyproject.toml.
    """

    name: str
    noun: str
    about: str
    interface: str
    example: str


MODELS = Group(
    "eval_anything.models",
    "model",
    "A model under evaluation: `--model NAME`, `--model NAME/REFERENCE`, or a path that it recognises.",
    "eval_anything.models.base:Model",
    'parrot = "parrot_package:ParrotModel"',
)
HF_FAMILIES = Group(
    "eval_anything.hf_families",
    "family of models",
    "One architecture of transformers, asked in a way of its own; its name is the `model_type` of "
    "config.json.",
    "eval_anything.models.hf.family:Family",
    'parrotformer = "parrot_package:ParrotFamily"',
)
GENERATORS = Group(
    "eval_anything.generators",
    "kind of generator",
    "A maker of images, sounds or clips for agents: `kind: NAME` in an agent's file.",
    "eval_anything.models.agent.generators.base:Generator",
    'noise = "parrot_package:NoiseGenerator"',
)
SCORERS = Group(
    "eval_anything.scorers",
    "judge kind",
    "A kind of judge: `kind: NAME` in a judge.yaml.",
    "eval_anything.judges.kind:JudgeFile",
    'length = "parrot_package:LengthFile"',
)
REWARD_READERS = Group(
    "eval_anything.reward_readers",
    "reader of reward models",
    "Tokens and media for a judge of kind reward_model, from a checkpoint that it recognises.",
    "eval_anything.judges.kinds.reward.readers:Reader",
    'parrot = "parrot_package:ParrotReader"',
)
AGGREGATES = Group(
    "eval_anything.aggregates",
    "formula",
    "One number from metrics of several tasks: `formula: NAME` in a suite.yaml.",
    "eval_anything.statistics.aggregates:Formula",
    'worst = "parrot_package:worst"',
)
TASK_SOURCES = Group(
    "eval_anything.task_sources",
    "source of tasks",
    "Tasks of another evaluation tool, which runs them itself: `--tasks NAME/TASK`.",
    "eval_anything.evaluation.external:TaskSource",
    'quiz = "parrot_package:QuizSource"',
)
POLICIES = Group(
    "eval_anything.policies",
    "policy",
    "A checkpoint that can be trained; its name is that of the model, or the `model_type` of a "
    "checkpoint of transformers.",
    "align_plugins.policies.base:Policy",
    'parrotformer = "parrot_package:ParrotPolicy"',
)
TRAINERS = Group(
    "eval_anything.trainers",
    "method",
    "A training method: `eval-anything train NAME`, or a stage of `feedback`.",
    "align_plugins.trainer:Trainer",
    'nudge = "parrot_package:NudgeTrainer"',
)
DATA = Group(
    "eval_anything.data",
    "command",
    "The commands `data check` and `data convert`, which come with eval-anything's own trainers.",
    "eval_anything.cli.data:Command",
    'check = "parrot_package:check"',
)

GROUPS = (
    MODELS,
    HF_FAMILIES,
    GENERATORS,
    SCORERS,
    REWARD_READERS,
    AGGREGATES,
    TASK_SOURCES,
    POLICIES,
    TRAINERS,
    DATA,
)


class Plugin(NamedTuple):
    """An object of another package. `problem` is the reason why it cannot be used, or empty."""

    noun: str
    name: str
    package: str
    problem: str


def names(group: Group) -> list[str]:
    """Names in a group, sorted, including those of objects that cannot be imported."""
    return sorted(_entries(group))


def load(group: Group, name: str) -> Any:
    """The object that is registered under a name, imported.

    Raises:
        UserError: for an unknown name, a name that two packages use, and an object that cannot be
            imported or does not have the interface of the group.

    Example:
        >>> load(AGGREGATES, "mean")({"image": 0.25, "audio": 0.75})
        0.5
    """
    entries = _entries(group).get(name, ())
    if not entries:
        raise UserError(unknown(group.noun, name, names(group)))
    if len(entries) > 1:
        packages = " and ".join(f"{_package(entry)} ({entry.value})" for entry in entries)
        raise UserError(
            f"two packages register a {group.noun} {name!r}: {packages}. Uninstall one of them, or "
            "rename it in its pyproject.toml."
        )
    (entry,) = entries
    try:
        loaded = entry.load()
    except Exception as error:
        raise UserError(
            f"the {group.noun} {name!r} ({entry.value}) does not import: {error}. It belongs to the "
            f"package {_package(entry)}; `eval-anything doctor` shows what is missing."
        ) from error
    _check_interface(group, entry, loaded)
    return loaded


def find(group: Group, name: str, default: Any = None) -> Any:
    """The object that is registered under a name, or the default if there is none. Errors: `load`."""
    return load(group, name) if name in _entries(group) else default


def load_all(group: Group) -> dict[str, Any]:
    """All objects of a group by name; for one that cannot be loaded, the UserError of `load`."""
    loaded: dict[str, Any] = {}
    for name in names(group):
        try:
            loaded[name] = load(group, name)
        except UserError as error:
            loaded[name] = error
    return loaded


def unknown(noun: str, name: str, choices: Iterable[str]) -> str:
    """Message for a name that is not among the choices, with the most similar ones."""
    choices = sorted(choices)
    return f"unknown {noun} {name!r}.{near(name, choices)} Known: {', '.join(choices) or 'none'}."


def of_other_packages() -> list[Plugin]:
    """All objects of other packages, each loaded to check that it can be used."""
    plugins = []
    for group in GROUPS:
        for name, entries in sorted(_entries(group).items()):
            packages = [_package(entry) for entry in entries]
            if packages != [_OURS]:
                problem = ""
                try:
                    load(group, name)
                except UserError as error:
                    problem = str(error)
                plugins.append(Plugin(group.noun, name, " and ".join(packages), problem))
    return plugins


def _entries(group: Group) -> Mapping[str, tuple[EntryPoint, ...]]:
    return _read_metadata(tuple(sys.path))[group.name]


@lru_cache(maxsize=1)
def _read_metadata(path: tuple[str, ...]) -> dict[str, dict[str, tuple[EntryPoint, ...]]]:
    """Entry points by group and name. Reading them takes 0.1 s, importing importlib.metadata another."""
    from importlib.metadata import entry_points

    registered = entry_points()
    groups: dict[str, dict[str, tuple[EntryPoint, ...]]] = {}
    for group in GROUPS:
        by_name = groups.setdefault(group.name, {})
        for entry in registered.select(group=group.name):
            by_name[entry.name] = (*by_name.get(entry.name, ()), entry)
    return groups


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "an unknown package"


def _check_interface(group: Group, entry: EntryPoint, loaded: Any) -> None:
    """UserError unless the object is a class derived from the group's interface, or a function."""
    module, _, name = group.interface.partition(":")
    interface = getattr(import_module(module), name)
    if isinstance(interface, type):
        fits = isinstance(loaded, type) and issubclass(loaded, interface)
    else:
        fits = callable(loaded)
    if not fits:
        raise UserError(
            f"the entry point {entry.name!r} ({entry.value}) of the package {_package(entry)} is no "
            f"{group.noun}: it must {'derive from' if isinstance(interface, type) else 'be a'} "
            f"{group.interface}"
        )
