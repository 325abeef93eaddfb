"""JSON as other programs write it: with a byte order mark, NaN and Infinity, and lone surrogates.

msgspec reads strict JSON; what it refuses is read again by the standard library, which takes these. A
lone surrogate (half a character, of a text that was cut) becomes U+FFFD, as in `content`.
"""

from __future__ import annotations

import codecs
import json
from typing import Any

import msgspec

from eval_anything.content import without_surrogates

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


def decode_json(content: bytes | str, type_: Any = Any, cut: bool = False, joined: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        content: the text.
        type_: type of the value.
        cut: whether bytes that are no UTF-8 become U+FFFD.
        joined: whether lone surrogates stay, for texts that are joined with others first.

    Raises:
        msgspec.ValidationError: the value does not fit the type.
        msgspec.DecodeError: the text is no JSON.
        RecursionError: it is nested too deeply.

    Example:
        >>> decode_json(b'[NaN, "cut \\\\ud83d"]')
        [nan, 'cut \ufffd']
    """
    try:
        return msgspec.json.decode(content, type=type_)
    except msgspec.ValidationError:
        raise
    except ValueError as error:
        try:
            value = json.loads(_text(content, cut))
        except ValueError:
            raise msgspec.DecodeError(str(error)) from None
    return msgspec.convert(value if joined else clean(value), type_)


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
