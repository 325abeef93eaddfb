"""Controls of judged metrics: what a metric gains over the same with another sample's questions."""

from __future__ import annotations

from collections.abc import Mapping

from eval_anything.content import Score

_UNSCORED = Score(None)


def gain(scores: Mapping[str, Score], metric: str) -> dict[str, Score]:
    """`<metric>_gain`: the metric less `<metric>_shuffled`; nothing where one of them is unscored."""
    own = scores.get(metric, _UNSCORED).value
    shuffled = scores.get(f"{metric}_shuffled", _UNSCORED).value
    if own is None or shuffled is None:
        return {}
    return {f"{metric}_gain": Score(own - shuffled)}
