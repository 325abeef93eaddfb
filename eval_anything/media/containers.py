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
from eval_anything.media.truncation import ends_inside_a_box

# FFmpeg's names of formats by the MIME type without its modality, where the two differ.
_DEMUXERS = {
    "basic": "au",
    "mp2": "mp3",
    "mpeg": "mp3",
    "webm": "matroska",
    "x-caf": "caf",
    "x-ms-asf": "asf",
    "x-nist": "nistsphere",
    "x-tta": "tta",
    "x-voc": "voc",
    "x-w64": "w64",
    "x-wavpack": "wv",
}


@contextmanager
def opened(path: Path, kind: Kind) -> Iterator[Any]:
    """A context with the opened container. MediaError for a picture, and for MP4 that ends too early;
    FFmpeg raises errors of its own."""
    import av

    if kind.modality is Modality.IMAGE:
        raise MediaError(f"{path} is {kind.mime}: it has neither sound nor moving pictures")
    demuxer = _DEMUXERS.get(kind.container, kind.container)
    # FFmpeg looks through a WAV for sound of DTS, which takes longer than to decode it.
    options = {"max_probe_packets": "1"} if demuxer == "wav" else {}
    try:
        with av.open(
            str(path), format=demuxer, container_options=options, metadata_errors="ignore"
        ) as container:
            yield container
    except av.FFmpegError:
        if kind.container == "mp4" and ends_inside_a_box(path):
            raise MediaError(f"{path} is truncated: its last box is not complete") from None
        raise


@contextmanager
def read_to_the_end(path: Path) -> Iterator[None]:
    """A context in which all packets of a file are read. MediaError for Matroska that ends too early.

    FFmpeg leaves out an element that is not complete, and only logs it. Decoders with threads must not
    run here: what they log waits for Python.
    """
    import av.logging

    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as messages:
            yield
    finally:
        av.logging.set_level(None)
    if any("File ended prematurely" in text for _, _, text in messages):
        raise MediaError(f"{path} is truncated: its last element is not complete")


def sound_stream(container: Any, path: Path) -> Any:
    """The first audio stream. MediaError if there is none, or none of its codec can be decoded."""
    if not container.streams.audio:
        raise MediaError(f"{path} has no sound")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise MediaError(f"{path} has sound of a codec that is not read")
    return stream


def picture_stream(container: Any, path: Path) -> Any:
    """The first video stream. MediaError if there is none: a cover picture does not count."""
    for stream in _moving(container):
        return stream
    raise MediaError(f"{path} has no pictures")


def kind_by_streams(path: Path, kind: Kind) -> Kind:
    """The kind of a file, by its streams if such a container holds sounds or clips. MediaError if they
    cannot be read."""
    if not kind.is_either:
        return kind
    with opened(path, kind) as container:
        return kind.holding(Modality.VIDEO if any(_moving(container)) else Modality.AUDIO)


def _moving(container: Any) -> Iterator[Any]:
    """The video streams that are no cover pictures."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            yield stream
