"""What a judge's errors do to the numbers that it gave, said beside each of them.

Beside every metric of a judge with a model behind it stand the judge's calibration on that metric and
the minimum detectable effect: the smallest difference that two runs of this size would show with a power
of 80 % at the two-sided 5 % level,

    seen = (z_0.975 + z_0.8) * stderr * sqrt(2)        true = seen / J,  J = 2 * accuracy - 1

sqrt(2) * stderr is the standard error of the difference from an independent run with the same scatter.
Two runs on the same samples are usually correlated, and compared pair by pair they show smaller
differences: it is an upper bound for them. A pairwise judge's win rate is itself a comparison, with
0.5, so there the factor sqrt(2) is left out. Through a judge that is right about a pair with
probability `accuracy` a win rate moves by J times what it should; for grades this is an approximation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from eval_anything.judges.calibration.store import calibration_summary
from eval_anything.judges.scorer import Scorer
from eval_anything.statistics.agreement import attenuated_effect


def add_effects(metrics: Mapping[str, dict[str, Any]], scorers: Sequence[Scorer]) -> None:
    """Adds to each judged metric of results.json `judge`, its name; `calibration`, as among the judges
    but of this metric alone; and `mde`, {"seen", "true"} in the metric's units.

    `seen` is null without scatter to take it from, `true` also without an accuracy, or where it has
    no bound.
    """
    for scorer in scorers:
        if scorer.judged and scorer.available:
            for name in scorer.metrics:
                if name in metrics:
                    card = calibration_summary(scorer.calibrated_as, name)
                    metrics[name]["judge"] = scorer.name
                    metrics[name]["calibration"] = card
                    metrics[name]["mde"] = _effects(metrics[name]["stderr"], scorer.compares, card)


def _effects(
    stderr: float | None, compares: bool, card: Mapping[str, Any] | None
) -> dict[str, float | None]:
    if not stderr:  # values that are all the same are no certainty
        return {"seen": None, "true": None}
    of_difference = stderr if compares else math.sqrt(2) * stderr
    true = None
    if card is not None and card["figure"] == "accuracy":
        true = attenuated_effect(of_difference, card["value"])
    finite = true is not None and math.isfinite(true)
    return {"seen": attenuated_effect(of_difference), "true": true if finite else None}


def quality_text(card: Mapping[str, Any] | None) -> str:
    """A judge's calibration in results.json, for people."""
    if card is None:
        return "not calibrated"
    low, high = card["ci95"]
    return (
        f"{card['figure']} {card['value']:.3f} ({low:.3f} .. {high:.3f}, n = {card['n']}) "
        f"on {card['labels']}"
    )


def effect_text(metric: Mapping[str, Any]) -> str:
    """What differences a judged metric of results.json can show, for people."""
    card, (seen, true) = metric["calibration"], (metric["mde"][key] for key in ("seen", "true"))
    if seen is None:
        return "what difference it can show cannot be told: there is no scatter"
    if card is None or card["figure"] != "accuracy":
        return f"can show a difference of {seen:.3f}, but its judge was not measured on pairs"
    low, high = metric["range"]
    if true is None or true > high - low:
        return f"can show a difference of {seen:.3f}, but no true one is so large, through this judge"
    return f"can show a difference of {seen:.3f}, which is a true one of {true:.3f} through this judge"
