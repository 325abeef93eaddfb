"""Files opened by PyAV (FFmpeg), each with the demuxer that its first bytes call for.

FFmpeg would otherwise guess, and some of its formats are lists of other files and addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eval_anything.content import Modality
from eval_anything.media.sniff import Kind, MediaError

# FFmpeg's names of formats by the usual extension, where the two differ.
_DEMUXERS = {"m4a": "mp4", "webm": "matroska"}


@contextmanager
def opened(path: Path, kind: Kind) -> Iterator[Any]:
    """A context with the opened container. MediaError for a picture; FFmpeg raises errors of its own."""
    import av

    if kind.modality is Modality.IMAGE:
        raise MediaError(f"{path} is {kind.mime}: it has neither sound nor moving pictures")
    demuxer = _DEMUXERS.get(kind.extension, kind.extension)
    with av.open(str(path), format=demuxer, metadata_errors="ignore") as container:
        yield container


def sound_stream(container: Any, path: Path) -> Any:
    """The first audio stream. MediaError if there is none."""
    if not container.streams.audio:
        raise MediaError(f"{path} has no sound")
    return container.streams.audio[0]


def picture_stream(container: Any, path: Path) -> Any:
    """The first video stream. MediaError if there is none: a cover picture does not count."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise MediaError(f"{path} has no pictures")
