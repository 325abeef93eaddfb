"""Measures a judge against labels: how often it is right, what biases it, how far it repeats itself."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from eval_anything.concurrency import all_of
from eval_anything.content import Metric, Score
from eval_anything.errors import EvalError, UserError, near
from eval_anything.judges.calibration.labels import Labelled, Labels
from eval_anything.judges.calibration.store import Calibration, JudgeMeasurement
from eval_anything.judges.scorer import Scorer, score_response
from eval_anything.models.checked import checked
from eval_anything.statistics.agreement import (
    AgreementFigure,
    accuracy,
    cohen_kappa,
    first_preference,
    krippendorff_alpha,
    length_bias,
    position_bias,
    self_consistency,
    sensitivity_specificity,
    spearman,
)
from eval_anything.statistics.intervals import Floats

_AT_ONCE = 64


_FEW_LEVELS = 10
"""Labels with more distinct values than this are no scale of grades, and get no kappa."""


_NOT_APPLYING = Score(None, explanation="the metric does not apply to this sample")


def metric_to_measure(scorer: Scorer, name: str | None = None) -> str:
    """The metric that is named, else `synergy`, else the judge's only one."""
    known = list(scorer.metrics)
    if name is not None and name not in known:
        raise UserError(f"{scorer.name} has no metric {name!r}.{near(name, known)}")
    if name is None and "synergy" not in known and len(known) > 1:
        raise UserError(f"{scorer.name} gives {', '.join(known)}: choose one with --metric")
    return name or ("synergy" if "synergy" in known else known[0])


def asked_again(rows: Sequence[Labelled], again: int) -> list[int]:
    """The places of the rows that the judge is asked about twice: `again` of them, or all if there are
    fewer, spread evenly over the rows."""
    count = min(again, len(rows))
    return [i * len(rows) // count for i in range(count)]


def calibrate(
    scorer: Scorer,
    metric: str,
    labels: Labels,
    model: str,
    again: int,
    on_row: Callable[[bool], None],
) -> Calibration:
    """Has the judge score every labelled response, and some of them (`asked_again`) a second time.

    `on_row` is told of each row, each time, if the judge failed. `model` is the name of the model behind
    the judge, if the user names one. What the judge spends is counted by its `spending`; BudgetError
    leaves its verdicts kept, so that the next call goes on.
    """
    check_labels(scorer, labels)
    places = asked_again(labels.rows, again)
    scores, second = asyncio.run(_score_twice(scorer, metric, labels.rows, places, on_row))
    if all(score is _NOT_APPLYING for found in scores for score in found):
        reason = f": {scorer.requires}" if scorer.requires else ""
        raise UserError(f"{metric} of {scorer.name} applies to no sample of {labels.name}{reason}")
    declared = scorer.metrics[metric]
    more = dict(zip(places, second, strict=True))
    scored = [
        _Scored(*found, more.get(i)) for i, found in enumerate(zip(labels.rows, scores, strict=True))
    ]
    pairs = [found for found in scored if found.row.is_pair]
    grades = [found for found in scored if not found.row.is_pair]
    return Calibration(
        judge=scorer.name,
        model=model,
        fingerprint=scorer.calibrated_as,
        metric=metric,
        labels=labels.name,
        sha256=labels.sha256,
        n=len(labels.rows),
        date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        pairs=_of_pairs(pairs, declared) if pairs else None,
        grades=_of_grades(grades, declared) if grades else None,
    )


def check_labels(scorer: Scorer, labels: Labels) -> None:
    """UserError if a judge that compares responses is given some with grades; nothing is asked."""
    graded = next((row for row in labels.rows if not row.is_pair), None)
    if scorer.compares and graded is not None:
        raise UserError(
            f"{scorer.name} compares two responses, and {graded.sample.id!r} of {labels.name} is one "
            'with a grade: give it rows with "a", "b" and "preferred"'
        )


async def _score_twice(
    scorer: Scorer,
    metric: str,
    rows: Sequence[Labelled],
    places: Sequence[int],
    on_row: Callable[[bool], None],
) -> tuple[list[list[Score]], list[list[Score]]]:
    """The scores of all rows, and those of the rows at these places when asked again."""
    try:
        first = await _score_all(scorer, metric, rows, on_row)
        scorer.again = 1
        return first, await _score_all(scorer, metric, [rows[place] for place in places], on_row)
    finally:
        scorer.again = 0
        await scorer.close()


async def _score_all(
    scorer: Scorer, metric: str, rows: Sequence[Labelled], on_row: Callable[[bool], None]
) -> list[list[Score]]:
    """The scores of each row, in order. At the first EvalError, such as that of a server that is away or
    of a budget that is spent, what is under way ends, since it is paid for, and nothing new begins."""
    scores: list[list[Score]] = [[] for _ in rows]
    todo = deque(enumerate(rows))

    async def work() -> None:
        while todo:
            place, row = todo.popleft()
            try:
                scores[place] = await _score(scorer, metric, row)
            except EvalError:
                todo.clear()
                raise
            on_row(any(score.value is None for score in scores[place]))

    await all_of(work() for _ in range(_AT_ONCE))
    return scores


async def _score(scorer: Scorer, metric: str, row: Labelled) -> list[Score]:
    """As a run scores it: a response without content, or with a broken medium, has the floor.

    One score a response; of a pairwise judge one for the pair: 1 if the first wins, 0.5 for a tie.
    """
    usable = [await asyncio.to_thread(checked, response) for response in row.responses]
    if not scorer.compares:
        return [
            (await score_response([scorer], row.sample, response)).get(metric, _NOT_APPLYING)
            for response in usable
        ]
    a, b = usable
    if a.error is None and b.error is None:
        return [(await scorer.compare(row.sample, a.parts, b.parts))[metric]]
    points = (1 + (b.error is not None) - (a.error is not None)) / 2
    return [Score(points, explanation="a response is missing or broken")]


class _Scored(NamedTuple):
    """A labelled row, its scores, and those of the second time if it was asked about again."""

    row: Labelled
    scores: list[Score]
    second: list[Score] | None


def _of_pairs(scored: Sequence[_Scored], metric: Metric) -> JudgeMeasurement:
    verdicts = _verdicts([found.scores for found in scored], metric)
    preferred = np.array([found.row.label for found in scored])
    clusters = [found.row.sample.source_id for found in scored]
    lengths_a, lengths_b = np.array([[len(r.text) for r in found.row.responses] for found in scored]).T
    figures = {
        "accuracy": accuracy(verdicts, preferred, clusters),
        "kappa": cohen_kappa(verdicts, preferred, clusters=clusters),
        "length_bias": length_bias(verdicts, preferred, lengths_a, lengths_b, clusters),
    }
    if any(len(found.scores) == 1 for found in scored):
        forward, backward = np.array([_orders(found.scores[0]) for found in scored]).T
        figures["position_bias"] = position_bias(forward, backward, clusters)
        figures["first_preference"] = first_preference(forward, backward, clusters)
    twice, names = _twice(scored)
    if twice:
        table = np.array([_verdicts(scores, metric) for scores in zip(*twice, strict=True)])
        figures["self_consistency"] = self_consistency(table.T, names)
        figures["alpha_self"] = krippendorff_alpha(table, "nominal", names)
    return _measured(scored, figures)


def _of_grades(scored: Sequence[_Scored], metric: Metric) -> JudgeMeasurement:
    """The judge's range is laid over that of the labels. The middle parts good from bad in both."""
    quality = _quality([found.scores for found in scored], metric)[:, 0]
    labels = np.array([found.row.label for found in scored])
    clusters = [found.row.sample.source_id for found in scored]
    low, high = labels.min(), labels.max()
    sensitivity, specificity = sensitivity_specificity(
        labels > (low + high) / 2, _good(quality), clusters
    )
    there = ~np.isnan(quality)
    given, wanted = low + quality[there] * (high - low), labels[there]
    kept = [cluster for cluster, scored_ in zip(clusters, there, strict=True) if scored_]
    figures = {
        "rho": spearman(given, wanted, kept),
        "alpha_interval": krippendorff_alpha([given, wanted], "interval", kept),
        "sensitivity": sensitivity,
        "specificity": specificity,
    }
    levels = np.unique(labels)
    if len(levels) <= _FEW_LEVELS:
        nearest = levels[np.abs(given[:, None] - levels).argmin(1)]
        figures["kappa_quadratic"] = cohen_kappa(nearest, wanted, "quadratic", kept)
    twice, names = _twice(scored)
    if twice:
        table = np.array([_quality(scores, metric)[:, 0] for scores in zip(*twice, strict=True)])
        figures["self_consistency"] = self_consistency(_good(table).T, names)
        figures["alpha_self"] = krippendorff_alpha(table, "interval", names)
    return _measured(scored, figures)


def _twice(scored: Sequence[_Scored]) -> tuple[list[tuple[list[Score], list[Score]]], list[str]]:
    """The scores of both times, of the rows that the judge was asked about twice, and their clusters."""
    found = [(s.scores, s.second, s.row.sample.source_id) for s in scored if s.second is not None]
    return [(first, second) for first, second, _ in found], [cluster for *_, cluster in found]


def _verdicts(scores: Sequence[Sequence[Score]], metric: Metric) -> Floats:
    """(rows,): 1 where a is preferred, -1 where b is, 0 for a tie, nan where the judge failed."""
    quality = _quality(scores, metric)
    other = quality[:, 1] if quality.shape[1] == 2 else 0.5  # a pairwise judge has one score for both
    verdicts: Floats = np.sign(quality[:, 0] - other)
    return verdicts


def _orders(score: Score) -> tuple[float, float]:
    """A pairwise judge's verdicts in both orders: 1 for what was shown first, -1 for the second; nan if
    the judge failed or was not asked."""
    points = {"first": 1.0, "second": -1.0, "tie": 0.0}
    forward, backward = (points.get(o, np.nan) for o in score.details.get("orders", ("", "")))
    return forward, backward


def _good(quality: Floats) -> Floats:
    """1 in the upper half of the range, 0 in the lower, nan stays."""
    good: Floats = np.where(np.isnan(quality), np.nan, quality > 0.5)
    return good


def _quality(scores: Sequence[Sequence[Score]], metric: Metric) -> Floats:
    """(rows, scores): scores as shares of the metric's range, 1 the best; nan where there is none."""
    low, high = metric.range
    values = np.array([[np.nan if s.value is None else s.value for s in row] for row in scores])
    share: Floats = (values - low) / (high - low)
    return share if metric.better == "higher" else 1 - share


def _measured(scored: Sequence[_Scored], figures: dict[str, AgreementFigure]) -> JudgeMeasurement:
    failed = [[s for s in found.scores if s.value is None] for found in scored]
    reasons = [scores[0].explanation for scores in failed if scores]
    return JudgeMeasurement(len(scored), len(reasons), reasons[0] if reasons else "", figures)
