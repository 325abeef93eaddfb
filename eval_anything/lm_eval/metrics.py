"""Metrics of lm_eval as entries of results.json: lm_eval's value and standard error, with an interval.

lm_eval declares no ranges; those of its common metrics are listed here. For a mean of values in a known
range the interval is `statistics.intervals.mean_interval`; else it is Student's from lm_eval's standard
error, and where lm_eval has none (perplexities), from a delete-a-group jackknife (Shao and Tu, "The
Jackknife and Bootstrap", 1995, 2.3) over at most 100 groups of documents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, Literal

from msgspec import UNSET
from msgspec.structs import replace

from eval_anything.content import Record, Score
from eval_anything.runs.results_file import MetricResult
from eval_anything.statistics.intervals import mean_interval, student, wilson

Bounds = tuple[float, float]


NO_END = 1e12
"""Infinite end of a range, as a number, because JSON has no infinity."""


_SHARES = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "em", "f1", "likelihood")


_RANGES: dict[str, Bounds] = {
    **dict.fromkeys(_SHARES, (0.0, 1.0)),
    "mcc": (-1.0, 1.0),
    "brier_score": (0.0, 2.0),
    "bleu": (0.0, 100.0),
    "chrf": (0.0, 100.0),
    "perplexity": (1.0, NO_END),
    "word_perplexity": (1.0, NO_END),
    "byte_perplexity": (1.0, NO_END),
    "bits_per_byte": (0.0, NO_END),
    "ter": (0.0, NO_END),
}


# Metrics for which a document's score is lm_eval's aggregate over this document alone.
_ALONE = ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")


_GROUPS = 100


def metric_name(metric: str, filter_: str) -> str:
    """Name of a metric, with its filter if that has a name.

    Example:
        >>> metric_name("acc", "none"), metric_name("exact_match", "strict-match")
        ('acc', 'exact_match,strict-match')
    """
    return metric if filter_ == "none" else f"{metric},{filter_}"


def range_of(metric: str) -> Bounds:
    """The least and the largest value of a metric; +-`NO_END` where there is no end or it is unknown."""
    return _RANGES.get(metric, (-NO_END, NO_END))


def better(task: Any, metric: str) -> Literal["higher", "lower"]:
    """The direction in which a metric is better; "higher" unless lm_eval says otherwise."""
    return "lower" if task.higher_is_better().get(metric) is False else "higher"


def document_score(task: Any, metric: str, raw: Any) -> Score:
    """Score of one document. A perplexity is that of the document; the value is None where a single
    document has no number, as for F1."""
    if metric in _ALONE:
        raw = task.aggregation()[metric]([raw])
    low, high = range_of(metric)
    number = min(max(float(raw), low), high) if isinstance(raw, Real) and math.isfinite(raw) else None
    return Score(
        number,
        judge="lm_eval",
        range=(low, high),
        better=better(task, metric),
        explanation="" if number is not None else "counts in the task's number alone",
    )


def numbers_of(row: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    """Yields (metric, filter, value, standard error) for each number of lm_eval, such as `acc,none` with
    `acc_stderr,none`."""
    for key, number in row.items():
        metric, comma, filter_ = key.partition(",")
        if comma and not metric.endswith("_stderr"):
            yield metric, filter_, number, row.get(f"{metric}_stderr,{filter_}")


def summaries(
    task: Any,
    row: Mapping[str, Any],
    documents: Mapping[int, Sequence[Mapping[str, Any]]],
    records: Sequence[Record],
) -> dict[str, MetricResult]:
    """Metrics of results.json by name, from lm_eval's row of numbers.

    Args:
        task: lm_eval's own object of the task.
        row: lm_eval's numbers (`acc,none`, `acc_stderr,none`).
        documents: samples that lm_eval logged, one for each filter, by document number.
        records: our records of the same documents.
    """
    metrics: dict[str, MetricResult] = {}
    failed = {int(record.sample_id) for record in records if record.error is not None}
    for metric, filter_, estimate, stderr in numbers_of(row):
        raw = [
            (number, sample[metric])
            for number, samples in documents.items()
            for sample in samples
            if sample["filter"] == filter_ and metric in sample
        ]
        undefined = MetricResult(
            value=None,
            stderr=None,
            ci95=None,
            n=len(raw),
            failed=sum(number in failed for number, _ in raw),
            unscored=0,
            better=better(task, metric),
            range=range_of(metric),
            invalid=f"lm_eval gives {estimate}",
        )
        name = metric_name(metric, filter_)
        metrics[name] = _defined(undefined, task, metric, estimate, stderr, [r for _, r in raw])
    return metrics


def _defined(
    undefined: MetricResult, task: Any, metric: str, estimate: Any, stderr: Any, raw: Sequence[Any]
) -> MetricResult:
    """The metric with lm_eval's value and its interval; `undefined` if the value is no finite number."""
    if not isinstance(estimate, Real) or not math.isfinite(estimate):
        return undefined
    spread = float(stderr) if isinstance(stderr, Real) and math.isfinite(stderr) else None
    ends = _interval(metric, float(estimate), spread, raw, task.aggregation().get(metric))
    return replace(undefined, value=float(estimate), stderr=spread, ci95=ends, invalid=UNSET)


def _interval(
    metric: str,
    estimate: float,
    stderr: float | None,
    raw: Sequence[Any],
    aggregate: Callable[[Sequence[Any]], Any] | None,
) -> Bounds:
    """The 95 % interval; the whole range if it cannot be estimated, as from one document."""
    low, high = range_of(metric)
    numbers = [float(number) for number in raw if isinstance(number, Real)]
    is_mean = len(numbers) == len(raw) and math.isclose(
        math.fsum(numbers) / len(numbers), estimate, rel_tol=1e-9, abs_tol=1e-12
    )
    if is_mean and high < NO_END and all(low <= number <= high for number in numbers):
        mean = mean_interval(numbers, list(map(str, range(len(numbers)))), (low, high))
        return mean.low, mean.high
    df = len(raw) - 1.0
    if stderr is None and aggregate is not None and df > 0:
        stderr, df = _jackknife(raw, aggregate)
    return ends_of(metric, estimate, stderr, len(raw), df)


def ends_of(metric: str, estimate: float, stderr: float | None, n: int, df: float) -> Bounds:
    """The 95 % interval of a value by its standard error; the whole range if there is none.

    In a range with two ends it is Wilson's, with the sample size that the error leaves (at most n).
    """
    low, high = range_of(metric)
    if stderr is None or df <= 0:
        return min(low, estimate), max(high, estimate)
    if high >= NO_END:
        width = student(df) * stderr
        return max(low, estimate - width), estimate + width
    share = min(1.0, max(0.0, (estimate - low) / (high - low)))
    variance = (stderr / (high - low)) ** 2
    effective = min(n, share * (1 - share) / variance) if variance > 0 else n
    ends = wilson(share, effective or n, student(df))
    return low + ends[0] * (high - low), low + ends[1] * (high - low)


def _jackknife(
    raw: Sequence[Any], aggregate: Callable[[Sequence[Any]], Any]
) -> tuple[float | None, float]:
    """The standard error of an aggregate, and its degrees of freedom."""
    count = min(_GROUPS, len(raw))
    without = [
        float(aggregate([number for i, number in enumerate(raw) if i % count != group]))
        for group in range(count)
    ]
    if not all(map(math.isfinite, without)):
        return None, 0.0
    mean = math.fsum(without) / count
    variance = (count - 1) / count * math.fsum((left_out - mean) ** 2 for left_out in without)
    return math.sqrt(variance), count - 1.0
