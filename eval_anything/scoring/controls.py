"""Controls: what a metric gains over the same with another sample's questions or answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import combinations

from eval_anything.content import Response, Sample, Score

_UNSCORED = Score(None)


Scores = Mapping[str, Score]


def gain(scores: Scores, metric: str) -> dict[str, Score]:
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


def with_partners(
    scored: Sequence[tuple[Sample, Scores]],
    metric: str,
    seed: str,
    chance: Callable[[Sample, Scores, Scores], float],
) -> list[dict[str, Score]]:
    """`<metric>_shuffled` and `<metric>_gain` of each sample, empty without a partner or a score.

    `chance` scores a sample again, from its scores and those of its partner.
    """
    partner = partners([sample for sample, _ in scored], seed)
    controls: list[dict[str, Score]] = []
    for number, (sample, scores) in enumerate(scored):
        if number not in partner or scores.get(metric, _UNSCORED).value is None:
            controls.append({})
            continue
        shuffled = {f"{metric}_shuffled": Score(chance(sample, scores, scored[partner[number]][1]))}
        controls.append(shuffled | gain({**scores, **shuffled}, metric))
    return controls


def same_pairs(mine: Sequence[str | None], theirs: Sequence[str | None]) -> float:
    """Share (0..1) of the pairs i < j of places with `mine[i]` equal to `theirs[j]`; 0 of no pairs."""
    pairs = list(combinations(range(len(mine)), 2))
    return mean([float(mine[i] is not None and mine[i] == theirs[j]) for i, j in pairs])
