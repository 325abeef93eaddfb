"""What an agent's file names: paths relative to it, and models by their SPEC."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from eval_anything.errors import EvalError, UserError
from eval_anything.models.base import Model
from eval_anything.models.spec import model_entry_points, resolve


def model_at(
    spec: str, arguments: Mapping[str, str | int | float | bool], folder: Path, name: str
) -> Model:
    """The model of a SPEC whose path is relative to `folder`. UserError, with `name` of what in the
    file it is for, if there is none."""
    try:
        return resolve(_absolute(spec, folder), {k: _text(v) for k, v in arguments.items()})
    except EvalError as error:
        raise UserError(f"{name}: {error}") from None


def _absolute(spec: str, folder: Path) -> str:
    prefix, slash, reference = spec.partition("/")
    if (folder / Path(spec).expanduser()).exists():
        return str(folder / Path(spec).expanduser())
    if slash and prefix in model_entry_points() and (folder / reference).exists():
        return f"{prefix}/{folder / reference}"
    return spec


def _text(value: str | int | float | bool) -> str:
    """As `--model-arg` would have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
