"""What the answers of a response show, turn by turn, and which other sample is a control for one."""

from __future__ import annotations

import random
from collections.abc import Hashable, Mapping, Sequence

from eval_anything.content import Modality, Response, Sample
from eval_anything.micro.perceive import perceive_response


def answers_of(response: Response, count: int) -> list[Response]:
    """The answer to each of `count` turns as a response of its own; empty where there is none."""
    given = [*response.turns, response.parts][:count]
    return [Response(parts) for parts in given] + [Response()] * (count - len(given))


def seen_in(answer: Response, modality: Modality | str) -> dict[str, str | None]:
    """The attributes that an answer shows in one modality; none if it is absent or unreadable."""
    percept = perceive_response(answer).get(Modality(modality))
    return dict(percept.attributes) if percept is not None else {}


def share(asked: Mapping[str, str], seen: Mapping[str, str | None]) -> float:
    """Share (0..1) of the asked attributes that are seen with the asked value."""
    return sum(seen.get(name) == value for name, value in asked.items()) / len(asked)


def mean(values: Sequence[float]) -> float:
    """The mean; 0 of no values."""
    return sum(values) / len(values) if values else 0.0


def partners(samples: Sequence[Sample], seed: str) -> dict[int, int]:
    """Each sample's index with that of another one of its family, by a random cycle that the seed fixes;
    a family of one has none."""
    families: dict[Hashable, list[int]] = {}
    for number, sample in enumerate(samples):
        families.setdefault(sample.metadata["family"], []).append(number)
    found: dict[int, int] = {}
    for family, members in families.items():
        if len(members) > 1:
            random.Random(f"{seed}-{family}").shuffle(members)
            found |= dict(zip(members, [*members[1:], members[0]], strict=True))
    return found
