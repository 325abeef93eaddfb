"""Controls: the gain of a metric over its value with the questions or answers of another sample.

A metric that does not depend on the content, such as one that rewards any consistent answers, has the
same value after such a shuffle, so its gain is 0.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import combinations

from eval_anything.content import Response, Sample, Score

_UNSCORED = Score(None)


Scores = Mapping[str, Score]


def gain(scores: Scores, metric: str) -> dict[str, Score]:
    """`<metric>_gain`, the metric minus `<metric>_shuffled`; empty if one of them is unscored.

    Example:
        >>> scores = {"content": Score(0.75), "content_shuffled": Score(0.25)}
        >>> gain(scores, "content")["content_gain"].value
        0.5
    """
    score = scores.get(metric, _UNSCORED).value
    shuffled = scores.get(f"{metric}_shuffled", _UNSCORED).value
    if score is None or shuffled is None:
        return {}
    return {f"{metric}_gain": Score(score - shuffled)}


def answers_of(response: Response, count: int) -> list[Response]:
    """Answers to the first `count` turns, each as a response; one without parts for a missing answer.

    Example:
        >>> from eval_anything.content import TextPart
        >>> response = Response((TextPart("blue"),), turns=((TextPart("red"),),))
        >>> [answer.text for answer in answers_of(response, 3)]
        ['red', 'blue', '']
    """
    answers = [*response.turns, response.parts][:count]
    return [Response(parts) for parts in answers] + [Response()] * (count - len(answers))


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean; 0 for no values.

    Example:
        >>> mean([0.0, 1.0]), mean([])
        (0.5, 0.0)
    """
    return sum(values) / len(values) if values else 0.0


def partners(samples: Sequence[Sample], seed: str) -> dict[int, int]:
    """Index of a partner for the index of each sample: another sample of the same family.

    Partners form a random cycle through each family (`metadata["family"]`), so that every sample is a
    partner once. A sample without other members of its family has no entry.

    Args:
        samples: samples of one task, each with a `family` in its metadata.
        seed: text that determines the cycles.

    Example:
        >>> from eval_anything.content import ANYTHING
        >>> samples = [Sample(f, (), ANYTHING, metadata={"family": f}) for f in ("cat", "cat", "dog")]
        >>> partners(samples, "seed") == {0: 1, 1: 0}
        True
    """
    families: dict[Hashable, list[int]] = {}
    for index, sample in enumerate(samples):
        families.setdefault(sample.metadata["family"], []).append(index)
    partner_of: dict[int, int] = {}
    for family, members in families.items():
        if len(members) > 1:
            random.Random(f"{seed}-{family}").shuffle(members)
            partner_of |= dict(zip(members, [*members[1:], members[0]], strict=True))
    return partner_of


def with_partners(
    scored: Sequence[tuple[Sample, Scores]],
    metric: str,
    seed: str,
    chance: Callable[[Sample, Scores, Scores], float],
) -> list[dict[str, Score]]:
    """`<metric>_shuffled` and `<metric>_gain` of each sample; empty for one without a partner or score.

    Args:
        scored: all samples of a task with their scores, as `controls:` functions get them.
        metric: the metric to control.
        seed: text that determines the partners (see `partners`).
        chance: computes the metric of a sample with the answers of its partner, from the sample, its
            scores, and the scores of the partner.
    """
    partner_of = partners([sample for sample, _ in scored], seed)
    controls: list[dict[str, Score]] = []
    for index, (sample, scores) in enumerate(scored):
        if index not in partner_of or scores.get(metric, _UNSCORED).value is None:
            controls.append({})
            continue
        shuffled = {f"{metric}_shuffled": Score(chance(sample, scores, scored[partner_of[index]][1]))}
        controls.append(shuffled | gain({**scores, **shuffled}, metric))
    return controls


def same_pairs(first: Sequence[str | None], second: Sequence[str | None]) -> float:
    """Share (0..1) of the index pairs i < j for which `first[i]` equals `second[j]`; 0 for no pairs.

    None equals nothing. Both sequences have the same length.

    Example:
        >>> same_pairs(["red", "blue"], ["blue", "red"]), same_pairs(["red", "blue"], ["red", "blue"])
        (1.0, 0.0)
    """
    pairs = list(combinations(range(len(first)), 2))
    return mean([float(first[i] is not None and first[i] == second[j]) for i, j in pairs])
