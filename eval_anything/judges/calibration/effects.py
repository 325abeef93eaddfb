"""Effect of a judge's errors on the metrics that it gives, reported with each of these metrics.

For every metric of a judge that is a model, results have the judge's calibration on this metric and the
minimum detectable effect: the smallest difference that two runs of this size show with a power of 80 %
at the two-sided 5 % level,

    seen = (z_0.975 + z_0.8) * stderr * sqrt(2)        true = seen / J,  J = 2 * accuracy - 1

sqrt(2) * stderr is the standard error of the difference from an independent run with the same variance.
It is an upper bound for two runs on the same samples, which are usually correlated: a paired comparison
detects smaller differences. A pairwise judge's win rate is itself a comparison, with 0.5, so there the
factor sqrt(2) is left out. A judge that is right about a pair with probability `accuracy` reports J
times the true difference of a win rate; for grades this is an approximation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import UNSET
from msgspec.structs import replace

from eval_anything.judges.calibration.store import quality_of
from eval_anything.judges.scorer import Scorer
from eval_anything.runs.results_file import (
    DetectableEffect,
    JudgeQuality,
    MetricResult,
    SameGrade,
    TaskResult,
)
from eval_anything.statistics.agreement import attenuated_effect, same_value


def with_effects(
    task: TaskResult, scorers: Sequence[Scorer], grades: Mapping[str, Iterable[float]]
) -> TaskResult:
    """Results of a task with `judge`, `calibration` (on this metric alone), `mde` and `same` in judged
    metrics. `grades` has the values by metric that judges gave, without those of failed samples.

    `mde.seen` is None if the scores have no variance, or none is known; `mde.true` also if the judge's
    accuracy is not known, or no better than chance.
    """
    metrics = dict(task.metrics)
    for scorer in scorers:
        if scorer.judged and scorer.available:
            for name in scorer.metrics:
                if name in metrics:
                    quality = quality_of(scorer.calibrated_as, name)
                    metrics[name] = replace(
                        metrics[name],
                        judge=scorer.name,
                        calibration=quality,
                        mde=_effect(metrics[name].stderr, scorer.compares, quality),
                        same=(None if scorer.compares else same_grade(grades[name])) or UNSET,
                    )
    return replace(task, metrics=metrics)


def _effect(stderr: float | None, compares: bool, quality: JudgeQuality | None) -> DetectableEffect:
    if not stderr:  # equal scores do not prove that all scores are equal
        return DetectableEffect(seen=None, true=None)
    of_difference = stderr if compares else math.sqrt(2) * stderr
    true = math.inf
    if quality is not None and quality.figure == "accuracy":
        true = attenuated_effect(of_difference, quality.value)
    return DetectableEffect(
        seen=attenuated_effect(of_difference), true=true if math.isfinite(true) else None
    )


def quality_text(quality: JudgeQuality | Literal["exact"] | None) -> str:
    """Description of a judge's quality for tables and pages."""
    if quality is None:
        return "not calibrated"
    if quality == "exact":
        return "exact: computed by a program, without a judgement"
    low, high = quality.ci95
    return (
        f"{quality.figure} {quality.value:.3f} ({low:.3f} .. {high:.3f}, n = {quality.n}) "
        f"on {quality.labels}"
    )


def effect_text(metric: MetricResult) -> str:
    """Description of the differences that a judged metric can detect, with a warning of a judge that
    gives nearly every answer the same grade; "" without a judge."""
    text = _detectable(metric)
    return f"{text}; {sameness_text(metric.same)}" if text and metric.same is not UNSET else text


def same_grade(grades: Iterable[float]) -> SameGrade | None:
    """The grade that nearly all of these are; None if there is none."""
    same = same_value(grades)
    return SameGrade(value=float(same.value), count=same.count, n=same.n) if same is not None else None


def sameness_text(same: SameGrade) -> str:
    """Warning about a judge that gives nearly every answer the same grade."""
    return (
        f"warning: the judge gives {same.value:g} to {same.count} of {same.n} answers: it may not tell "
        "them apart"
    )


def _detectable(metric: MetricResult) -> str:
    quality, effect = metric.calibration, metric.mde
    if quality is UNSET or effect is UNSET:
        return ""
    observed, true = effect.seen, effect.true
    if observed is None:
        reason = "all scores are equal"
        if metric.invalid is not UNSET:
            reason = "the metric is INVALID"
        elif metric.value is None:
            reason = "no sample is scored"
        elif metric.stderr is None:
            reason = "all samples are of one source"
        return f"its smallest detectable difference is not known: {reason}"
    low, high = metric.range
    if observed > high - low:
        return "can show no difference: the scores differ too much for so few samples"
    if quality is None or quality.figure != "accuracy":
        return f"can show a difference of {observed:.3f}, but its judge was not measured on pairs"
    if true is None or true > high - low:
        return (
            f"can show a difference of {observed:.3f}, but no true one is so large, through this judge"
        )
    return (
        f"can show a difference of {observed:.3f}, which is a true one of {true:.3f} through this judge"
    )
