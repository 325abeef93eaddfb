"""JSON as other programs write it: with a byte order mark, NaN and Infinity, and lone surrogates.

msgspec reads strict JSON; what it refuses is read again by the standard library, which takes these. A
lone surrogate (half a character, of a text that was cut) becomes U+FFFD, as in `content`.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from eval_anything.content import without_surrogates
from eval_anything.files.reading import MAX_DOCUMENT, MAX_LINES, bounded_lines, open_file, read_file

T = TypeVar("T")


DEEPEST = 200
"""Levels of lists and objects; more would end in an error of the interpreter somewhere."""


class TooDeepError(msgspec.DecodeError):
    """JSON with more than `DEEPEST` levels of lists and objects."""

    def __init__(self) -> None:
        super().__init__(f"nested more than {DEEPEST} levels deep: write it flatter")


_MARKS = (
    (codecs.BOM_UTF8, None),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins like UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def without_mark(content: bytes) -> bytes:
    """The bytes of a text as UTF-8 without a byte order mark, whichever encoding the mark stands for.

    Raises:
        UnicodeDecodeError: the bytes are not in that encoding.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            encoded = content[len(mark) :]
            if encoding is None:
                return encoded
            return encoded.decode(encoding, "surrogatepass").encode("utf-8", "surrogatepass")
    return content


def utf8_lines(path: Path) -> Iterator[bytes]:
    """The lines of a text as UTF-8 without newlines and without a byte order mark, whichever encoding
    the mark stands for; one is in memory at a time.

    Raises:
        OSError: as `open_file`, and for a line of more than `MAX_DOCUMENT` bytes.
        UnicodeDecodeError: the bytes are not in the encoding of the mark.
    """
    with open_file(path, MAX_LINES) as file:
        start = file.read(4)
        mark, encoding = next((m for m in _MARKS if start.startswith(m[0])), (b"", None))
        file.seek(len(mark))
        if encoding is None:
            for line in bounded_lines(path, file):
                yield line.removesuffix(b"\n")
            return
        text = io.TextIOWrapper(file, encoding, "surrogatepass", newline="\n")
        for text_line in bounded_lines(path, text):
            yield text_line.removesuffix("\n").encode("utf-8", "surrogatepass")


def decode_json(content: bytes | str, type_: Any = Any, cut: bool = False, joined: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        content: the text.
        type_: type of the value.
        cut: whether bytes that are no UTF-8 become U+FFFD.
        joined: whether lone surrogates stay, for texts that are joined with others first.

    Raises:
        msgspec.ValidationError: the value does not fit the type.
        msgspec.DecodeError: the text is no JSON, or nested too deeply (TooDeepError).

    Example:
        >>> decode_json(b'[NaN, "cut \\\\ud83d"]')
        [nan, 'cut \ufffd']
    """
    try:
        return decode_strict(content, type_)
    except (msgspec.ValidationError, TooDeepError):
        raise
    except ValueError as error:
        try:
            text = _text(content, cut)
            check_nesting(text)  # of UTF-16, only the text shows it
            value = json.loads(text)
        except TooDeepError:
            raise
        except ValueError:
            raise msgspec.DecodeError(str(error)) from None
    return msgspec.convert(value if joined else clean(value), type_)


def read_json(path: Path) -> Any:
    """The value of a JSON file that others may have made, of at most `MAX_DOCUMENT` bytes. Errors: those
    of `decode_json` and `read_file`."""
    return decode_json(read_file(path, MAX_DOCUMENT))


def decode_strict(content: bytes | str, type_: type[T]) -> T:
    """The value of a JSON text that this program wrote: strict JSON in UTF-8. Errors: `decode_json`."""
    check_nesting(content)
    return msgspec.json.decode(content, type=type_)


_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def check_nesting(content: bytes | str) -> None:
    """TooDeepError for JSON with more than `DEEPEST` levels of lists and objects.

    Example:
        >>> check_nesting(b'{"text": "[[["}')
    """
    if isinstance(content, str):
        if content.count("[") + content.count("{") <= DEEPEST:
            return
        content = content.encode("utf-8", "surrogatepass")
    if content.count(b"[") + content.count(b"{") <= DEEPEST:
        return
    depth = 0
    for token in _TOKEN.finditer(content):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token[0], 0)
        if depth > DEEPEST:
            raise TooDeepError


def clean(value: Any) -> Any:
    """A decoded value in which the lone surrogates of all texts, keys as well, are U+FFFD."""
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, dict):
        return {without_surrogates(key): clean(element) for key, element in value.items()}
    return [clean(element) for element in value] if isinstance(value, list | tuple) else value


def _text(content: bytes | str, cut: bool) -> str:
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    content = without_mark(content)
    try:
        return content.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        if not cut:
            raise
        return content.decode("utf-8", "replace")
