"""Renders scenes as PNG, WAV and MP4 files."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from eval_anything.content import Modality
from eval_anything.media.encode import encode_mp4, encode_png, encode_wav
from eval_anything.micro.world.raster import (
    RATE,
    Raster,
    codes_of,
    codes_to_pixels,
    codes_to_wave,
)
from eval_anything.micro.world.scenes import Scene

SCALE = 4  # file pixels per raster pixel


FPS = 8  # file frames per second


REPEATS = 2  # file frames per world frame


EXTENSIONS = {Modality.IMAGE: "png", Modality.AUDIO: "wav", Modality.VIDEO: "mp4"}
"""File name endings, without the dot."""


class Rendered(NamedTuple):
    """The bytes of one medium."""

    modality: Modality
    data: bytes


def enlarge(pixels: Raster) -> Raster:
    """Repeats each pixel 4 by 4 times: (32, 32, 3) becomes (128, 128, 3)."""
    return pixels.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


@lru_cache(maxsize=4096)
def render_image(codes: tuple[int, ...]) -> Rendered:
    """The PNG of four patch codes: 128x128 pixels."""
    return Rendered(Modality.IMAGE, encode_png(enlarge(codes_to_pixels(codes))))


@lru_cache(maxsize=4096)
def render_audio(codes: tuple[int, ...]) -> Rendered:
    """The WAV of twelve audio codes: 16 bits, mono, 0.48 s at 8 kHz."""
    return Rendered(Modality.AUDIO, encode_wav(codes_to_wave(codes), RATE))


@lru_cache(maxsize=1024)
def render_video(codes: tuple[int, ...]) -> Rendered:
    """The MP4 of twelve patch codes: 0.75 s, 128x128 pixels, 8 frames per second."""
    frames = [codes_to_pixels(codes[start : start + 4]) for start in range(0, len(codes), 4)]
    repeated = (enlarge(frame) for frame in frames for _ in range(REPEATS))
    return Rendered(Modality.VIDEO, encode_mp4(repeated, FPS))


def render_codes(modality: Modality, codes: tuple[int, ...]) -> Rendered:
    """The file of a medium by its codes."""
    renderer = {Modality.IMAGE: render_image, Modality.AUDIO: render_audio, Modality.VIDEO: render_video}
    return renderer[modality](codes)


def render(scene: Scene) -> Rendered:
    """The file of a scene: a picture as PNG, a sound as WAV, a clip as MP4."""
    return render_codes(scene.modality, codes_of(scene))
