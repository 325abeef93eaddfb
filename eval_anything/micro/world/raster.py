"""The logical signals behind the files: 32x32 rasters, the book of image patches, tones. Needs numpy."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from eval_anything.micro.world.scenes import (
    COLS,
    CONTOURS,
    COUNTS,
    PITCHES,
    ROWS,
    Clip,
    Picture,
    Scene,
    Sound,
    all_scenes,
    path_of,
)

SIDE = 32  # pixels of a raster, both ways


PATCH = 16  # pixels of a patch, both ways; a raster has 2x2 patches


RADIUS = 6  # pixels: an object covers PATCH - 4, so corner places share one patch


FRAMES = 3  # world frames in a clip


AUDIO_FRAMES = 12  # frames in a sound


RATE = 8000  # Hz


FRAME_SAMPLES = 320  # 40 ms: every multiple of 25 Hz makes whole periods, so frames join without a click


BACKGROUND = (24, 24, 32)


PALETTE = {"red": (225, 40, 40), "green": (40, 190, 70), "blue": (60, 90, 240), "yellow": (240, 215, 40)}


SILENCE = 0  # audio code; the nine tones follow, three for each pitch: lower, its own, upper


TONES_HZ = (300, 400, 500, 700, 850, 1000, 1300, 1500, 1700)


# Frequency steps within one tone, as positions in the pitch's three tones.
STEPS = {"rising": (0, 2), "falling": (2, 0), "flat": (1, 1)}


Raster = NDArray[np.uint8]


def raster(picture: Picture) -> Raster:
    """The picture as uint8 (32, 32, 3)."""
    centre_x, centre_y = 8 * (COLS.index(picture.col) + 1), 8 * (ROWS.index(picture.row) + 1)
    rows, cols = np.mgrid[0:SIDE, 0:SIDE]
    x, y = cols + 0.5 - centre_x, rows + 0.5 - centre_y
    inside = {
        "circle": x**2 + y**2 <= RADIUS**2,
        "square": np.maximum(abs(x), abs(y)) <= RADIUS,
        "triangle": (abs(y) <= RADIUS) & (abs(x) <= (y + RADIUS) / 2),
    }[picture.shape]
    pixels = np.empty((SIDE, SIDE, 3), np.uint8)
    pixels[:] = BACKGROUND
    pixels[inside] = PALETTE[picture.colour]
    return pixels


def split_patches(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Patches (4, 16, 16, 3) of a raster (32, 32, 3): top left, top right, bottom left, bottom right."""
    halves = pixels.reshape(2, PATCH, 2, PATCH, 3)
    return halves.transpose(0, 2, 1, 3, 4).reshape(4, PATCH, PATCH, 3)


def join_patches(patches: NDArray[np.generic]) -> NDArray[np.generic]:
    """The inverse of `split_patches`."""
    return patches.reshape(2, 2, PATCH, PATCH, 3).transpose(0, 2, 1, 3, 4).reshape(SIDE, SIDE, 3)


@cache
def pictures() -> tuple[tuple[Picture, ...], NDArray[np.float32]]:
    """All 108 pictures and their rasters, float32 (108, 32, 32, 3)."""
    every = tuple(all_scenes(Picture))
    return every, np.stack([raster(picture) for picture in every]).astype(np.float32)


@cache
def patch_book() -> Raster:
    """Every distinct patch, uint8 (109, 16, 16, 3); a patch code is an index of it."""
    distinct: dict[bytes, NDArray[np.generic]] = {}
    for pixels in pictures()[1].astype(np.uint8):
        for patch in split_patches(pixels):
            distinct.setdefault(patch.tobytes(), patch)
    return np.stack(list(distinct.values())).astype(np.uint8)


def pixels_to_codes(pixels: NDArray[np.generic]) -> tuple[int, ...]:
    """Codes of the four nearest patches of a raster (32, 32, 3) in 0..255."""
    book = patch_book().astype(np.float32)
    patches = split_patches(pixels).astype(np.float32)
    distance = ((patches[:, None] - book[None]) ** 2).sum(axis=(2, 3, 4))
    return tuple(int(code) for code in distance.argmin(axis=1))


def codes_to_pixels(codes: tuple[int, ...]) -> Raster:
    """The raster uint8 (32, 32, 3) of four patch codes."""
    return join_patches(patch_book()[list(codes)]).astype(np.uint8)


@cache
def picture_codes(picture: Picture) -> tuple[int, ...]:
    """The four patch codes of a picture."""
    return pixels_to_codes(raster(picture))


def clip_codes(clip: Clip) -> tuple[int, ...]:
    """The twelve patch codes of a clip, frame by frame."""
    return tuple(code for frame in path_of(clip) for code in picture_codes(frame))


def sound_codes(sound: Sound) -> tuple[int, ...]:
    """The twelve audio codes of a sound: each tone is on for two frames and off for one."""
    first, second = (1 + 3 * PITCHES.index(sound.pitch) + step for step in STEPS[sound.contour])
    count = COUNTS.index(sound.count) + 1
    return ((first, second, SILENCE) * count + (SILENCE,) * AUDIO_FRAMES)[:AUDIO_FRAMES]


def codes_of(scene: Scene) -> tuple[int, ...]:
    """The codes of a picture, clip or sound."""
    if isinstance(scene, Picture):
        return picture_codes(scene)
    return clip_codes(scene) if isinstance(scene, Clip) else sound_codes(scene)


def contour_of_steps(first: int, second: int) -> str:
    """The contour of a tone whose frames have these positions (0..2) among the pitch's tones."""
    if first == second:
        return "flat"
    return CONTOURS[0] if first < second else CONTOURS[1]


def codes_to_wave(codes: tuple[int, ...]) -> NDArray[np.float32]:
    """The samples of audio codes: float32 (320 * len(codes),) in -.5 .. .5."""
    time = np.arange(FRAME_SAMPLES) / RATE
    frames = [
        np.zeros(FRAME_SAMPLES)
        if code == SILENCE
        else 0.5 * np.sin(2 * np.pi * TONES_HZ[code - 1] * time)
        for code in codes
    ]
    return np.concatenate(frames).astype(np.float32)
