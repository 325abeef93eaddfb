"""Pictures, sounds and clips as real PNG, WAV and MP4 files."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from eval_anything.content import Modality
from eval_anything.micro.raster import (
    RATE,
    Raster,
    clip_codes,
    codes_to_pixels,
    codes_to_wave,
    picture_codes,
    sound_codes,
)
from eval_anything.micro.world import Clip, Item, Picture, Thing

SCALE = 4  # file pixels per raster pixel
FPS = 8  # file frames per second
REPEATS = 2  # file frames per world frame


@dataclass(frozen=True)
class Rendered:
    """The bytes of one medium."""

    modality: Modality
    mime: str
    data: bytes

    @property
    def extension(self) -> str:
        """File name ending without the dot."""
        return {"image/png": "png", "audio/wav": "wav", "video/mp4": "mp4"}[self.mime]


def enlarge(pixels: Raster) -> Raster:
    """(32, 32, 3) -> (128, 128, 3)."""
    return pixels.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


@lru_cache(maxsize=4096)
def render_image(codes: tuple[int, ...]) -> Rendered:
    """Four patch codes -> a PNG of 128x128 pixels."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(enlarge(codes_to_pixels(codes))).save(buffer, "PNG", optimize=True)
    return Rendered(Modality.IMAGE, "image/png", buffer.getvalue())


@lru_cache(maxsize=4096)
def render_audio(codes: tuple[int, ...]) -> Rendered:
    """Twelve audio codes -> a 16-bit mono WAV of 0.48 s at 8 kHz."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((codes_to_wave(codes) * 32767).astype("<i2").tobytes())
    return Rendered(Modality.AUDIO, "audio/wav", buffer.getvalue())


@lru_cache(maxsize=1024)
def render_video(codes: tuple[int, ...]) -> Rendered:
    """Twelve patch codes -> an MP4 of 0.75 s, 128x128 pixels, 8 frames per second."""
    frames = [codes_to_pixels(codes[start : start + 4]) for start in range(0, len(codes), 4)]
    repeated = (enlarge(frame) for frame in frames for _ in range(REPEATS))
    return Rendered(Modality.VIDEO, "video/mp4", encode_mp4(repeated, FPS))


def encode_mp4(frames: Iterable[Raster], fps: int, crf: int = 18) -> bytes:
    """Frames uint8 (height, width, 3) -> H.264 in MP4; `crf` is the quality, 0 (best) to 51."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        # One thread, so that the same frames give the same bytes.
        options = {"crf": str(crf), "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        stream.pix_fmt = "yuv420p"
        for number, pixels in enumerate(frames):
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"))
            )
        container.mux(stream.encode(None))
    return buffer.getvalue()


def render(thing: Thing) -> Rendered:
    """The file of a picture (PNG), sound (WAV) or clip (MP4)."""
    if isinstance(thing, Picture):
        return render_image(picture_codes(thing))
    if isinstance(thing, Clip):
        return render_video(clip_codes(thing))
    return render_audio(sound_codes(thing))


def render_items(items: Iterable[Item]) -> tuple[str | Rendered, ...]:
    """Texts stay as they are, things become files."""
    return tuple(item if isinstance(item, str) else render(item) for item in items)
