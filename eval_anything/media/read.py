"""Readers of media for the rest of the program. Each medium is decoded in a child process (`pool`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eval_anything.content import MediaPart
from eval_anything.media.pool import pool

if TYPE_CHECKING:
    import numpy as np


class AudioSamples(NamedTuple):
    """Samples at the file's own rate in Hz: float32 (n, channels), full scale -1..1."""

    samples: np.ndarray
    rate: int


class DecodedImage(NamedTuple):
    """Pixels as of `read_image`, and whether every other reader of the file sees the same.

    They do if it is upright and one picture, without transparency, of at most 8 bits a channel.
    """

    pixels: np.ndarray
    is_plain: bool


class Video(NamedTuple):
    """Decoded frames: uint8 (n, height, width, 3), RGB, and their times in seconds, float64 (n,)."""

    frames: np.ndarray
    times: np.ndarray


class FrameTimes(NamedTuple):
    """Times at which the frames of a clip are shown, float64 (n,), and the end of the last one, in
    seconds of the file's own clock; size is the (width, height) of the upright frames."""

    times: np.ndarray
    end: float
    size: tuple[int, int]


@dataclass(frozen=True)
class Probe:
    """Properties of a medium; None where they do not apply, or the file does not declare them.

    Attributes:
        mime: MIME type by the first bytes.
        duration: length of a sound or clip, in seconds.
        rate: sampling rate of a sound in Hz; mean frames a second of a clip.
        size: (width, height) of a picture or clip, upright, in pixels.
        frames: number of frames of a clip; 1 for a picture, since only its first frame is ever read.
        channels: number of channels of a sound.
        has_sound: whether a clip has an audio stream.
    """

    mime: str
    duration: float | None = None
    rate: float | None = None
    size: tuple[int, int] | None = None
    frames: int | None = None
    channels: int | None = None
    has_sound: bool | None = None


def read_image(path: Path) -> np.ndarray:
    """The pixels, uint8 (height, width, 3), RGB, upright; transparent ones are blended with white.

    Sixteen bits and more are scaled to eight. An animation yields its first picture. MediaError if it
    does not decode.
    """
    return read_picture(path).pixels


def read_picture(path: Path) -> DecodedImage:
    """The pixels as of `read_image`, and whether the file itself may be shown in their place."""
    answer, pixels = pool().decode("image", path, "uint8")
    return DecodedImage(pixels, answer["plain"])


def read_audio(path: Path, rate: int) -> np.ndarray:
    """The sound as float32 (samples,), mono (the mean of its channels), resampled to `rate` Hz.

    n samples at r Hz become round(n * rate / r). Full scale is -1..1; a file of floats may exceed it.
    MediaError if it does not decode.
    """
    samples: np.ndarray = pool().decode("audio", path, "float32", rate=rate).array
    return samples


def read_sound(path: Path) -> AudioSamples:
    """The sound with its own channels and rate: not mixed, not resampled. MediaError if it does not
    decode."""
    answer, array = pool().decode("sound", path, "float32")
    return AudioSamples(array, answer["rate"])


def read_video(path: Path) -> Video:
    """All frames of a short clip, in order. MediaError for more than `MAX_VIDEO_PIXELS` in all."""
    return _video(path)


def read_frames(
    path: Path,
    count: int | None = None,
    *,
    indices: Sequence[int] | None = None,
    times: Sequence[float] | None = None,
) -> Video:
    """Some frames of a clip of any length, in the order of the argument; exactly one must be given.

    Args:
        path: file of the clip. Only the part that the frames need is decoded.
        count: number of frames, those on screen in the middles of equal spans of time; all if the clip
            has no more.
        indices: indices of frames in the order in which they are shown, from 0.
        times: times at which frames are shown, in seconds of the file's own clock.

    Raises:
        MediaError: the clip does not decode, or has no such frame.
    """
    selections = [choice for choice in (count, indices, times) if choice is not None]
    if len(selections) != 1 or (count is not None and count < 1):
        raise TypeError("read_frames takes one of: count (1 or more), indices, times")
    return _video(path, count, indices, times)


def _video(
    path: Path,
    count: int | None = None,
    indices: Sequence[int] | None = None,
    times: Sequence[float] | None = None,
) -> Video:
    import numpy as np

    answer, array = pool().decode(
        "video",
        path,
        "uint8",
        count=count,
        indices=None if indices is None else [int(index) for index in indices],
        times=None if times is None else [float(time) for time in times],
    )
    return Video(array, np.asarray(answer["times"], np.float64))


def read_times(path: Path) -> FrameTimes:
    """The times of all frames of a clip, from its packets; one frame is decoded."""
    answer, times = pool().decode("times", path, "float64")
    width, height = answer["size"]
    return FrameTimes(times[:-1], float(times[-1]), (width, height))


def probe(path: Path) -> Probe:
    """Properties of a medium from headers and packets. Of a clip one frame is decoded, and a sound is
    decoded completely: headers do not tell its length."""
    answer = dict(pool().decode("probe", path).answer)
    del answer["last"]
    if "size" in answer:
        answer["size"] = tuple(answer["size"])
    return Probe(**answer)


def check_decodes(part: MediaPart) -> None:
    """MediaError if the medium does not decode, or is truncated.

    Pictures and sounds are decoded completely. So is a clip of at most 64 Mi pixels in all (12 s of
    640x360 at 25 frames a second); of a longer one all packets are counted, and 16 frames from its
    beginning to its end are decoded.
    """
    pool().decode("check", part.path, modality=part.modality)
