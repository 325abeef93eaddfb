"""A generator, a formula and a command."""

from __future__ import annotations

import functools
import io
from argparse import Namespace
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from eval_anything.models.agent.generators.base import (
    Generator,
    GeneratorContext,
    GeneratorSettings,
    Order,
)


class GreySettings(GeneratorSettings, frozen=True, kw_only=True):
    level: int


class GreyGenerator(Generator):
    """Grey images, whatever the prompt."""

    settings_type = GreySettings

    def __init__(self, settings: GeneratorSettings, context: GeneratorContext) -> None:
        assert isinstance(settings, GreySettings)
        self._level = settings.level

    def weights(self) -> str:
        return "grey 1"

    async def generate(self, orders: Sequence[Order]) -> list[bytes]:
        buffer = io.BytesIO()
        Image.new("L", (8, 8), self._level).save(buffer, "PNG")
        return [buffer.getvalue()] * len(orders)


def worst(scores: Mapping[str, float]) -> float:
    """The least of the inputs."""
    return functools.reduce(np.minimum, scores.values())


def check(options: Namespace) -> int:
    """Finds nothing wrong."""
    return 0
