"""Checks whether a response is usable at all: it has parts, and its media are not blank or silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eval_anything import MediaPart, Modality, Response, Sample, Score
from eval_anything.media import read_audio, read_frames, read_image

if TYPE_CHECKING:
    import numpy as np

# Below these a medium is blank or silent to any viewer: grey levels of 255, and full scale 1.
SMALLEST_CONTRAST = 2.0
SMALLEST_PEAK = 1e-3
# A clip is looked at in this many frames: its pixels as floats need eight times their memory.
FRAMES = 16


def validity(_: Sample, response: Response) -> dict[str, Score]:
    """`valid_output`: 1 for a usable response. Media that do not decode never reach a judge."""
    faults = ["there is no response"] if not response.parts else []
    for part in response.parts:
        if isinstance(part, MediaPart):
            fault = _fault(part)
            if fault is not None:
                faults.append(fault)
    return {"valid_output": Score(float(not faults), explanation="; ".join(faults))}


def _fault(part: MediaPart) -> str | None:
    if part.modality is Modality.AUDIO:
        peak = float(abs(read_audio(part.path, rate=16000)).max())
        return f"the sound is silent (peak {peak:.1g})" if peak < SMALLEST_PEAK else None
    if part.modality is Modality.IMAGE:
        blank = _contrast(read_image(part.path)) < SMALLEST_CONTRAST
        return "the image is of one colour" if blank else None
    blank = _contrast(read_frames(part.path, FRAMES).frames) < SMALLEST_CONTRAST
    return "the clip is of one colour" if blank else None


def _contrast(pixels: np.ndarray) -> float:
    """The standard deviation of the colour channel that varies most; the last axis is colour."""
    return float(pixels.reshape(-1, pixels.shape[-1]).std(axis=0).max())
