"""Controls of judged metrics: what a metric gains over the same with another sample's questions."""

from __future__ import annotations

import random
from collections.abc import Hashable, Mapping, Sequence

from eval_anything.content import Response, Sample, Score

_UNSCORED = Score(None)


def gain(scores: Mapping[str, Score], metric: str) -> dict[str, Score]:
    """`<metric>_gain`: the metric less `<metric>_shuffled`; nothing where one of them is unscored."""
    own = scores.get(metric, _UNSCORED).value
    shuffled = scores.get(f"{metric}_shuffled", _UNSCORED).value
    if own is None or shuffled is None:
        return {}
    return {f"{metric}_gain": Score(own - shuffled)}


def answers_of(response: Response, count: int) -> list[Response]:
    """The answer to each of `count` turns as a response of its own; empty where there is none."""
    given = [*response.turns, response.parts][:count]
    return [Response(parts) for parts in given] + [Response()] * (count - len(given))


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
