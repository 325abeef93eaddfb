"""Settings of trainings: a typed YAML file, and `key=value` in place of what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

import msgspec
import yaml
from msgspec import Struct

from align_plugins.evaluation import EvaluationSettings
from eval_anything.errors import UserError, near
from eval_anything.yamlfile import read_yaml

Precision = Literal["float32", "bfloat16", "float16"]


class Lora(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Adapters of low rank in place of all weights (Hu et al. 2021, arXiv 2106.09685). `merge` writes
    the result as a whole checkpoint; else it is the adapter's folder, beside which the base must
    stay."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: str | list[str] = "all-linear"
    merge: bool = False


class TrainSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every training is told. Paths in a file are relative to it.

    Attributes:
        model: a SPEC of what is trained: `micro`, a checkpoint's folder, `hf/ID`.
        data: files of rows.
        out: the training's folder; the same command goes on with what is there.
        epochs, max_steps: how long; the latter counts if it is given.
        batch_size: rows (pairs, for pairwise methods) of one forward pass, on each device.
        accumulation: batches of one optimiser step.
        warmup: share of the steps in which the rate rises (from 1 on: their number).
        max_tokens: longer rows are left out, and counted.
        save_every: steps between checkpoints; 0: the last one alone.
        keep: how many of the last checkpoints stay, beside the best one.
        trackers: packages that are told of progress: tensorboard, wandb ...
    """

    model: str
    data: str | list[str]
    out: str
    allow_contamination: bool = False
    seed: int = 0
    epochs: float = 1.0
    max_steps: int | None = None
    batch_size: int = 16
    accumulation: int = 1
    learning_rate: float = 1e-5
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup: float = 0.03
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    max_tokens: int | None = None
    precision: Precision = "float32"
    gradient_checkpointing: bool = False
    lora: Lora | None = None
    save_every: int = 0
    keep: int = 2
    log_every: int = 10
    trackers: list[str] = []
    device: Literal["auto", "cpu"] = "auto"
    threads: int | None = None
    evaluate: EvaluationSettings | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulation", "learning_rate", "keep", "log_every"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")
        for name in ("max_steps", "max_tokens", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("warmup", "weight_decay", "max_grad_norm", "save_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be below 0")

    @property
    def files(self) -> list[Path]:
        """The files of `data`."""
        return [Path(self.data)] if isinstance(self.data, str) else [Path(name) for name in self.data]


S = TypeVar("S", bound=TrainSettings)


def read_settings(path: Path, changes: Sequence[str], type_: type[S]) -> S:
    """The settings of a file with `key=value` changes; a dot leads into a group: `evaluate.limit=20`.

    FileProblemsError names each mistake in the file with its line; UserError a wrong change. Paths in
    the file are relative to it, those in changes to the current directory.
    """
    data: dict[str, Any] = msgspec.to_builtins(read_yaml(path, type_))
    _place_paths(data, path.parent)
    for change in changes:
        _apply(data, change, type_)
    try:
        return msgspec.convert(data, type_)
    except msgspec.ValidationError as error:
        raise UserError(f"{' '.join(changes)}: {error}") from None


def _place_paths(data: dict[str, Any], folder: Path) -> None:
    """Makes the paths of a file relative to the current directory."""

    def placed(name: str) -> str:
        return str(folder / Path(name).expanduser())

    files = data["data"]
    data["data"] = placed(files) if isinstance(files, str) else [placed(name) for name in files]
    data["out"] = placed(data["out"])
    if (folder / data["model"]).exists():
        data["model"] = placed(data["model"])
    evaluate = data.get("evaluate")
    if evaluate is not None:
        for name in ("include", "data"):
            evaluate[name] = [placed(one) for one in evaluate[name]]
        policy = evaluate.get("policy")
        if policy is not None and (folder / policy).exists():
            evaluate["policy"] = placed(policy)


def _apply(data: dict[str, Any], change: str, type_: type[TrainSettings]) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise UserError(f"{change}: must be KEY=VALUE, such as beta=0.2")
    *groups, last = key.split(".")
    where, known = data, type_
    for group in groups:
        _must_know(group, known, change)
        known = _struct_in(get_type_hints(known)[group], change, group)
        if not isinstance(where.get(group), dict):
            where[group] = {}
        where = where[group]
    _must_know(last, known, change)
    try:
        where[last] = _number(yaml.safe_load(text))
    except yaml.YAMLError:
        raise UserError(f"{change}: the value is not valid YAML") from None


def _number(value: Any) -> Any:
    """YAML reads 1e-4 as text, for want of a dot; here it is a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _must_know(name: str, type_: Any, change: str) -> None:
    fields = type_.__struct_fields__
    if name not in fields:
        hint = near(name, fields) or f" Known keys: {', '.join(fields)}."
        raise UserError(f"{change}: unknown key {name!r}.{hint}")


def _struct_in(hint: Any, change: str, group: str) -> Any:
    options = [hint, *getattr(hint, "__args__", ())]
    found = [o for o in options if isinstance(o, type) and issubclass(o, Struct)]
    if not found:
        raise UserError(f"{change}: {group} has no keys of its own")
    return found[0]


def lasting(settings: TrainSettings) -> Mapping[str, Any]:
    """What decides the weights that come out, of all settings: a training goes on only with the same."""
    free = {"out", "keep", "log_every", "trackers", "threads", "evaluate", "allow_contamination"}
    found: dict[str, Any] = msgspec.to_builtins(settings)
    kept = {key: value for key, value in found.items() if key not in free}
    patience = settings.evaluate.patience if settings.evaluate is not None else None
    return kept if patience is None else kept | {"evaluate": found["evaluate"]}
