"""Frames of clips by index: by decord where it is installed, else by PyAV.

Both return the same frames: an index counts the frames in the order in which they are shown, and the
times are those of the file. Both come from the packets (`timeline`). decord (0.6, the last release) does
not read AV1, turns only some clips upright, and returns wrong frames of clips with open groups of
pictures. So it is used only for upright MP4 with closed groups; PyAV reads all others, and those where
decord fails or counts differently. Runs in a child process (`worker`), which turns its errors into
`MediaError`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_anything.media.containers import opened, picture_stream
from eval_anything.media.limits import MAX_VIDEO_PIXELS
from eval_anything.media.orientation import Orientation
from eval_anything.media.sniff import Kind, MediaError
from eval_anything.media.timeline import Timeline

if TYPE_CHECKING:
    import numpy as np


_THREADS = min(4, os.cpu_count() or 1)


_WORTH_A_SEEK = 16  # frames that a seek must save


_BATCH = 16  # frames that decord decodes at once


_DECORD_CODECS = frozenset({"h264", "hevc", "mpeg4"})


# Decoders that read skip_frame before each packet; others, such as dav1d, read it only once.
_SKIPPING_CODECS = frozenset({"h264", "hevc"})


# A clip with more pixels than this in all is checked by some of its frames.
_CHECKED_WHOLE = 64 * 2**20


_CHECKED_FRAMES = 16


def evenly(timeline: Timeline, count: int) -> list[int]:
    """Indices of the frames on screen in the middles of `count` equal spans of time; of each frame once
    if the clip has no more than `count`.

    A frame that stays on screen for several of these moments is there several times.
    """
    if len(timeline.pts) <= count:
        return list(range(len(timeline.pts)))
    start, end = timeline.times[0], timeline.end
    moments = [start + (2 * i + 1) * (end - start) / (2 * count) for i in range(count)]
    return [timeline.shown_at(moment) for moment in moments]


def shown_at(timeline: Timeline, times: Sequence[float], path: Path) -> list[int]:
    """Indices of the frames shown at these times in seconds. MediaError for a time outside the clip."""
    start, end = timeline.times[0], timeline.end
    for time in times:
        if not start <= time <= end:
            raise MediaError(f"{path} shows nothing at {time:g} s: it is {start:g} to {end:g} s long")
    return [timeline.shown_at(time) for time in times]


def _middles(total: int, count: int) -> list[int]:
    """Indices in the middles of `count` equal spans of `total`."""
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def decode_frames(
    path: Path, kind: Kind, timeline: Timeline, indices: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs of a position in `indices` and the frame's pixels, uint8 (height, width, 3), in any order.

    The frames are upright and of one size. MediaError for an index out of range, for more pixels than
    allowed, and for a frame that does not decode.
    """
    total = len(timeline.pts)
    for index in indices:
        if not 0 <= index < total:
            raise MediaError(f"{path} has {total} frames: no frame {index}")
    if len(indices) * timeline.width * timeline.height > MAX_VIDEO_PIXELS:
        raise MediaError(
            f"{path}: {len(indices)} frames of {timeline.width}x{timeline.height} pixels are more than "
            f"{MAX_VIDEO_PIXELS} pixels in all"
        )
    positions: dict[int, list[int]] = {}
    for position, index in enumerate(indices):
        positions.setdefault(index, []).append(position)
    distinct = sorted(positions)
    batches = decord_frames(path, kind, timeline, distinct)
    for index, pixels in batches or pyav_frames(path, kind, timeline, distinct):
        for position in positions[index]:
            yield position, pixels


def check_frames(path: Path, kind: Kind, timeline: Timeline) -> None:
    """Decodes all frames, or 16 of a clip of more than 64 Mi pixels. MediaError if one is missing."""
    total = len(timeline.pts)
    indices = list(range(total))
    if total * timeline.width * timeline.height > _CHECKED_WHOLE:
        indices = sorted({*_middles(total, min(total, _CHECKED_FRAMES - 1)), total - 1})
    for _ in _pyav_decoded(path, kind, timeline, indices):
        pass


def pyav_frames(
    path: Path, kind: Kind, timeline: Timeline, indices: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs of an index and the frame's upright pixels, for rising indices. MediaError if one is
    missing."""
    from av.video.reformatter import Interpolation

    for index, frame in _pyav_decoded(path, kind, timeline, indices):
        # A clip may change its size on its way. FFmpeg scales all frames to the size of the first one.
        rgb = frame.to_ndarray(
            format="rgb24",
            width=timeline.width,
            height=timeline.height,
            interpolation=None if _has_size(frame, timeline) else Interpolation.BICUBIC,
        )
        yield index, timeline.orientation.upright(rgb)


def _has_size(frame: Any, timeline: Timeline) -> bool:
    return (frame.width, frame.height) == (timeline.width, timeline.height)


def _pyav_decoded(
    path: Path, kind: Kind, timeline: Timeline, indices: Sequence[int]
) -> Iterator[tuple[int, Any]]:
    with opened(path, kind) as container:
        stream = picture_stream(container, path)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = _THREADS
        next_index = 0  # of the next frame from the decoder
        for span in _spans(timeline, indices):
            start = timeline.key_before(span[0])
            if start - next_index > _WORTH_A_SEEK:
                container.seek(timeline.pts[start], stream=stream)
            decoded = set()
            for index, frame in _forward(container, stream, timeline, span):
                decoded.add(index)
                yield index, frame
            missing = [index for index in span if index not in decoded]
            if missing and start:  # the file's index of keyframes is wrong
                container.seek(0, stream=stream)
                for index, frame in _forward(container, stream, timeline, missing):
                    decoded.add(index)
                    yield index, frame
            if len(decoded) < len(span):
                lost = min(set(span) - decoded)
                raise MediaError(f"{path}: frame {lost} of {len(timeline.pts)} does not decode")
            next_index = span[-1] + 1


def _spans(timeline: Timeline, indices: Sequence[int]) -> list[list[int]]:
    """The indices, split where it saves time to continue from a later keyframe."""
    spans: list[list[int]] = []
    for index in indices:
        if spans and timeline.key_before(index) - spans[-1][-1] <= _WORTH_A_SEEK:
            spans[-1].append(index)
        else:
            spans.append([index])
    return spans


def _forward(
    container: Any, stream: Any, timeline: Timeline, indices: Sequence[int]
) -> Iterator[tuple[int, Any]]:
    """Decodes from the container's position until all these frames were returned, or to its end."""
    codec = stream.codec_context
    open_ = {timeline.pts[index]: index for index in indices}
    needed = frozenset(open_)
    skips = codec.name in _SKIPPING_CODECS
    for packet in container.demux(stream):
        if skips:  # frames that no other frame refers to are not decoded, unless they are needed
            codec.skip_frame = "DEFAULT" if packet.pts is None or packet.pts in needed else "NONREF"
        for frame in packet.decode():
            index = open_.pop(frame.pts, None)
            if index is not None:
                yield index, frame
        if not open_:
            return


def decord_frames(
    path: Path, kind: Kind, timeline: Timeline, indices: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]] | None:
    """Frames by decord, else like `pyav_frames`; None for a clip that decord cannot read correctly."""
    is_supported = (
        kind.extension == "mp4"
        and timeline.codec in _DECORD_CODECS
        and timeline.closed
        and timeline.orientation == Orientation()
    )
    if not is_supported or find_spec("decord") is None:
        return None
    import decord

    try:
        reader = decord.VideoReader(str(path), num_threads=_THREADS)
        first = reader.get_batch(indices[:_BATCH]).asnumpy()
    except (decord.DECORDError, RuntimeError):
        return None
    if len(reader) != len(timeline.pts) or first.shape[1:3] != (timeline.height, timeline.width):
        return None
    return _decord_batches(reader, first, indices)


def _decord_batches(
    reader: Any, first: np.ndarray, indices: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]]:
    yield from zip(indices, first, strict=False)
    for start in range(_BATCH, len(indices), _BATCH):
        batch = indices[start : start + _BATCH]
        yield from zip(batch, reader.get_batch(batch).asnumpy(), strict=True)
