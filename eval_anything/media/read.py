"""The readers that everything else uses. Each medium is decoded in a child process (`pool`)."""

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
    """Samples as the file has them: float32 (n, channels), full scale -1..1, at `rate` Hz."""

    samples: np.ndarray
    rate: int


class Video(NamedTuple):
    """Decoded frames: uint8 (n, height, width, 3), RGB, and their times in seconds, float64 (n,)."""

    frames: np.ndarray
    times: np.ndarray


@dataclass(frozen=True)
class Probe:
    """What a file says of itself; None where it has no such thing, or does not say.

    Attributes:
        mime: of its first bytes.
        duration: seconds, of a sound or clip.
        rate: Hz of a sound; frames a second of a clip, on average.
        size: (width, height) of a picture or clip, upright, in pixels.
        frames: of a clip; 1 of a picture, of which only the first frame is ever read.
        channels: of a sound.
        has_sound: whether a clip has a stream of sound.
    """

    mime: str
    duration: float | None = None
    rate: float | None = None
    size: tuple[int, int] | None = None
    frames: int | None = None
    channels: int | None = None
    has_sound: bool | None = None


def read_image(path: Path) -> np.ndarray:
    """Pixels as uint8 (height, width, 3), RGB, upright; transparency is laid over white.

    Of an animation it is the first picture.
    """
    pixels: np.ndarray = pool().decode("image", path, "uint8").array
    return pixels


def read_audio(path: Path, rate: int) -> np.ndarray:
    """The sound as float32 (samples,), mono (the mean of its channels), resampled to `rate` Hz.

    n samples at r Hz become round(n * rate / r). Full scale is -1..1; a file of floats may exceed it.
    """
    samples: np.ndarray = pool().decode("audio", path, "float32", rate=rate).array
    return samples


def read_sound(path: Path) -> AudioSamples:
    """The sound as its file has it: nothing mixed, nothing resampled."""
    answer, array = pool().decode("sound", path, "float32")
    return AudioSamples(array, answer["rate"])


def read_video(path: Path) -> Video:
    """All frames of a short clip, in order (`MAX_VIDEO_PIXELS` in all)."""
    return _video(path)


def read_frames(
    path: Path,
    count: int | None = None,
    *,
    indices: Sequence[int] | None = None,
    times: Sequence[float] | None = None,
) -> Video:
    """Some frames of a clip, of any length: only what they need is decoded.

    One of: `count` frames at the middles of equal spans (all, if there are no more); those of
    `indices`, counted as they are shown, from 0; those that are seen at `times`, in seconds of the
    file's own clock. The order is that of the arguments. MediaError for a frame that the clip has not.
    """
    given = [choice for choice in (count, indices, times) if choice is not None]
    if len(given) != 1 or (count is not None and count < 1):
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


def probe(path: Path) -> Probe:
    """What the headers and packets of a file say; of a clip one frame is decoded."""
    answer = dict(pool().decode("probe", path).answer)
    del answer["last"]
    if "size" in answer:
        answer["size"] = tuple(answer["size"])
    return Probe(**answer)


def check_decodes(part: MediaPart) -> None:
    """MediaError if the medium does not decode, or is truncated.

    Pictures and sounds are decoded whole. So is a clip of at most 64 Mi pixels in all (12 s of 640x360
    at 25 frames a second); of a longer one all packets are counted, and 16 frames from its beginning
    to its end are decoded.
    """
    pool().decode("check", part.path, modality=part.modality)
