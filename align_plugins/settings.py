"""Settings of trainings: a typed YAML file, and `key=value` changes that override it."""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_origin, get_type_hints

import msgspec
import yaml
from msgspec import Struct

from align_plugins.old_names import Names, OldNames
from align_plugins.workdir import is_main
from eval_anything import plugins
from eval_anything.errors import UserError, near
from eval_anything.evaluation.options import (
    ARGUMENTS,
    EvaluationOptions,
    FileArguments,
    Options,
    argument_text,
    place_paths,
)
from eval_anything.files.yaml_files import load_yaml
from eval_anything.models.spec import place_spec
from eval_anything.sampling import GenerationSettings


class EvaluationSettings(EvaluationOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the evaluations of checkpoints: options of `eval-anything run`, and the following.

    Attributes:
        tasks: tasks or suites.
        start: whether the model is also evaluated before training, to compare with.
        metric: metric that the best checkpoint is chosen by, `task:metric`; the first task's primary
            metric if it is left out.
        patience: stop after this number of checkpoints without a better one. Training then waits for
            each evaluation.
        policy: a gate's policy, with the start as baseline.
        threads: of the process that evaluates.
        device: CUDA_VISIBLE_DEVICES of the process that evaluates.
        timeout: seconds that one evaluation may take.
    """

    tasks: list[str]
    model_args: FileArguments = {}  # type: ignore[assignment]  # numbers of a file become text
    judge_args: FileArguments = {}  # type: ignore[assignment]
    start: bool = True
    metric: str | None = None
    patience: int | None = None
    policy: str | None = None
    threads: int = 1
    device: str | None = None
    timeout: float = 86_400.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tasks:
            raise ValueError("tasks names none")
        if self.patience is not None and self.patience < 1:
            raise ValueError("patience must be at least 1")
        if self.metric is not None and ":" not in self.metric:
            raise ValueError("metric must be task:metric, such as micro/selection:selection")

    def options(self, model: str, out: Path) -> Options:
        """Options of the evaluation of a checkpoint into a run directory."""
        shared = {name: getattr(self, name) for name in EvaluationOptions.__struct_fields__}
        for name in ARGUMENTS:
            shared[name] = {key: argument_text(value) for key, value in shared[name].items()}
        return Options(model=model, out=str(out), **shared)


Precision = Literal["float32", "bfloat16", "float16"]


class Lora(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Low-rank adapters (LoRA; Hu et al. 2021, arXiv 2106.09685) in place of training all weights.

    Attributes:
        rank, alpha, dropout: of the adapters, which are float32.
        target_modules: modules that get adapters.
        merge: whether the result is a full checkpoint; otherwise it is the adapter's folder, and the
            base must stay where it is.
        weights: dtype of the frozen weights.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: str | list[str] = "all-linear"
    merge: bool = False
    weights: Literal["float32", "bfloat16"] = "float32"


class MethodSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of every method. Paths in a file are relative to it.

    Attributes:
        model: SPEC of the model to train: `micro`, a checkpoint's folder, `hf/ID`.
        data: files of rows.
        out: the training's folder; the same command resumes the training in it.
        more_files: dotted names of further settings that are paths.
        more_specs: dotted names of further settings that may be the path of a checkpoint.
        added: settings that the folders of older trainings lack.
        old_names: dotted names that settings had before; files and changes may still use them.
        method_groups: dotted names of groups with the settings of another method, and its name.
        refused: settings that a reader may look for, and why there are none.
    """

    model: str
    data: str | list[str]
    out: str
    allow_contamination: bool = False
    seed: int = 0
    device: Literal["auto", "cpu"] = "auto"
    threads: int | None = None
    evaluate: EvaluationSettings | None = None

    more_files: ClassVar[tuple[str, ...]] = ()
    more_specs: ClassVar[tuple[str, ...]] = ()
    added: ClassVar[tuple[str, ...]] = ()
    old_names: ClassVar[Names] = {}
    method_groups: ClassVar[Mapping[str, str]] = {}
    refused: ClassVar[Mapping[str, str]] = {}

    @property
    def files(self) -> list[Path]:
        """Files of `data`."""
        return [Path(self.data)] if isinstance(self.data, str) else [Path(name) for name in self.data]

    @property
    def waits(self) -> bool:
        """Whether results of evaluations can end the training."""
        return self.evaluate is not None and self.evaluate.patience is not None


class TrainSettings(MethodSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of a training by gradient steps, with the names of `transformers.TrainingArguments` where
    the meaning is the same.

    Attributes:
        num_train_epochs: length of the training, unless `max_steps` is given. An epoch reads every row
            once, and ends with an optimiser step of the rows that are left.
        max_steps: number of optimiser steps.
        per_device_train_batch_size: rows (pairs, for pairwise methods) of one forward pass.
        gradient_accumulation_steps: batches of one optimiser step.
        lr_scheduler_type: course of the learning rate after the warm-up.
        warmup_steps: optimiser steps in which the learning rate rises; below 1 a share of all steps.
        chat_template: the checkpoint's own, or none for a base model that goes on with plain text.
        max_tokens: longer rows are skipped, and their number is reported.
        save_steps: steps between checkpoints; 0: the last one only.
        keep: number of the last checkpoints that are kept, beside the best one.
        logging_steps: steps between lines of the log.
        report_to: packages that log metrics: tensorboard, wandb ...
    """

    num_train_epochs: float = 1.0
    max_steps: int | None = None
    per_device_train_batch_size: int = 16
    gradient_accumulation_steps: int = 1
    learning_rate: float = 1e-5
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup_steps: float = 0.03
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    chat_template: Literal["auto", "none"] = "auto"
    max_tokens: int | None = None
    precision: Precision = "float32"
    gradient_checkpointing: bool = False
    lora: Lora | None = None
    save_steps: int = 0
    keep: int = 2
    logging_steps: int = 10
    report_to: list[str] = []

    added: ClassVar[tuple[str, ...]] = ("chat_template",)
    old_names: ClassVar[Names] = {
        "epochs": "num_train_epochs",
        "batch_size": "per_device_train_batch_size",
        "accumulation": "gradient_accumulation_steps",
        "schedule": "lr_scheduler_type",
        "warmup": "warmup_steps",
        "save_every": "save_steps",
        "log_every": "logging_steps",
        "trackers": "report_to",
        "lora.targets": "lora.target_modules",
    }

    def __post_init__(self) -> None:
        for name in (
            *("num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps"),
            *("learning_rate", "keep", "logging_steps"),
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")
        for name in ("max_steps", "max_tokens", "threads"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("warmup_steps", "weight_decay", "max_grad_norm", "save_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be below 0")
        if self.evaluate is not None and (
            (self.chat_template == "none") != (self.evaluate.model_args.get("chat_template") == "none")
        ):
            raise ValueError(
                "chat_template: none goes with evaluate: {model_args: {chat_template: none}}, and each "
                "only with the other: a model is asked as it was trained"
            )
        if self.loaded != "float32" and self.precision != self.loaded:
            raise ValueError(f"lora: weights: {self.loaded} goes with precision: {self.loaded}")

    @property
    def reads_media(self) -> bool:
        """Whether media of prompts are read before their batch is made, to count their tokens for
        `max_tokens`."""
        return self.max_tokens is not None

    @property
    def loaded(self) -> Literal["float32", "bfloat16"]:
        """Dtype that the start's weights are loaded in."""
        return "float32" if self.lora is None else self.lora.weights


S = TypeVar("S", bound=MethodSettings)


def read_settings(path: Path, changes: Sequence[str], type_: type[S]) -> S:
    """Settings of a YAML file. Prints a note if old names of settings occur.

    Args:
        path: the file. Paths in it are relative to it.
        changes: `key=value` entries that override keys; a dot leads into a group: `evaluate.limit=20`.
            Paths in them are relative to the current directory.
        type_: type of the settings.

    Raises:
        FileProblemsError: lists each mistake in the file with its line.
        UserError: a change is wrong, or a setting is given under its old name and its present one.
    """
    groups = {group: partial(_names_of, method) for group, method in type_.method_groups.items()}
    old_names = OldNames(renamed_settings(type_), groups)

    def about_key(key: str, is_missing: bool) -> str | None:
        return f"{key}: {type_.refused[key]}" if key in type_.refused else None

    settings, _ = load_yaml(path, type_, about_key, partial(old_names.rename_in_file, path))
    raw: dict[str, Any] = msgspec.to_builtins(settings)
    _place_paths(raw, path.parent, type_)
    for change in changes:
        _apply(raw, change, type_, old_names)
    if old_names.note and is_main():
        print(old_names.note, file=sys.stderr, flush=True)
    try:
        return msgspec.convert(raw, type_)
    except msgspec.ValidationError as error:
        raise UserError(f"{' '.join(changes)}: {error}") from None


def renamed_settings(type_: type[MethodSettings]) -> Names:
    """Old names of settings with the present ones. A name that a method has taken for a setting of its
    own is no old name."""
    field_names = type_.__struct_fields__
    return {old: name for old, name in type_.old_names.items() if old not in field_names}


def _names_of(method: str) -> Names:
    """Old names of another method's settings; none if it is not installed."""
    with contextlib.suppress(UserError):
        return renamed_settings(plugins.load(plugins.TRAINERS, method).settings_type)
    return {}


def _place_paths(raw: dict[str, Any], folder: Path, type_: type[MethodSettings]) -> None:
    """Makes the paths of a file relative to the current directory."""

    def placed(name: str) -> str:
        return str(folder / Path(name).expanduser())

    for name in ("data", "out", *type_.more_files):
        for group, key in _places(raw, name):
            path = group.get(key)
            if isinstance(path, str):
                group[key] = placed(path)
            elif path is not None:
                group[key] = [placed(entry) for entry in path]
    for name in ("model", *type_.more_specs):
        for group, key in _places(raw, name):
            if group.get(key):
                group[key] = place_spec(group[key], folder)
    evaluate = raw.get("evaluate")
    if evaluate is not None:
        place_paths(evaluate, folder)
        policy = evaluate.get("policy")
        if policy is not None and (folder / policy).exists():
            evaluate["policy"] = placed(policy)


def rows_of_settings(type_: type[Struct], prefix: str = "") -> list[tuple[str, str, str]]:
    """Name, default and meaning of each setting; settings of a group have names with a dot, except
    those of groups that are options of `eval-anything run`.

    Example:
        >>> rows_of_settings(Lora)[0]
        ('rank', '16', 'of the adapters, which are float32.')
    """
    hints, meanings = get_type_hints(type_), _meanings(type_)
    rows = []
    for field in msgspec.structs.fields(type_):
        default = "required" if field.required else _default_text(field)
        rows.append((prefix + field.name, default, meanings.get(field.name, "")))
        options = (hints[field.name], *getattr(hints[field.name], "__args__", ()))
        groups = [o for o in options if isinstance(o, type) and issubclass(o, Struct)]
        for group in groups if field.name not in ("evaluate", "generation") else ():
            rows += rows_of_settings(group, f"{prefix}{field.name}.")
    return rows


def _default_text(field: msgspec.structs.FieldInfo) -> str:
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if isinstance(default, Struct):  # a group, whose settings have rows of their own
        return ""
    return "none" if default is None else argument_text(default)


def _meanings(type_: type) -> dict[str, str]:
    """The lines of `Attributes:` in the docstrings of a class and its bases, by the attribute's name."""
    meanings: dict[str, str] = {}
    for cls in reversed(type_.__mro__):
        attributes = (inspect.cleandoc(cls.__doc__ or "")).partition("Attributes:\n")[2]
        for entry in re.split(r"\n(?=    \S)", attributes.partition("\n\n")[0]):
            names, _, meaning = entry.partition(": ")
            meanings |= dict.fromkeys(names.strip().split(", "), " ".join(meaning.split()))
    return meanings


def _places(raw: dict[str, Any], name: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The groups that a dotted name leads into, each with its last word; a list has several."""
    first, _, inner = name.partition(".")
    if not inner:
        yield raw, first
        return
    inside = raw.get(first) or []
    for group in inside if isinstance(inside, list) else [inside]:
        yield from _places(group, inner)


def _apply(raw: dict[str, Any], change: str, type_: type[MethodSettings], old_names: OldNames) -> None:
    """Applies a `key=value` change to raw settings."""
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise UserError(f"{change}: must be KEY=VALUE, such as beta=0.2")
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        *groups, last = old_names.rename_in_change(key, node).split(".")
        setting = _number(yaml.SafeLoader("").construct_document(node) if node is not None else None)
    except yaml.YAMLError:
        raise UserError(f"{change}: the value is not valid YAML") from None
    target: dict[str, Any] = raw
    struct: type[Struct] | None = type_  # None inside of settings of another method, which it checks
    for group in groups:
        if struct is not None:
            _must_know(group, struct, change)
            struct = _struct_in(get_type_hints(struct)[group], change, group)
        if not isinstance(target.get(group), dict):
            target[group] = {}
        target = target[group]
    if struct is not None:
        _must_know(last, struct, change)
    target[last] = setting


def _number(parsed: Any) -> Any:
    """YAML 1.1 reads 1e-4 as text, for lack of a dot; here it becomes a number."""
    if isinstance(parsed, str):
        try:
            return float(parsed)
        except ValueError:
            return parsed
    return parsed


def _must_know(name: str, type_: Any, change: str) -> None:
    fields = type_.__struct_fields__
    reasons: Mapping[str, str] = getattr(type_, "refused", {})
    if name in reasons:
        raise UserError(f"{change}: {reasons[name]}")
    if name not in fields:
        hint = near(name, fields) or f" Known keys: {', '.join(fields)}."
        raise UserError(f"{change}: unknown key {name!r}.{hint}")


def _struct_in(hint: Any, change: str, group: str) -> type[Struct] | None:
    """Type of a group; None for a mapping with keys of any name, such as settings of another method."""
    options = [hint, *getattr(hint, "__args__", ())]
    if get_origin(hint) in (dict, Mapping):
        return None
    structs = [o for o in options if isinstance(o, type) and issubclass(o, Struct)]
    if not structs:
        raise UserError(f"{change}: {group} has no keys of its own")
    return structs[0]


def bound_to_length(settings: TrainSettings) -> str:
    """The setting with which the first steps of a longer training are others; empty if a training can be
    made longer, and is then equal to one that had this length from the start.

    Example:
        >>> bound_to_length(TrainSettings(model="", data="", out="", lr_scheduler_type="constant"))
        ''
    """
    scheduler = settings.lr_scheduler_type
    if scheduler == "constant_with_warmup" and 0 < settings.warmup_steps < 1:
        return f"warmup_steps: {settings.warmup_steps:g}, a share of all steps"
    return "" if scheduler.startswith("constant") else f"lr_scheduler_type: {scheduler}"


def resume_settings(settings: TrainSettings) -> Mapping[str, Any]:
    """The settings that decide the trained weights: a training is resumed only with the same."""
    free = {"out", "keep", "logging_steps", "report_to", "threads", "evaluate", "allow_contamination"}
    by_name: dict[str, Any] = msgspec.to_builtins(settings)
    defaults = {field.name: field.default for field in msgspec.structs.fields(settings)}
    free |= {name for name in settings.added if by_name[name] == defaults[name]}
    binding = {key: value for key, value in by_name.items() if key not in free}
    return binding | {"evaluate": _binding(by_name["evaluate"])} if settings.waits else binding


def _binding(evaluate: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of evaluations as older trainings have them: without options that are not set, and with
    the temperature."""
    names = (*GenerationSettings.__struct_fields__, "preset", "sampling")
    places = ("replicas", "engine", "gpus_per_replica", "address")  # change no number
    set_ones = {
        name: setting
        for name, setting in evaluate.items()
        if name not in places and (setting is not None or name not in names)
    }
    return {"temperature": 0.0, **set_ones}
