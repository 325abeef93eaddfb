"""A generator that draws media from the words of a prompt by rules, so that an agent needs no weights.

It understands colours, shapes and small numbers alone: "three red circles" gives three red circles.
All other words only choose tones and shades. It is for tests and demonstrations.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from eval_anything.content import Modality
from eval_anything.files.hashing import sha256_of
from eval_anything.media.encode import encode_mp4, encode_png, encode_wav
from eval_anything.models.agent.generators.base import (
    Generator,
    GeneratorContext,
    GeneratorSettings,
    Order,
)

if TYPE_CHECKING:
    from eval_anything.media.encode import Pixels


_VERSION = 1  # raise it when the same prompt would give another file


_COLOURS = {
    "red": (214, 40, 40), "orange": (240, 140, 30), "yellow": (245, 210, 50), "green": (50, 160, 80),
    "blue": (50, 90, 220), "purple": (130, 60, 180), "pink": (240, 130, 180), "brown": (130, 85, 50),
    "black": (20, 20, 20), "white": (250, 250, 250), "grey": (130, 130, 130), "gray": (130, 130, 130),
}  # fmt: skip


_SHAPES = {"circle": 0, "ball": 0, "sun": 0, "moon": 0, "triangle": 3, "mountain": 3, "square": 4,
           "box": 4, "house": 4, "diamond": 4, "pentagon": 5, "hexagon": 6, "star": 10}  # fmt: skip


_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9}


_MOST_SHAPES = 9


_RATE, _NOTE = 16000, 0.18  # Hz, seconds


_FRAMES, _FPS = 16, 8


class DrawnSettings(GeneratorSettings, frozen=True, kw_only=True):
    """The settings of a drawn medium; `size` is the width and height of images and clips in pixels."""

    size: int = 256

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 2048 or self.size % 2:
            raise ValueError("size must be an even number from 32 to 2048")


class DrawnGenerator(Generator):
    """Draws shapes as an image or moving as a clip, and plays a tone for each word."""

    settings_type = DrawnSettings

    def __init__(self, settings: GeneratorSettings, context: GeneratorContext) -> None:
        assert isinstance(settings, DrawnSettings)
        self._size = settings.size
        self._modality = context.modality

    def weights(self) -> str:
        """sha256 of the version of the drawing rules."""
        return sha256_of(_VERSION)

    async def generate(self, orders: Sequence[Order]) -> list[bytes]:
        return [await asyncio.to_thread(self._medium, order) for order in orders]

    def _medium(self, order: Order) -> bytes:
        if self._modality is Modality.AUDIO:
            return _melody(order)
        shapes = list(_shapes(order))
        if self._modality is Modality.IMAGE:
            return encode_png(_picture(order, shapes, self._size, 0.0))
        frames = (_picture(order, shapes, self._size, n / _FRAMES) for n in range(_FRAMES))
        return encode_mp4(frames, _FPS, exact=True)


class _Shape(NamedTuple):
    """A shape with its corners (0: round), colour, position, radius and drift, as shares of the side."""

    corners: int
    colour: tuple[int, int, int]
    x: float
    y: float
    radius: float
    drift: float


def _chance(order: Order, *key: object) -> float:
    """A pseudo-random number in 0..1 that depends on the prompt, the seed and the key alone."""
    digest = hashlib.sha256(repr((order.prompt, order.seed, key)).encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def _words(prompt: str) -> list[str]:
    return re.findall(r"\w+", prompt.lower())[:64]


def _shape_named(word: str) -> str:
    """The key of `_SHAPES` that a word names, in singular or plural; empty if it names none."""
    forms = (word, word.removesuffix("s"), word.removesuffix("es"))
    return next((form for form in forms if form in _SHAPES), "")


def _shapes(order: Order) -> Iterator[_Shape]:
    """The shapes that a prompt names; each takes the last number and colour before it."""
    words = _words(order.prompt)
    count, colour, remaining = 1, None, _MOST_SHAPES
    for word in words if any(map(_shape_named, words)) else [*words, "circle"]:
        name = _shape_named(word)
        if word in _NUMBERS or (word.isdecimal() and len(word) == 1 and word != "0"):
            count = _NUMBERS.get(word) or int(word)
        elif word in _COLOURS:
            colour = _COLOURS[word]
        elif name and remaining:
            for number in range(min(count, remaining)):
                key = (name, remaining, number)
                yield _Shape(
                    _SHAPES[name],
                    colour or _shade(order, *key),
                    0.15 + 0.7 * _chance(order, *key, "x"),
                    0.15 + 0.7 * _chance(order, *key, "y"),
                    0.08 + 0.1 * _chance(order, *key, "r"),
                    0.6 * _chance(order, *key, "d") - 0.3,
                )
            remaining -= min(count, remaining)
            count, colour = 1, None


def _shade(order: Order, *key: object) -> tuple[int, int, int]:
    red, green, blue = (int(60 + 180 * _chance(order, *key, part)) for part in "rgb")
    return red, green, blue


def _picture(order: Order, shapes: Sequence[_Shape], size: int, time: float) -> Pixels:
    """An image, uint8 (size, size, 3); the shapes drift sideways as `time` goes from 0 to 1."""
    import numpy as np
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (size, size), _shade(order, "sky"))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, int(0.7 * size), size, size), fill=_shade(order, "ground"))
    for shape in shapes:
        x = ((shape.x + time * shape.drift) % 1) * size
        y, radius = shape.y * size, shape.radius * size
        if shape.corners == 0:
            box = (x - radius, y - radius, x + radius, y + radius)
            draw.ellipse(box, fill=shape.colour, outline="black")
        else:
            draw.polygon(_corners(shape.corners, x, y, radius), fill=shape.colour, outline="black")
    return np.asarray(image)


def _corners(count: int, x: float, y: float, radius: float) -> list[tuple[float, float]]:
    turn = math.pi / 4 if count == 4 else 0.0
    points = []
    for n in range(count):
        reach = radius * (0.45 if count == 10 and n % 2 else 1.0)
        angle = 2 * math.pi * n / count - math.pi / 2 + turn
        points.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    return points


def _melody(order: Order) -> bytes:
    """A WAV with one tone of a pentatonic scale for each word."""
    import numpy as np

    times = np.arange(int(_RATE * _NOTE)) / _RATE
    envelope = np.sin(np.pi * np.arange(times.size) / times.size)
    scale = [220 * 2 ** ((octave + step) / 12) for octave in (0, 12) for step in (0, 3, 5, 7, 10)]
    notes = [
        0.4 * envelope * np.sin(2 * np.pi * scale[int(len(scale) * _chance(order, word))] * times)
        for word in _words(order.prompt) or ["silence"]
    ]
    return encode_wav(np.concatenate(notes), _RATE)
