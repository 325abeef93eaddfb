"""From the SPEC that a user writes to a model: an existing path, a name, or `prefix/reference`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from eval_anything.errors import UserError, near
from eval_anything.models.base import Model

GROUP = "eval_anything.models"


def model_entry_points() -> dict[str, EntryPoint]:
    """The models that installed packages offer, by name."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name)}


def load_class(entry: EntryPoint) -> type[Model]:
    """The class behind an entry point. UserError if its package does not import."""
    try:
        loaded = entry.load()
    except Exception as error:
        raise UserError(
            f"the model {entry.name!r} ({entry.value}) does not import: {error}. "
            "`eval-anything doctor` tells what is missing."
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Model)):
        raise UserError(f"the entry point {entry.name!r} ({entry.value}) is no model")
    return loaded


def resolve(spec: str, arguments: Mapping[str, str]) -> Model:
    """The model of a SPEC, not loaded yet. UserError says what SPECs look like."""
    entries = model_entry_points()
    path = Path(spec).expanduser()
    if path.exists():
        for entry in entries.values():
            cls = load_class(entry)
            if cls.recognises(path):
                return cls.from_spec(spec, path, arguments)
        raise UserError(
            f"{spec}: nothing in it that can be evaluated. A checkpoint needs config.json, "
            "weights as .safetensors and a tokenizer; saved outputs are a *.jsonl file, a run, or a "
            "folder as replay/DIR."
        )
    prefix, _, reference = spec.partition("/")
    if prefix in entries:
        return load_class(entries[prefix]).from_spec(spec, reference, arguments)
    if spec.startswith((".", "/", "~")) or spec.endswith(".jsonl"):
        raise UserError(f"--model {spec}: there is no such file or folder")
    known = ", ".join(entries)
    raise UserError(
        f"unknown model {spec!r}.{near(prefix, entries)} It is no existing path, and the names and "
        f"prefixes are: {known} (as in hf/ID or replay/FILE.jsonl)."
    )
