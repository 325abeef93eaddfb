"""Options of an evaluation on the command line: fields become arguments, and arguments fields."""

from __future__ import annotations

import argparse
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import inspect

from eval_anything.cli.values import at_least_one, one_of, share, whole, within
from eval_anything.errors import UserError
from eval_anything.evaluation.options import EVERY_JUDGE, Option, Options, options_of, parsed_word


def add_option(parser: argparse._ActionsContainer, option: Option, suppress: bool) -> None:
    """Adds an option to a parser. With `suppress` it has no default: unused, it leaves no attribute."""
    keywords: dict[str, Any] = {"dest": option.name, "help": option.description}
    if option.extra.get("optional"):
        keywords |= {"metavar": option.extra["metavar"], "nargs": "?", "const": True}
    elif isinstance(option.type, inspect.BoolType):
        keywords["action"] = "store_true"
    else:
        keywords |= {"metavar": option.extra["metavar"], "type": _parse_of(option)}
    if isinstance(option.type, inspect.DictType | inspect.ListType) and option.name != "tasks":
        keywords |= {"action": "append", "default": []}
    if suppress:
        keywords["default"] = argparse.SUPPRESS
    parser.add_argument(option.flag, **keywords)


def _parse_of(option: Option) -> Callable[[str], Any]:
    """The function that reads one word of an option."""
    match option.type:
        case inspect.IntType(ge=1):
            return at_least_one
        case inspect.IntType(ge=0):
            return whole
        case inspect.IntType():
            return int
        case inspect.FloatType(ge=0, le=1):
            return share
        case inspect.FloatType(ge=least, gt=above, le=most):
            return within(least, above, most)
        case inspect.LiteralType(values=words):
            return one_of([str(word) for word in words])
        case _:
            return Path if option.extra.get("path") else str


def fields_from(namespace: Namespace) -> dict[str, Any]:
    """The options that were on the command line, by the names of their fields. UserError for a pair
    without `=`."""
    return {
        option.name: _field(option, getattr(namespace, option.name))
        for option in options_of(Options)
        if hasattr(namespace, option.name)
    }


def _field(option: Option, words: Any) -> Any:
    if option.name == "tasks":
        return [name for name in words.split(",") if name]
    if option.name == "judges":
        return judge_specs(words)
    if option.extra.get("json"):
        return _json_pairs(option.flag, words)
    if isinstance(option.type, inspect.DictType):
        return pairs(option.flag, words)
    if option.extra.get("path"):
        return [str(path) for path in words] if isinstance(words, list) else str(words)
    if option.name == "stop":  # argparse drops a value of two dashes
        return ["--" if word == [] else word for word in words]
    return words


def judge_specs(words: list[str]) -> dict[str, str]:
    """SPECs by the names of judges from the words of `--judge`: `NAME=SPEC`, or a SPEC alone, whose
    address may contain `=`, for every judge that asks a chat model. UserError for a pair without a name.

    Example:
        >>> judge_specs(["rm=path/to/rm", "openai/m@http://host/v1?key=a"])
        {'rm': 'path/to/rm', '*': 'openai/m@http://host/v1?key=a'}
    """
    full_words = [word if re.match(r"[^/@:]*=", word) else f"{EVERY_JUDGE}={word}" for word in words]
    return pairs("--judge", full_words)


def _json_pairs(flag: str, words: list[str]) -> dict[str, Any]:
    """Mapping from words that are `NAME=VALUE`, with JSON or else a text as the value, or an object of
    JSON each."""
    mapping: dict[str, Any] = {}
    for word in words:
        if word.lstrip().startswith("{"):
            fields = parsed_word(word)
            if not isinstance(fields, dict):
                raise UserError(f"{flag} {word}: no object of JSON; a shell wants quotes around it")
        else:
            fields = {name: parsed_word(text) for name, text in pairs(flag, [word]).items()}
        for name in fields.keys() & mapping.keys():
            raise UserError(f"{flag} {name} is given twice: keep one")
        mapping |= fields
    return mapping


def pairs(flag: str, words: list[str]) -> dict[str, str]:
    """Mapping from the `NAME=VALUE` words of an option. UserError for a word without name or `=`.

    Example:
        >>> pairs("--model-arg", ["top_p=0.9", "note=a=b"])
        {'top_p': '0.9', 'note': 'a=b'}
    """
    mapping: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UserError(f"{flag} {word}: must be NAME=VALUE")
        if name in mapping and name.rpartition(":")[2].startswith("body."):
            raise UserError(f"{flag} {name} is given twice: give all fields at once")
        if name in mapping and flag == "--where":
            raise UserError(f"{flag} {name} is given twice: {name}=A,B is either of two values")
        mapping[name] = text
    return mapping
