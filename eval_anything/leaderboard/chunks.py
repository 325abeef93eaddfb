"""Data in files that a page can load from a disk: each is a script that makes one call.

A page from file:// must not read other files, but it may run scripts in its folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from eval_anything.files.json_text import clean
from eval_anything.files.reading import MAX_LINES, read_file

T = TypeVar("T")


LARGEST = 500_000
"""Largest size of a chunk in bytes. A single item that is larger is a chunk of its own."""


_ROOM = 2_000  # bytes for the call, and for the fields of a chunk beside its items


_END = b");\n"


class Chunks:
    """The folder `data/` of a site."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, key: str, value: Any) -> None:
        """Writes one chunk. Pages load it by its key (letters, digits, `/`, `-`, `_` and `.`)."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'EA.put("%s",' % key.encode() + json_for_pages(value) + _END)

    def read(self, key: str, type_: type[T]) -> T:
        """Reads what `write` wrote. OSError or msgspec.DecodeError if it is missing or damaged."""
        script = read_file(self._path(key), MAX_LINES)
        return msgspec.json.decode(script[script.index(b",") + 1 : -len(_END)], type=type_)

    def _path(self, key: str) -> Path:
        return self.root / f"{key}.js"


def json_for_pages(value: Any) -> bytes:
    """JSON that is safe in a script or in HTML: `<` is escaped, so no text in it ends an element.

    Example:
        >>> json_for_pages({"text": "</script>"})
        b'{"text":"\\\\u003c/script>"}'
    """
    try:
        encoded = msgspec.json.encode(value)
    except UnicodeEncodeError:
        encoded = msgspec.json.encode(clean(msgspec.to_builtins(value)))
    return encoded.replace(b"<", b"\\u003c")


def split(items: Iterable[T], largest: int = LARGEST) -> Iterator[list[T]]:
    """Splits items into lists whose JSON has at most `largest` bytes; a larger item stands alone."""
    part: list[T] = []
    size = _ROOM
    for item in items:
        length = len(json_for_pages(item)) + 1
        if part and size + length > largest:
            yield part
            part, size = [], _ROOM
        part.append(item)
        size += length
    if part:
        yield part
