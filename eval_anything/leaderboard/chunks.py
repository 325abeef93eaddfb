"""Data as files that a page can load from a disk: each is a script that makes one call.

A page from file:// may not read other files, but it may run scripts that lie beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


LARGEST = 500_000
"""Bytes of a chunk. A single item that is larger is a chunk of its own."""


_ROOM = 2_000  # for the call, and what chunks hold beside their items


_END = b");\n"


class Chunks:
    """The folder `data/` of a site."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, key: str, value: Any) -> None:
        """One chunk, known to the page by its key (letters, digits, `/`, `-`, `_` and `.`)."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'EA.put("%s",' % key.encode() + json_for_pages(value) + _END)

    def read(self, key: str, type_: type[T]) -> T:
        """What `write` wrote. OSError or msgspec.DecodeError if that is not there any more."""
        data = self._path(key).read_bytes()
        return msgspec.json.decode(data[data.index(b",") + 1 : -len(_END)], type=type_)

    def _path(self, key: str) -> Path:
        return self.root / f"{key}.js"


def json_for_pages(value: Any) -> bytes:
    """JSON that may stand in a script or in HTML: `<` is escaped, so nothing in it ends an element."""
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:
        data = msgspec.json.encode(_clean(msgspec.to_builtins(value)))
    return data.replace(b"<", b"\\u003c")


def clean(text: str) -> str:
    """The text with lone surrogates, which no file can hold, replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value


def split(items: Iterable[T], largest: int = LARGEST) -> Iterator[list[T]]:
    """The items in lists whose JSON is at most `largest` bytes each, as far as single items allow."""
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
