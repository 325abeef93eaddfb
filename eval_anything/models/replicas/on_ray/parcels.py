"""Batches and answers on their way between machines: a pickle in which media stand by their hashes.

A medium is a file, which the other machine may see at the same path or not. So its bytes travel beside
the pickle, where they must.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from eval_anything.content import MediaPart, Modality
from eval_anything.media.store import medium_bytes


class Parcel(NamedTuple):
    """A batch, or the answers to one.

    Attributes:
        content: the pickle.
        media: bytes of media in it by their sha256.
    """

    content: bytes
    media: dict[str, bytes]


class _Packer(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.media: dict[str, MediaPart] = {}

    def persistent_id(self, item: Any) -> Any:
        if not isinstance(item, MediaPart):
            return None
        self.media[item.sha256] = item
        return item.modality.value, item.sha256, item.mime, str(item.path)


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, replace: Callable[[MediaPart], MediaPart]) -> None:
        super().__init__(file)
        self._replace = replace

    def persistent_load(self, pid: Any) -> MediaPart:
        modality, sha256, mime, path = pid
        return self._replace(MediaPart(Modality(modality), sha256, mime, Path(path)))


def packed(content: Any) -> tuple[bytes, dict[str, MediaPart]]:
    """The pickle of a value, and the media in it by their sha256."""
    file = io.BytesIO()
    packer = _Packer(file)
    packer.dump(content)
    return file.getvalue(), packer.media


def unpacked(content: bytes, replace: Callable[[MediaPart], MediaPart]) -> Any:
    """The value of a pickle, in which `replace` puts another part in the place of each medium."""
    return _Unpacker(io.BytesIO(content), replace).load()


def bytes_of(media: Iterable[MediaPart]) -> dict[str, bytes]:
    """The bytes of media by their sha256; those that cannot be read are left out."""
    contents = {}
    for part in media:
        try:
            contents[part.sha256] = medium_bytes(part.path)
        except OSError:
            continue
    return contents
