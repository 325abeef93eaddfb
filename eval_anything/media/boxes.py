"""The modality of an MP4 file by its boxes (ISO/IEC 14496-12), where these leave no doubt.

A file of the usual form is known without a decoder, whose process takes milliseconds to answer and most
of a second to start. Left to the decoder is what is unusual: fragments, tracks that are neither pictures
nor sound or that refer to others, an end inside of a box.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from eval_anything.content import Modality
from eval_anything.files.reading import open_file
from eval_anything.media.limits import MAX_BYTES

_PLAIN = {b"ftyp", b"free", b"skip", b"wide", b"mdat", b"moov"}
_LARGEST_MOOV = 2**20
_MOST_BOXES = 64  # side by side
_HANDLERS = {b"vide": Modality.VIDEO, b"soun": Modality.AUDIO}


class _UnusualError(ValueError):
    """Boxes that this module does not read."""


def modality_by_boxes(source: Path | bytes) -> Modality | None:
    """The modality of an MP4 file or of a file's bytes: video if a track has pictures, else audio.

    None if only a decoder can tell.
    """
    try:
        if isinstance(source, bytes):
            return _modality(_movie(io.BytesIO(source), len(source)))
        with open_file(source, MAX_BYTES) as file:
            return _modality(_movie(file, source.stat().st_size))
    except (OSError, _UnusualError):
        return None


def _movie(file: IO[bytes], size: int) -> bytes:
    """The content of the one box `moov` of a file that ends with its last box."""
    movies = []
    offset = 0
    for _ in range(_MOST_BOXES):
        file.seek(offset)
        head = file.read(8)
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        if length < 8 or name not in _PLAIN or offset + length > size:
            raise _UnusualError
        if name == b"moov":
            if length > _LARGEST_MOOV:
                raise _UnusualError
            movies.append(file.read(length - 8))
        offset += length
        if offset == size:
            break
    if offset != size or len(movies) != 1:
        raise _UnusualError
    return movies[0]


def _modality(movie: bytes) -> Modality:
    modalities = set()
    for name, track in _boxes(movie):
        if name == b"mvex":  # fragments follow
            raise _UnusualError
        if name == b"trak":
            handler = _only(b"hdlr", _only(b"mdia", track))[8:12]
            if handler not in _HANDLERS or any(name == b"tref" for name, _ in _boxes(track)):
                raise _UnusualError
            modalities.add(_HANDLERS[handler])
    if not modalities:
        raise _UnusualError
    return Modality.VIDEO if Modality.VIDEO in modalities else Modality.AUDIO


def _only(name: bytes, content: bytes) -> bytes:
    """The content of the one box of this name in that of another."""
    contents = [inner for each, inner in _boxes(content) if each == name]
    if len(contents) != 1:
        raise _UnusualError
    return contents[0]


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each box that lies in the content of another."""
    offset = 0
    for _ in range(_MOST_BOXES):
        if offset == len(content):
            return
        length = int.from_bytes(content[offset : offset + 4], "big")
        if length < 8 or offset + length > len(content):
            raise _UnusualError
        yield content[offset + 4 : offset + 8], content[offset + 8 : offset + length]
        offset += length
    raise _UnusualError
