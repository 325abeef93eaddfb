"""Perceives the micro world: the attributes that a file or text shows, or why none can be read.

Files are read, never tokens. Pictures are recognised by synthesis: the nearest of all rasters, if it is
near enough. The bound is under half the distance between the two most similar rasters, so no file can
pass for two of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval_anything.content import MediaPart, Modality, Part, Response, TextPart
from eval_anything.media import read_audio, read_image, read_video
from eval_anything.micro.world import hearing, words
from eval_anything.micro.world.raster import RATE, SIDE, pictures
from eval_anything.micro.world.scenes import MOTIONS, Clip, Picture, attributes_of, path_of

MAX_DISTANCE = 8.0  # root mean square over 0..255; the two most similar rasters are 17.4 apart


BLANK_SPREAD = 4.0  # standard deviation below which a picture shows nothing


NOISE_SPREAD = 20.0  # standard deviation within the area of one raster pixel


@dataclass(frozen=True)
class Percept:
    """Attributes of a part (None: mixed or unclear), or a problem and no attributes."""

    modality: Modality
    attributes: Mapping[str, str | None] = field(default_factory=dict)
    problem: str = ""


def perceive_file(modality: Modality, path: Path) -> Percept:
    """The percept of a file.

    Accepts square pictures of 32 pixels or more in any format, sounds of 8 kHz or more, and clips of any
    frame rate that shows all three world frames.
    """
    reader = {Modality.IMAGE: _see_picture, Modality.AUDIO: _hear_sound, Modality.VIDEO: _see_clip}
    try:
        return Percept(modality, reader[modality](path))
    except ValueError as error:
        # Where a file lies is no part of what is wrong with it, and differs from run to run.
        return Percept(modality, problem=str(error).replace(str(path), "the file"))


def _see_picture(path: Path) -> Mapping[str, str | None]:
    return attributes_of(_recognise(read_image(path)))


def _hear_sound(path: Path) -> Mapping[str, str | None]:
    return hearing.hear(read_audio(path, RATE))


def _see_clip(path: Path) -> Mapping[str, str | None]:
    frames = [_recognise(pixels) for pixels in read_video(path).frames]
    shape, colour = (_only({getattr(frame, name) for frame in frames}) for name in ("shape", "colour"))
    positions = [position for position, _ in groupby((frame.row, frame.col) for frame in frames)]
    motion = next((m for m in MOTIONS if positions == _positions(m)), None)
    return {"shape": shape, "colour": colour, "motion": motion}


def perceive_text(text: str) -> Percept:
    """The percept of a text, with the attributes that it names and no others."""
    if not text.strip():
        return Percept(Modality.TEXT, problem="the text is blank")
    return Percept(Modality.TEXT, words.read(text))


def perceive(part: Part) -> Percept:
    """The percept of a text or medium."""
    return perceive_text(part.text) if isinstance(part, TextPart) else _perceive_medium(part)


@lru_cache(maxsize=4096)  # controls look at the same answers again
def _perceive_medium(part: MediaPart) -> Percept:
    return perceive_file(part.modality, part.path)


def perceive_response(response: Response) -> dict[Modality, Percept]:
    """Percepts by modality: of all text together, and of the first medium of each kind."""
    first_media: dict[Modality, MediaPart] = {}
    for part in response.parts:
        if isinstance(part, MediaPart):
            first_media.setdefault(part.modality, part)
    percepts = {modality: perceive(part) for modality, part in first_media.items()}
    if response.text.strip():
        percepts[Modality.TEXT] = perceive_text(response.text)
    return percepts


def shrink(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Averages a picture uint8 (n, n, 3), n >= 32, over areas: float32 (32, 32, 3).

    Raises ValueError if it is smaller or no square.
    """
    from PIL import Image

    height, width = pixels.shape[:2]
    if height != width or height < SIDE:
        raise ValueError(f"not of this world: {width}x{height} pixels, not a square of {SIDE} or more")
    small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)


def _recognise(pixels: NDArray[np.uint8]) -> Picture:
    """The picture with the nearest raster. Raises ValueError for blank, noisy and foreign ones."""
    if float(pixels.std(axis=(0, 1)).max()) < BLANK_SPREAD:
        raise ValueError("blank: nothing to see")
    small = shrink(pixels)
    candidates, rasters = pictures()
    distances = np.sqrt(((rasters - small) ** 2).mean(axis=(1, 2, 3)))
    nearest = int(distances.argmin())
    distance = distances[nearest]
    if _roughness(pixels, small) > NOISE_SPREAD:
        raise ValueError("noise: no clear picture")
    if distance <= MAX_DISTANCE:
        return candidates[nearest]
    raise ValueError(
        f"not of this world: {distance:.0f} from the nearest picture (at most {MAX_DISTANCE:.0f})"
    )


def _roughness(pixels: NDArray[np.uint8], small: NDArray[np.float32]) -> float:
    """Root mean square of the difference between the pixels and their averages over areas."""
    from PIL import Image

    size = (pixels.shape[1], pixels.shape[0])
    smooth = np.asarray(
        Image.fromarray(small.astype(np.uint8)).resize(size, Image.Resampling.NEAREST), np.float32
    )
    return float(np.sqrt(((pixels - smooth) ** 2).mean()))


def _only(values: set[str]) -> str | None:
    return next(iter(values)) if len(values) == 1 else None


def _positions(motion: str) -> list[tuple[str, str]]:
    """Row and column of each frame of a clip with this motion."""
    return [(frame.row, frame.col) for frame in path_of(Clip("circle", "red", motion))]
