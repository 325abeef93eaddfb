"""Models that an agent's file names by their SPECs, with paths relative to the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from eval_anything.errors import EvalError, UserError
from eval_anything.models.base import Model
from eval_anything.models.spec import place_spec, resolve


def model_at(
    spec: str, arguments: Mapping[str, str | int | float | bool], folder: Path, name: str
) -> Model:
    """The model of a SPEC whose path is relative to `folder`.

    Raises:
        UserError: there is no such model; the message begins with `name`, the place in the file.
    """
    try:
        return resolve(place_spec(spec, folder), {k: _text(v) for k, v in arguments.items()})
    except EvalError as error:
        raise UserError(f"{name}: {error}") from None


def _text(argument: str | int | float | bool) -> str:
    """The argument as a user writes it for `--model-arg`."""
    return str(argument).lower() if isinstance(argument, bool) else str(argument)
