"""Attributes that single answers of a response show."""

from __future__ import annotations

from collections.abc import Mapping

from eval_anything.content import Modality, Response
from eval_anything.micro.world.perceive import perceive_response


def seen_in(answer: Response, modality: Modality | str) -> dict[str, str | None]:
    """The attributes that an answer shows in one modality; none if it is absent or unreadable."""
    percept = perceive_response(answer).get(Modality(modality))
    return dict(percept.attributes) if percept is not None else {}


def share(asked: Mapping[str, str], seen: Mapping[str, str | None]) -> float:
    """Share (0..1) of the asked attributes that are seen with the asked value."""
    return sum(seen.get(name) == value for name, value in asked.items()) / len(asked)
