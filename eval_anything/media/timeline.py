"""Times at which the frames of a clip are shown, from its packets: only the first frame is decoded."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from eval_anything.media.containers import opened, picture_stream
from eval_anything.media.limits import MAX_FRAMES, MAX_PIXELS, MAX_SECONDS
from eval_anything.media.orientation import Orientation, of_frame
from eval_anything.media.sniff import Kind, MediaError


@dataclass(frozen=True)
class Timeline:
    """The frames of a clip in the order in which they are shown.

    Attributes:
        pts: presentation times of the frames, rising, in units of `time_base` seconds.
        keys: indices of the keyframes, from which decoding can begin.
        last_seconds: duration of the last frame, above 0.
        width: pixels of the first frame, as stored: a clip may be turned for display.
        height: pixels of the first frame, as stored.
        orientation: the way in which stored frames are turned to be shown.
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
    orientation: Orientation
    codec: str
    closed: bool
    has_sound: bool

    @property
    def times(self) -> list[float]:
        """Presentation times of the frames, in seconds."""
        return [float(pts * self.time_base) for pts in self.pts]

    @property
    def end(self) -> float:
        """Time at which the last frame ends, in seconds."""
        return float(self.pts[-1] * self.time_base) + self.last_seconds

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as shown."""
        return self.orientation.size(self.width, self.height)

    def shown_at(self, time: float) -> int:
        """Index of the frame on screen at a time in seconds; the first one before the clip begins."""
        # A time that was computed in floats may be just before its frame by rounding.
        tick = math.floor(Fraction(time + 1e-6) / self.time_base)
        return max(bisect_right(self.pts, tick) - 1, 0)

    def key_before(self, index: int) -> int:
        """Index of the last keyframe at or before `index`; 0 if none is known."""
        count = bisect_right(self.keys, index)
        return self.keys[count - 1] if count else 0


def read_timeline(path: Path, kind: Kind) -> Timeline:
    """The timeline of a clip. MediaError if it has no frames, is truncated, or exceeds a limit."""
    with opened(path, kind) as container:
        stream = picture_stream(container, path)
        packets = _Packets(path, stream)
        for packet in container.demux():
            packets.add(packet)
        packets.check_whole(container)
        first, pts = packets.first, sorted(packets.is_key)
        return Timeline(
            pts=pts,
            keys=[index for index, at in enumerate(pts) if packets.is_key[at]],
            time_base=stream.time_base,
            last_seconds=float(packets.last_length(pts) * stream.time_base),
            width=first.width,
            height=first.height,
            orientation=of_frame(first),
            codec=stream.codec_context.name,
            closed=packets.closed,
            has_sound=bool(container.streams.audio),
        )


class _Packets:
    """All packets of a clip.

    Attributes:
        is_key: whether the frame that is shown at a time, in units of the stream, is a keyframe.
        closed: see `Timeline`.
    """

    def __init__(self, path: Path, stream: Any) -> None:
        self.is_key: dict[int, bool] = {}
        self.closed = True
        self._path = path
        self._stream = stream
        self._codec = stream.codec_context
        self._lengths: dict[int, int] = {}
        self._first: Any = None
        self._number = 0
        self._seconds = 0.0
        self._last_key: int | None = None
        self._check_size(self._codec)

    @property
    def first(self) -> Any:
        """The first frame, decoded: it alone says how a clip is turned. MediaError if none decodes."""
        if self._first is None:
            self._decode_first(None)
        if self._first is None:
            raise MediaError(f"{self._path}: none of its frames decodes")
        return self._first

    def add(self, packet: Any) -> None:
        """Adds the next packet of the file, also of another stream. MediaError if it is truncated."""
        # Matroska stores no decoding times: those of the first frames may be unknown.
        at = packet.pts if packet.pts is not None else packet.dts
        if not packet.size or at is None:
            return
        self._seconds = max(self._seconds, float((at + (packet.duration or 0)) * packet.time_base))
        if packet.stream is not self._stream:
            return
        self._number += 1
        if packet.is_corrupt:
            count = self._stream.frames or "?"
            raise MediaError(f"{self._path} is truncated: {self._number - 1} of {count} frames")
        if self._number > MAX_FRAMES:
            raise MediaError(f"{self._path} has more than {MAX_FRAMES} frames")
        if packet.is_keyframe:
            self._last_key = at
        self.closed = self.closed and self._last_key is not None and at >= self._last_key
        if not packet.is_discard and not _is_hidden(packet, self._codec.name):
            self.is_key[at] = packet.is_keyframe
            self._lengths[at] = packet.duration or 0
        if self._first is None:
            self._decode_first(packet)

    def check_whole(self, container: Any) -> None:
        """MediaError if there are no frames, fewer than declared, or more seconds than allowed."""
        import av

        if not self.is_key:
            raise MediaError(f"{self._path} holds no frames")
        declared_frames, base = self._stream.frames, self._stream.time_base
        if self._number < declared_frames:
            raise MediaError(f"{self._path} is truncated: {self._number} of {declared_frames} frames")
        pts = sorted(self.is_key)
        if (pts[-1] - pts[0]) * base > MAX_SECONDS:
            raise MediaError(f"{self._path} is longer than {MAX_SECONDS:.0f} s")
        if not declared_frames and container.duration is not None:
            # A format that does not declare its number of frames declares its duration.
            declared = container.duration / av.time_base
            widest = max((b - a for a, b in pairwise(pts)), default=0)
            if declared - self._seconds > 2 * float(widest * base) + 0.02:
                raise MediaError(f"{self._path} is truncated: {self._seconds:.2f} of {declared:.2f} s")

    def last_length(self, pts: list[int]) -> Fraction:
        """Duration of the last frame in units of the stream: as its packet says, else like the frame
        before it, else by the mean rate of the stream; a single frame without any of them lasts 1 s."""
        if length := self._lengths[pts[-1]]:
            return Fraction(length)
        if len(pts) > 1:
            return Fraction(pts[-1] - pts[-2])
        return 1 / Fraction(self._stream.time_base * (self._stream.average_rate or 1))

    def _decode_first(self, packet: Any | None) -> None:
        import av

        try:
            frames = self._codec.decode(packet)
        except av.error.FFmpegError:  # FFmpeg, too, begins with the first frame that decodes
            return
        if frames:
            self._first = frames[0]
            self._check_size(self._first)

    def _check_size(self, sized: Any) -> None:
        if not 0 < sized.width * sized.height <= MAX_PIXELS:
            raise MediaError(
                f"{self._path} has {sized.width}x{sized.height} pixels: none, or more than allowed"
            )


def _is_hidden(packet: Any, codec: str) -> bool:
    """Whether a packet of VP8 is a reference for others, never shown (RFC 6386, 9.1: show_frame)."""
    return codec in ("vp8", "libvpx") and not bytes(packet)[0] & 0x10
