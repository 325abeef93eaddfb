"""What an agent's file names: paths relative to it, and models by their SPEC."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from eval_anything.errors import EvalError, UserError
from eval_anything.models.base import Model
from eval_anything.models.spec import place_spec, resolve


def model_at(
    spec: str, arguments: Mapping[str, str | int | float | bool], folder: Path, name: str
) -> Model:
    """The model of a SPEC whose path is relative to `folder`. UserError, with `name` of what in the
    file it is for, if there is none."""
    try:
        return resolve(place_spec(spec, folder), {k: _text(v) for k, v in arguments.items()})
    except EvalError as error:
        raise UserError(f"{name}: {error}") from None


def _text(value: str | int | float | bool) -> str:
    """As `--model-arg` would have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
