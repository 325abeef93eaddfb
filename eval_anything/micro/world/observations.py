"""Attributes that single answers of a conversation show, and their agreement with targets."""

from __future__ import annotations

from collections.abc import Mapping

from eval_anything.content import Modality, Response
from eval_anything.micro.world.perceive import perceive_response


def seen_in(answer: Response, modality: Modality | str) -> dict[str, str | None]:
    """The attributes that an answer shows in one modality; none if it is absent or unreadable."""
    percept = perceive_response(answer).get(Modality(modality))
    return dict(percept.attributes) if percept is not None else {}


def share(targets: Mapping[str, str], attributes: Mapping[str, str | None]) -> float:
    """Share (0..1) of the target attributes that have their target value."""
    return sum(attributes.get(name) == target for name, target in targets.items()) / len(targets)
