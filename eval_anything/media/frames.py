"""Frames of clips, exactly those asked for: by decord where it is installed, else by PyAV.

Both give the same frames: an index counts the frames in the order in which they are shown, and the
times are those of the file. The packets tell them without anything being decoded (`timeline`). decord
(0.6, the last release) knows no AV1, turns clips upright in MP4 alone, and gives wrong frames of clips
with open groups of pictures. So it is asked for MP4 with closed groups, and what it does not read or
counts differently, PyAV reads too. Runs in a child process (`worker`): what it raises becomes a
`MediaError`.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_anything.media.containers import opened, picture_stream
from eval_anything.media.limits import MAX_VIDEO_PIXELS
from eval_anything.media.sniff import Kind, MediaError
from eval_anything.media.timeline import Timeline

if TYPE_CHECKING:
    import numpy as np


_THREADS = min(4, os.cpu_count() or 1)


_WORTH_A_SEEK = 16  # frames that need not be decoded


_BATCH = 16  # frames that decord holds at once


_DECORD_CODECS = frozenset({"h264", "hevc", "mpeg4"})


# Decoders that heed skip_frame from packet to packet; dav1d, say, reads it once.
_SKIPPING_CODECS = frozenset({"h264", "hevc"})


# A clip with more pixels than this in all is checked by some of its frames.
_CHECKED_WHOLE = 64 * 2**20


_CHECKED_FRAMES = 16


def middles(total: int, count: int) -> list[int]:
    """Indices of the frames at the middles of `count` equal spans; all if there are no more."""
    count = min(count, total)
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def shown_at(timeline: Timeline, times: Sequence[float], path: Path) -> list[int]:
    """Indices of the frames that are seen at these times (seconds). MediaError beyond the clip."""
    starts = timeline.times
    end = starts[-1] + timeline.last_seconds
    for time in times:
        if not starts[0] <= time <= end:
            raise MediaError(
                f"{path} shows nothing at {time:g} s: it is {starts[0]:g} to {end:g} s long"
            )
    # A time that was computed in floats may fall short of its frame by rounding.
    return [bisect_right(starts, time + 1e-6) - 1 for time in times]


def decode_frames(
    path: Path, kind: Kind, timeline: Timeline, indices: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """(position in `indices`, uint8 (height, width, 3)) of each, upright, all of one size; not in order.

    MediaError for an index out of range, for more pixels than allowed, and for a frame that is not
    there.
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
    places: dict[int, list[int]] = {}
    for place, index in enumerate(indices):
        places.setdefault(index, []).append(place)
    wanted = sorted(places)
    batches = decord_frames(path, kind, timeline, wanted)
    for index, pixels in batches or pyav_frames(path, kind, timeline, wanted):
        for place in places[index]:
            yield place, pixels


def check_frames(path: Path, kind: Kind, timeline: Timeline) -> None:
    """MediaError if frames are missing: all are decoded, or 16 of a clip of more than 64 Mi pixels."""
    total = len(timeline.pts)
    wanted = list(range(total))
    if total * timeline.width * timeline.height > _CHECKED_WHOLE:
        wanted = sorted({*middles(total, _CHECKED_FRAMES - 1), total - 1})
    for _ in _pyav_decoded(path, kind, timeline, wanted):
        pass


def pyav_frames(
    path: Path, kind: Kind, timeline: Timeline, wanted: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """(index, pixels upright) of the frames of these rising indices. MediaError if one is missing."""
    import numpy as np

    for index, frame in _pyav_decoded(path, kind, timeline, wanted):
        if (frame.width, frame.height) != (timeline.width, timeline.height):
            raise MediaError(f"{path} changes its size at frame {index}")
        yield index, np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))


def upright_size(path: Path, kind: Kind) -> tuple[int, int]:
    """(width, height) as shown: the first frame alone tells how a clip is turned."""
    with opened(path, kind) as container:
        stream = picture_stream(container, path)
        for frame in container.decode(stream):
            turned = round(frame.rotation / 90) % 2
            return (frame.height, frame.width) if turned else (frame.width, frame.height)
    raise MediaError(f"{path}: none of its frames decodes")


def _pyav_decoded(
    path: Path, kind: Kind, timeline: Timeline, wanted: Sequence[int]
) -> Iterator[tuple[int, Any]]:
    with opened(path, kind) as container:
        stream = picture_stream(container, path)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = _THREADS
        place = 0  # of the frame that the decoder comes to next
        for span in _spans(timeline, wanted):
            start = timeline.key_before(span[0])
            if start - place > _WORTH_A_SEEK:
                container.seek(timeline.pts[start], stream=stream)
            found = set()
            for index, frame in _forward(container, stream, timeline, span):
                found.add(index)
                yield index, frame
            missing = [index for index in span if index not in found]
            if missing and start:  # the file's index of keyframes leads astray
                container.seek(0, stream=stream)
                for index, frame in _forward(container, stream, timeline, missing):
                    found.add(index)
                    yield index, frame
            if len(found) < len(span):
                lost = min(set(span) - found)
                raise MediaError(f"{path}: frame {lost} of {len(timeline.pts)} does not decode")
            place = span[-1] + 1


def _spans(timeline: Timeline, wanted: Sequence[int]) -> list[list[int]]:
    """The indices, parted where it is worth while to go on from a later keyframe."""
    spans: list[list[int]] = []
    for index in wanted:
        if spans and timeline.key_before(index) - spans[-1][-1] <= _WORTH_A_SEEK:
            spans[-1].append(index)
        else:
            spans.append([index])
    return spans


def _forward(
    container: Any, stream: Any, timeline: Timeline, wanted: Sequence[int]
) -> Iterator[tuple[int, Any]]:
    """Decodes from where the container stands until all wanted frames are there, or to the end."""
    codec = stream.codec_context
    open_ = {timeline.pts[index]: index for index in wanted}
    kept = frozenset(open_)
    skips = codec.name in _SKIPPING_CODECS
    for packet in container.demux(stream):
        if skips:  # frames that nothing else is built on are left out, unless they are wanted
            codec.skip_frame = "DEFAULT" if packet.pts is None or packet.pts in kept else "NONREF"
        for frame in packet.decode():
            index = open_.pop(frame.pts, None)
            if index is not None:
                yield index, frame
        if not open_:
            return


def decord_frames(
    path: Path, kind: Kind, timeline: Timeline, wanted: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]] | None:
    """As `pyav_frames`; None for a clip that decord does not read, or does not read right."""
    known = kind.extension == "mp4" and timeline.codec in _DECORD_CODECS and timeline.closed
    if not known or find_spec("decord") is None:
        return None
    import decord

    try:
        reader = decord.VideoReader(str(path), num_threads=_THREADS)
        first = reader.get_batch(wanted[:_BATCH]).asnumpy()
    except (decord.DECORDError, RuntimeError):
        return None
    sides = sorted((timeline.height, timeline.width))  # it may be turned
    if len(reader) != len(timeline.pts) or sorted(first.shape[1:3]) != sides:
        return None
    return _decord_batches(reader, first, wanted)


def _decord_batches(
    reader: Any, first: np.ndarray, wanted: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]]:
    yield from zip(wanted, first, strict=False)
    for start in range(_BATCH, len(wanted), _BATCH):
        batch = wanted[start : start + _BATCH]
        yield from zip(batch, reader.get_batch(batch).asnumpy(), strict=True)
