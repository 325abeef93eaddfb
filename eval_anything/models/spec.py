"""SPECs, by which users name models:

    PATH              a checkpoint, saved outputs, a run, an agent's file
    NAME              the model of that name
    NAME/REFERENCE    hf/ID, vllm/PATH, replay/FILE.jsonl, openai/MODEL@URL: NAME reads the reference

A SPEC that exists as a path is a path. Names are the entry points of `eval_anything.models`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from eval_anything import plugins
from eval_anything.errors import UserError, near
from eval_anything.models.base import Model
from eval_anything.servers.secrets import without_key


class Spec(NamedTuple):
    """The parts of a SPEC: an existing path, or (path is None) a name and a reference, perhaps empty."""

    path: Path | None
    name: str
    reference: str


def parse_spec(spec: str, folder: Path = Path()) -> Spec:
    """The parts of a SPEC, whose path is relative to a folder.

    Example:
        >>> parse_spec("hf/org/name")
        Spec(path=None, name='hf', reference='org/name')
    """
    path = folder / Path(spec).expanduser()
    if path.exists():
        return Spec(path, "", "")
    name, _, reference = spec.partition("/")
    return Spec(None, name, reference)


def place_spec(spec: str, folder: Path) -> str:
    """The SPEC rewritten for the current directory, if its paths are relative to a folder."""
    path, name, reference = parse_spec(spec, folder)
    if path is not None:
        return str(path)
    if reference and name in plugins.names(plugins.MODELS) and (folder / reference).exists():
        return f"{name}/{folder / reference}"
    return spec


def resolve(spec: str, arguments: Mapping[str, str]) -> Model:
    """The model that a SPEC names, not loaded yet.

    Args:
        spec: a path, NAME or NAME/REFERENCE.
        arguments: `--model-arg` values, not converted yet.

    Raises:
        UserError: no model is meant, or the model cannot be used; the message explains SPECs.
    """
    path, name, reference = parse_spec(spec)
    if path is not None:
        return _class_for(spec, path).from_spec(spec, path, arguments)
    names = plugins.names(plugins.MODELS)
    if name in names:
        cls: type[Model] = plugins.load(plugins.MODELS, name)
        return cls.from_spec(spec, reference, arguments)
    if spec.startswith((".", "/", "~")) or spec.endswith((".jsonl", ".gguf")):
        raise UserError(f"--model {spec}: there is no such file or folder")
    hint = near(name, names) or _likely(spec)
    raise UserError(
        f"unknown model {without_key(spec)!r}.{hint} It is no existing path, and the names and prefixes "
        f"are: {', '.join(names)} (as in hf/ID or replay/FILE.jsonl)."
    )


def _likely(spec: str) -> str:
    """The SPECs that a name without a prefix may stand for; empty for a strange one."""
    if not re.fullmatch(r"[\w.:-]+(/[\w.:-]+)?", spec):
        return ""
    on_server = f"openai/{spec}@http://host:port/v1"
    if "/" in spec:
        return f" From the hub it is hf/{spec}, on a server {on_server}."
    return f" On a server it is {on_server}, on OpenAI's openai/{spec}."


def _class_for(spec: str, path: Path) -> type[Model]:
    """The class of models that recognises a path. UserError if none does."""
    classes = plugins.load_all(plugins.MODELS).values()
    for cls in classes:
        if not isinstance(cls, UserError) and cls.recognises(path):
            recognising: type[Model] = cls
            return recognising
    unusable = "".join(f"\n{cls}" for cls in classes if isinstance(cls, UserError))
    raise UserError(
        f"{spec}: nothing in it that can be evaluated. A checkpoint needs config.json, "
        "weights as .safetensors and a tokenizer, or is a .gguf file; saved outputs are a *.jsonl file, "
        f"a run, or a folder as replay/DIR.{unusable}"
    )
