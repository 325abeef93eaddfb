"""Clips as a video processor takes them: which frames, at which size, and the times that it is given.

Processors choose frames by index, as if all were shown equally long. Of a clip with a variable rate the
frames on screen at those times are taken, and their own times are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from eval_anything.media import FrameTimes, MediaError, read_frames, read_times
from eval_anything.media.limits import MAX_RESULT, MAX_VIDEO_PIXELS

if TYPE_CHECKING:
    import numpy as np

# Frames of a clip for a video processor whose config does not define its sampling.
FRAMES = 16


# Pixels that are decoded at once. Larger clips are scaled before the processor gets them.
_PIXELS_AT_ONCE = 64 * 2**20


# Seconds by which frames at a constant rate may be off their grid, since containers round times.
_OFF_GRID = 0.002


# Units a second in which the times of frames at a variable rate are given.
_CLOCK = 1000


Sampler = Callable[[Mapping[str, Any]], Sequence[int]]
"""A function from the VideoMetadata (of transformers) of a clip to the indices of the frames to take."""


class Scaler(Protocol):
    """Scales frames as a video processor does."""

    def size(self, frames: int, height: int, width: int) -> tuple[int, int] | None:
        """Height and width to which so many frames are scaled; None if that is not known."""
        ...

    def scaled(self, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Frames, uint8 (n, height, width, 3), scaled to a size."""
        ...


def read_clip(
    path: Path, sampler: Sampler | None = None, scaler: Scaler | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
    """The frames that a processor takes, uint8 (n, height, width, 3), and its VideoMetadata of the clip.

    Args:
        path: file of the clip. Only the part that the frames need is decoded.
        sampler: chooses the frames; None takes `FRAMES`, evenly spread in time.
        scaler: scales frames with more than 64 Mi pixels in all, a part of them at a time; None gives
            frames in their own size.

    Raises:
        MediaError: the clip does not decode, or its frames have too many pixels even when scaled.
    """
    import numpy as np

    clip = read_times(path)
    width, height = clip.size
    times, duration = clip.times - clip.times[0], clip.end - float(clip.times[0])
    total = len(times)
    is_constant = _has_constant_rate(times, duration)
    fps = (total - 1) / float(times[-1]) if is_constant and total > 1 else total / duration
    about = {
        "total_num_frames": total,
        "fps": fps,
        "duration": total / fps,
        "height": height,
        "width": width,
        "frames_indices": list(range(total)),
    }
    if sampler is None:
        indices = _evenly(times, duration)
    else:
        indices = list(sampler(about))
        if not is_constant:
            indices = _on_screen(times, np.asarray(indices) / fps)
    about["frames_indices"] = indices
    if not is_constant:
        own_times = [round(float(times[index]) * _CLOCK) for index in indices]
        about |= {
            "total_num_frames": round(duration * _CLOCK),
            "fps": float(_CLOCK),
            "frames_indices": own_times,
        }
    return _scaled_frames(path, indices, clip, scaler), about


def _has_constant_rate(times: np.ndarray, duration: float) -> bool:
    """Whether all frames are shown equally long; the last one may end early, as some encoders say."""
    import numpy as np

    total = len(times)
    step = float(times[-1]) / (total - 1) if total > 1 else duration
    is_even = bool((abs(times - np.arange(total) * step) <= _OFF_GRID).all())
    return is_even and abs(duration - total * step) <= step


def _evenly(times: np.ndarray, duration: float) -> list[int]:
    """Indices of the frames in the middles of `FRAMES` equal spans of time; all of a shorter clip."""
    import numpy as np

    if len(times) <= FRAMES:
        return list(range(len(times)))
    return _on_screen(times, (2 * np.arange(FRAMES) + 1) * duration / (2 * FRAMES))


def _on_screen(times: np.ndarray, moments: np.ndarray) -> list[int]:
    """Indices of the frames that are shown at these moments, in seconds from the first frame."""
    import numpy as np

    # A moment that was computed in floats may be just before its frame by rounding.
    return [int(i) for i in np.searchsorted(times, moments + 1e-6, side="right") - 1]


def _scaled_frames(
    path: Path, indices: Sequence[int], clip: FrameTimes, scaler: Scaler | None
) -> np.ndarray:
    import numpy as np

    width, height = clip.size
    count = len(indices)
    if count * width * height <= _PIXELS_AT_ONCE:
        return read_frames(path, indices=indices).frames
    size = None if scaler is None else scaler.size(count, height, width)
    if size is None or size[0] * size[1] >= height * width:
        size = (height, width)
    most = MAX_VIDEO_PIXELS if size == (height, width) else MAX_RESULT // 3
    if count * size[0] * size[1] > most:
        raise MediaError(
            f"{path}: {count} frames of {size[1]}x{size[0]} pixels are more than {most} pixels in all; "
            "let the video processor of the checkpoint take fewer or smaller frames (fps, size)"
        )
    frames = np.empty((count, *size, 3), np.uint8)
    at_once = max(1, _PIXELS_AT_ONCE // (width * height))
    for start in range(0, count, at_once):
        pixels = read_frames(path, indices=indices[start : start + at_once]).frames
        if scaler is not None and size != (height, width):
            pixels = scaler.scaled(pixels, size)
        frames[start : start + at_once] = pixels
    return frames
