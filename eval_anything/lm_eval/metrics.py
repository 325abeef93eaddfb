"""Metrics of lm_eval as those of results.json: its own value and standard error, with an interval.

lm_eval declares no ranges; those of its common metrics are known here. For a mean of values in a known
range the interval is the engine's (`stats.mean_interval`); else it is Student's from lm_eval's standard
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
"""Stands for an infinite end of a range, which JSON does not have."""


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


# A document's own number is what lm_eval makes of it alone.
_ALONE = ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")


_GROUPS = 100


def metric_name(metric: str, filter_: str) -> str:
    """`acc`, or `exact_match,strict-match` where the answer went through a named filter."""
    return metric if filter_ == "none" else f"{metric},{filter_}"


def range_of(metric: str) -> Bounds:
    """The ends of a metric's values."""
    return _RANGES.get(metric, (-NO_END, NO_END))


def better(task: Any, metric: str) -> Literal["higher", "lower"]:
    """The direction of a metric, which lm_eval knows for its own."""
    return "lower" if task.higher_is_better().get(metric) is False else "higher"


def document_score(task: Any, metric: str, raw: Any) -> Score:
    """What one document adds to a metric. A perplexity is that of the document; None where a document
    alone has no number, as for F1."""
    if metric in _ALONE:
        raw = task.aggregation()[metric]([raw])
    value = float(raw) if isinstance(raw, Real) and math.isfinite(raw) else None
    return Score(
        value,
        judge="lm_eval",
        range=range_of(metric),
        better=better(task, metric),
        explanation="" if value is not None else "counts in the task's number alone",
    )


def numbers_of(row: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    """(metric, filter, value, standard error) for each number of lm_eval: `acc,none`,
    `acc_stderr,none`."""
    for key, value in row.items():
        metric, comma, filter_ = key.partition(",")
        if comma and not metric.endswith("_stderr"):
            yield metric, filter_, value, row.get(f"{metric}_stderr,{filter_}")


def summaries(
    task: Any,
    row: Mapping[str, Any],
    documents: Mapping[int, Sequence[Mapping[str, Any]]],
    records: Sequence[Record],
) -> dict[str, MetricResult]:
    """The metrics of results.json. `row` holds lm_eval's numbers."""
    found: dict[str, MetricResult] = {}
    failed = {int(record.sample_id) for record in records if record.error is not None}
    for metric, filter_, value, stderr in numbers_of(row):
        raw = [
            (number, one[metric])
            for number, entries in documents.items()
            for one in entries
            if one["filter"] == filter_ and metric in one
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
            invalid=f"lm_eval gives {value}",
        )
        name = metric_name(metric, filter_)
        found[name] = _defined(undefined, task, metric, value, stderr, [r for _, r in raw])
    return found


def _defined(
    undefined: MetricResult, task: Any, metric: str, value: Any, stderr: Any, raw: Sequence[Any]
) -> MetricResult:
    """The metric with lm_eval's value and an interval, if that is a number."""
    if not isinstance(value, Real) or not math.isfinite(value):
        return undefined
    spread = float(stderr) if isinstance(stderr, Real) and math.isfinite(stderr) else None
    ends = _interval(metric, float(value), spread, raw, task.aggregation().get(metric))
    return replace(undefined, value=float(value), stderr=spread, ci95=ends, invalid=UNSET)


def _interval(
    metric: str,
    value: float,
    stderr: float | None,
    raw: Sequence[Any],
    aggregate: Callable[[Sequence[Any]], Any] | None,
) -> Bounds:
    """The 95 % interval; the whole range where nothing can be told, as for one document."""
    low, high = range_of(metric)
    numbers = [float(one) for one in raw if isinstance(one, Real)]
    is_mean = len(numbers) == len(raw) and math.isclose(
        math.fsum(numbers) / len(numbers), value, rel_tol=1e-9, abs_tol=1e-12
    )
    if is_mean and high < NO_END and all(low <= one <= high for one in numbers):
        estimate = mean_interval(numbers, list(map(str, range(len(numbers)))), (low, high))
        return estimate.low, estimate.high
    df = len(raw) - 1.0
    if stderr is None and aggregate is not None and df > 0:
        stderr, df = _jackknife(raw, aggregate)
    return ends_of(metric, value, stderr, len(raw), df)


def ends_of(metric: str, value: float, stderr: float | None, n: int, df: float) -> Bounds:
    """The 95 % interval of a value by its standard error; the whole range if there is none.

    In a range with two ends it is Wilson's, with the sample size that the error leaves (at most n).
    """
    low, high = range_of(metric)
    if stderr is None or df <= 0:
        return min(low, value), max(high, value)
    if high >= NO_END:
        width = student(df) * stderr
        return max(low, value - width), value + width
    place = min(1.0, max(0.0, (value - low) / (high - low)))
    variance = (stderr / (high - low)) ** 2
    effective = min(n, place * (1 - place) / variance) if variance > 0 else n
    ends = wilson(place, effective or n, student(df))
    return low + ends[0] * (high - low), low + ends[1] * (high - low)


def _jackknife(
    raw: Sequence[Any], aggregate: Callable[[Sequence[Any]], Any]
) -> tuple[float | None, float]:
    """The standard error of an aggregate, and its degrees of freedom."""
    count = min(_GROUPS, len(raw))
    without = [
        float(aggregate([one for i, one in enumerate(raw) if i % count != group]))
        for group in range(count)
    ]
    if not all(map(math.isfinite, without)):
        return None, 0.0
    mean = math.fsum(without) / count
    variance = (count - 1) / count * math.fsum((one - mean) ** 2 for one in without)
    return math.sqrt(variance), count - 1.0
