"""Reading of JSON objects as models write them: raw newlines in texts, a comma too many, a cut end.

Nothing is guessed: of a text that ends inside an object, only members that are complete are read.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from eval_anything.content import TextPart

_BLANKS = re.compile(r"[ \t\r\n]*")


_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


_ESCAPE = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})?')


_NUMBER_OR_WORD = re.compile(r"[-+]?[0-9][0-9.eE+-]*|true|false|null")


_MOST_DEPTH = 20


class ReadObject(NamedTuple):
    """An object, and whether the text was cut before its end."""

    members: dict[str, Any]
    cut: bool


class _CutError(Exception):
    """The text ends inside a value; `partial` has what is complete of an object or a list."""

    def __init__(self, partial: Any = None) -> None:
        super().__init__("cut")
        self.partial = partial


def read_object(text: str, start: int) -> ReadObject:
    """The object that begins at `start` with a brace. ValueError if there is no such object.

    Example:
        >>> read_object('{"grade": 7, "list": ["a",],}', 0)
        ReadObject(members={'grade': 7, 'list': ['a']}, cut=False)
        >>> read_object('{"grade": 7, "reason": "they agr', 0)
        ReadObject(members={'grade': 7}, cut=True)
    """
    try:
        members, _ = _value(text, start, _MOST_DEPTH)
    except _CutError as cut:
        if isinstance(cut.partial, dict):
            return ReadObject(cut.partial, cut=True)
        raise ValueError("no object") from None
    if not isinstance(members, dict):
        raise ValueError("no object")
    return ReadObject(members, cut=False)


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    """The value at a position, and the position behind it."""
    at = _skip(text, at)
    if text[at] == '"':
        return _text(text, at)
    if text[at] in "{[":
        if not depth:
            raise ValueError("nested too deeply")
        return (_object if text[at] == "{" else _list)(text, at + 1, depth - 1)
    match = _NUMBER_OR_WORD.match(text, at)
    if match is None:
        if any(word.startswith(text[at:]) for word in ("true", "false", "null", "-", "+")):
            raise _CutError
        raise ValueError("no value")
    if match.end() == len(text):  # another digit might have followed
        raise _CutError
    return json.loads(match[0].lstrip("+")), match.end()


def _text(text: str, at: int) -> tuple[str, int]:
    match = _TEXT.match(text, at)
    if match is None:
        raise _CutError
    # A backslash that begins no escape of JSON stands for itself, as in LaTeX.
    quoted = _ESCAPE.sub(lambda escape: escape[0] if escape[1] else "\\\\", match[0])
    return TextPart(json.loads(quoted, strict=False)).text, match.end()


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    members: dict[str, Any] = {}
    try:
        while text[at := _skip(text, at)] != "}":
            if text[at] != '"':
                raise ValueError("no name")
            name, at = _text(text, at)
            at = _skip(text, at)
            if text[at] != ":":
                raise ValueError("no colon")
            try:
                members[name], at = _value(text, at + 1, depth)
            except _CutError as cut:
                if cut.partial is not None:
                    members[name] = cut.partial
                raise
            at = _behind_comma(text, at, "}")
    except _CutError:
        raise _CutError(members) from None
    return members, at + 1


def _list(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    values: list[Any] = []
    while text[at := _skip(text, at)] != "]":
        value, at = _value(text, at, depth)  # what is complete of a list is not the list
        values.append(value)
        at = _behind_comma(text, at, "]")
    return values, at + 1


def _behind_comma(text: str, at: int, end: str) -> int:
    """The position of the next member, or of the bracket that ends all of them."""
    at = _skip(text, at)
    if text[at] == end:
        return at
    if text[at] != ",":
        raise ValueError("no comma")
    return at + 1


def _skip(text: str, at: int) -> int:
    """The position of the next character that is no blank. _CutError if there is none."""
    match = _BLANKS.match(text, at)
    at = match.end() if match else at
    if at >= len(text):
        raise _CutError
    return at
