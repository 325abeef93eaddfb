"""Changes to the body of a request: fields that a user renames, leaves out or adds.

Servers of some models refuse fields that all others want (`max_tokens`, `temperature`, `seed`). The
arguments `body.rename`, `body.drop` and `body.add` of a model, or of a judge, change what is sent.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from eval_anything.errors import UserError, near

PREFIX = "body."


# Fields that a task, a SPEC or another option decides.
_FIXED = {
    "model": "the SPEC names the model",
    "messages": "it is the request itself",
    "input": "it is the request itself",
    "prompt": "it is the request itself",
    "images": "it is part of the request itself",
    "audios": "it is part of the request itself",
    "videos": "it is part of the request itself",
    "input_reference": "it is part of the request itself",
    "stream": "stream=true is an option of models that can stream",
}


_ONE_ANSWER = "one answer is read for each request: --repeats K asks for several"


class BodyChanges(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Changes to the fields of a request's body, which is an object of JSON.

    Attributes:
        rename: new names of fields by their names.
        drop: names of fields that are left out.
        add: values of fields; one that is sent anyway gets the new value.

    Example:
        >>> changes = BodyChanges({"max_tokens": "max_completion_tokens"}, ["seed"], {"top_p": 0.9})
        >>> changes.applied({"max_tokens": 5, "seed": 1})
        {'max_completion_tokens': 5, 'top_p': 0.9}
    """

    rename: dict[str, str] = {}
    drop: list[str] = []
    add: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return bool(self.rename or self.drop or self.add)

    def applied(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body with the changes; those of fields that it does not have are without effect."""
        renamed = {self.rename.get(k, k): v for k, v in body.items() if k not in self.drop}
        return renamed | self.add

    def arguments(self) -> dict[str, Any]:
        """The changes as arguments for run.json, `body.drop` and so on; none for what is not changed."""
        changes = msgspec.structs.replace(self, drop=sorted(self.drop))
        return {PREFIX + key: change for key, change in msgspec.to_builtins(changes).items()}

    def problems(self, sent: Collection[str]) -> Iterator[tuple[str, str]]:
        """Mistakes, each with the attribute that has it.

        Args:
            sent: names of the fields that requests have without the changes.
        """
        for name in (*self.rename, *self.drop):
            key = "rename" if name in self.rename else "drop"
            if name in _FIXED:
                yield key, f"{name} cannot be changed: {_FIXED[name]}"
            elif name not in sent:
                fields = ", ".join(n for n in sent if n not in _FIXED)
                yield key, f"{name} is not sent.{near(name, sent)} Fields that can be changed: {fields}"
        targets = list(self.rename.values())
        for name, new in self.rename.items():
            if new in _FIXED or new in sent or targets.count(new) > 1:
                yield "rename", f"{name}:{new}: there would be two fields {new}"
        for name in self.drop:
            if self.drop.count(name) > 1 or name in self.rename:
                yield "drop", f"{name} is named twice"
        for name in self.add:
            if not name:
                yield "add", "a field without a name"
            elif name in _FIXED:
                yield "add", f"{name} cannot be added: {_FIXED[name]}"
            elif name == "n":
                yield "add", f"n cannot be added: {_ONE_ANSWER}"
            elif name in self.drop or name in self.rename or name in targets:
                yield "add", f"{name} is in drop or rename too: name it once"


NO_CHANGES = BodyChanges()


def split_changes(arguments: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The arguments that are about the body, and all others."""
    about_body = {k: v for k, v in arguments.items() if k == "body" or k.startswith(PREFIX)}
    return about_body, {k: v for k, v in arguments.items() if k not in about_body}


def read_changes(
    arguments: Mapping[str, str], sent: Collection[str], option: str, base: BodyChanges = NO_CHANGES
) -> BodyChanges:
    """The changes in arguments such as `body.drop=temperature,seed`.

    Args:
        arguments: texts by `body.rename`, `body.drop` or `body.add`.
        sent: names of the fields that requests have without the changes.
        option: the option that has the arguments, for errors: "--model-arg".
        base: changes that hold where no argument replaces them.

    Raises:
        UserError: an unknown argument, a text in a wrong form, or changes that make no sense.

    Example:
        >>> read_changes({"body.drop": "seed"}, ["seed"], "--model-arg").drop
        ['seed']
    """
    values: dict[str, Any] = {}
    for argument, text in arguments.items():
        key = argument.removeprefix(PREFIX)
        try:
            if key == "rename":
                values[key] = _renames(text)
            elif key == "drop":
                values[key] = _names(text)
            elif key == "add":
                values[key] = _object(text)
            else:
                keys = [PREFIX + field for field in BodyChanges.__struct_fields__]
                raise ValueError(f"there is none.{near(argument, keys)} Known: {', '.join(keys)}")
        except ValueError as error:
            raise UserError(f"{option} {argument}={text}: {error}") from None
    changes = msgspec.structs.replace(base, **values)
    for key, problem in changes.problems(sent):
        raise UserError(f"{option} {PREFIX}{key}: {problem}")
    return changes


def as_option(option: str, argument: str, text: str) -> str:
    """An argument as a user writes it for an option.

    Args:
        option: "--model-arg", "--judge-arg NAME", or the key of a file, such as "arguments:".
        argument: name of the argument.
        text: its value.

    Example:
        >>> as_option("--model-arg", "body.drop", "temperature,seed")
        '--model-arg body.drop=temperature,seed'
        >>> print(as_option("--judge-arg mine", "body.add", '{"top_p": 1}'))
        --judge-arg 'mine:body.add={"top_p": 1}'
    """
    if not option.startswith("--"):
        quoted = text.replace("'", "''")
        return f"{option} {{{argument}: '{quoted}'}}"
    flag, _, owner = option.partition(" ")
    word = f"{owner}:{argument}={text}" if owner else f"{argument}={text}"
    return f"{flag} {shlex.quote(word)}"


def change_option(option: str, key: str, change: Any) -> str:
    """The option with one of the changes: rename, drop or add."""
    if key == "rename":
        text = ",".join(f"{old}:{new}" for old, new in change.items())
    elif key == "drop":
        text = ",".join(change)
    else:
        text = json.dumps(change, ensure_ascii=False)
    return as_option(option, PREFIX + key, text)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise ValueError("must be names of fields with commas between them: temperature,seed")
    return names


def _renames(text: str) -> dict[str, str]:
    renames: dict[str, str] = {}
    for pair in _names(text):
        old, colon, new = (word.strip() for word in pair.partition(":"))
        if not (old and colon and new) or ":" in new or old == new:
            raise ValueError("must be OLD:NEW, with commas between several")
        if old in renames:
            raise ValueError(f"{old} is named twice")
        renames[old] = new
    return renames


def _object(text: str) -> dict[str, Any]:
    """An object of JSON. ValueError for another value, and for a key that is given twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise ValueError("a key is there twice")
        return fields

    try:
        json.loads(text, object_pairs_hook=unique)
        fields = msgspec.json.decode(text)  # no NaN, no half of a character
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (json.JSONDecodeError, msgspec.DecodeError, UnicodeError) as error:
        raise ValueError(f"no JSON ({error}); in a shell it needs quotes around it") from None
    if not isinstance(fields, dict):
        raise ValueError('must be an object of JSON, such as {"reasoning_effort": "low"}')
    return fields
