"""Times at which the frames of a clip are shown, from its packets: nothing is decoded."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from eval_anything.media.containers import opened, picture_stream
from eval_anything.media.limits import MAX_FRAMES, MAX_PIXELS, MAX_SECONDS
from eval_anything.media.sniff import Kind, MediaError


@dataclass(frozen=True)
class Timeline:
    """The frames of a clip in the order in which they are shown.

    Attributes:
        pts: presentation times of the frames, rising, in units of `time_base` seconds.
        keys: indices of the keyframes, from which decoding can begin.
        last_seconds: duration of the last frame.
        width: pixels, as coded: a clip may be turned for display.
        height: pixels, as coded.
        codec: FFmpeg's name of the codec.
        closed: whether all groups of pictures are closed: no frame is shown before a keyframe and
            stored after it.
        has_sound: whether there is an audio stream.
    """

    pts: list[int]
    keys: list[int]
    time_base: Fraction
    last_seconds: float
    width: int
    height: int
    codec: str
    closed: bool
    has_sound: bool

    @property
    def times(self) -> list[float]:
        """Presentation times of the frames, in seconds."""
        return [float(pts * self.time_base) for pts in self.pts]

    def key_before(self, index: int) -> int:
        """Index of the last keyframe at or before `index`; 0 if none is known."""
        count = bisect_right(self.keys, index)
        return self.keys[count - 1] if count else 0


def read_timeline(path: Path, kind: Kind) -> Timeline:
    """The timeline of a clip. MediaError if it has no frames, is truncated, or exceeds a limit."""
    import av

    with opened(path, kind) as container:
        stream = picture_stream(container, path)
        codec = stream.codec_context
        if not 0 < codec.width * codec.height <= MAX_PIXELS:
            raise MediaError(
                f"{path} has {codec.width}x{codec.height} pixels: none, or more than allowed"
            )
        is_key: dict[int, bool] = {}
        packets = 0
        seconds = 0.0
        last_key: int | None = None
        closed = True
        for packet in container.demux():
            # Matroska stores no decoding times: those of the first frames may be unknown.
            at = packet.pts if packet.pts is not None else packet.dts
            if not packet.size or at is None:
                continue
            seconds = max(seconds, float((at + (packet.duration or 0)) * packet.time_base))
            if packet.stream is not stream:
                continue
            packets += 1
            if packet.is_corrupt:
                raise MediaError(f"{path} is truncated: {packets - 1} of {stream.frames or '?'} frames")
            if packets > MAX_FRAMES:
                raise MediaError(f"{path} has more than {MAX_FRAMES} frames")
            if packet.is_keyframe:
                last_key = at
            closed = closed and last_key is not None and at >= last_key
            if not packet.is_discard and not _is_hidden(packet, codec.name):
                is_key[at] = packet.is_keyframe
            length = packet.duration or 0
        if not is_key:
            raise MediaError(f"{path} holds no frames")
        if packets < stream.frames:
            raise MediaError(f"{path} is truncated: {packets} of {stream.frames} frames")
        pts = sorted(is_key)
        base = stream.time_base
        if (pts[-1] - pts[0]) * base > MAX_SECONDS:
            raise MediaError(f"{path} is longer than {MAX_SECONDS:.0f} s")
        if not stream.frames and container.duration is not None:
            # A format that does not declare its number of frames declares its duration.
            declared = container.duration / av.time_base
            widest = max((b - a for a, b in pairwise(pts)), default=0)
            if declared - seconds > 2 * float(widest * base) + 0.02:
                raise MediaError(f"{path} is truncated: {seconds:.2f} of {declared:.2f} s")
        return Timeline(
            pts=pts,
            keys=[index for index, at in enumerate(pts) if is_key[at]],
            time_base=base,
            last_seconds=float((length or (pts[-1] - pts[-2] if len(pts) > 1 else 0)) * base),
            width=codec.width,
            height=codec.height,
            codec=codec.name,
            closed=closed,
            has_sound=bool(container.streams.audio),
        )


def _is_hidden(packet: Any, codec: str) -> bool:
    """Whether a packet of VP8 is a reference for others, never shown (RFC 6386, 9.1: show_frame)."""
    return codec in ("vp8", "libvpx") and not bytes(packet)[0] & 0x10
