"""Generators of media. A new kind is a class in this table; a model of any kind needs none."""

from __future__ import annotations

from eval_anything.models.agent.generators.base import Generator
from eval_anything.models.agent.generators.command import CommandGenerator
from eval_anything.models.agent.generators.diffusers import DiffusersGenerator
from eval_anything.models.agent.generators.drawn import DrawnGenerator
from eval_anything.models.agent.generators.model import ModelGenerator

KINDS: dict[str, type[Generator]] = {
    "model": ModelGenerator,
    "command": CommandGenerator,
    "diffusers": DiffusersGenerator,
    "drawn": DrawnGenerator,
}
