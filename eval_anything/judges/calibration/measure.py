"""Calibration of a judge against labels: accuracy or correlation, biases, and self-consistency."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from eval_anything.concurrency import all_of
from eval_anything.content import Metric, Score, share_of_range
from eval_anything.errors import EvalError, UserError, near
from eval_anything.judges.calibration.effects import same_grade
from eval_anything.judges.calibration.labels import Labelled, Labels
from eval_anything.judges.calibration.store import Calibration, JudgeMeasurement
from eval_anything.judges.scorer import ComparingScorer, Scorer, score_response
from eval_anything.models.checked import checked
from eval_anything.servers.trial import EarlyRefusalError, Held
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
"""Labels with more distinct values than this are not treated as a scale of grades, and get no kappa."""


_NOT_APPLYING = Score(None, explanation="the metric does not apply to this sample")


def metric_to_measure(scorer: Scorer, name: str | None = None) -> str:
    """Metric to calibrate: the named one, else `synergy`, else the judge's only one.

    UserError for an unknown name, or if the judge has several metrics and none is named.
    """
    metrics = list(scorer.metrics)
    if name is not None and name not in metrics:
        raise UserError(f"{scorer.name} has no metric {name!r}.{near(name, metrics)}")
    if name is None and "synergy" not in metrics and len(metrics) > 1:
        raise UserError(f"{scorer.name} gives {', '.join(metrics)}: choose one with --metric")
    return name or ("synergy" if "synergy" in metrics else metrics[0])


def repeated_rows(rows: Sequence[Labelled], again: int) -> list[int]:
    """Indices of the rows that the judge scores twice: `again` of them, or all if there are fewer, with
    equal distances.

    Example:
        >>> repeated_rows(["a", "b", "c", "d"], 2)
        [0, 2]
    """
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
    """Measures a judge: scores every labelled response, and some rows (`repeated_rows`) a second time.

    Args:
        scorer: the judge. Its `spending` counts the expenses; after a BudgetError the verdicts are in
            the cache, so that the next call continues.
        metric: the metric to calibrate.
        labels: the labelled responses.
        model: name of the judge's model, if the user names one.
        again: number of rows to score twice.
        on_row: called after each row, each time, with whether the judge failed on it.

    Raises:
        UserError: if the labels do not fit the judge, or the metric applies to none of them.
    """
    check_labels(scorer, labels)
    repeated = repeated_rows(labels.rows, again)
    scores, second_scores = asyncio.run(_score_twice(scorer, metric, labels.rows, repeated, on_row))
    if all(score is _NOT_APPLYING for row_scores in scores for score in row_scores):
        reason = f": {scorer.requires}" if scorer.requires else ""
        raise UserError(f"{metric} of {scorer.name} applies to no sample of {labels.name}{reason}")
    declaration = scorer.metrics[metric]
    second_of = dict(zip(repeated, second_scores, strict=True))
    scored = [
        _ScoredRow(row, row_scores, second_of.get(i))
        for i, (row, row_scores) in enumerate(zip(labels.rows, scores, strict=True))
    ]
    pairs = [row for row in scored if row.labelled.is_pair]
    grades = [row for row in scored if not row.labelled.is_pair]
    return Calibration(
        judge=scorer.name,
        model=model,
        fingerprint=scorer.calibrated_as,
        metric=metric,
        labels=labels.name,
        sha256=labels.sha256,
        n=len(labels.rows),
        date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        pairs=_measure_pairs(pairs, declaration) if pairs else None,
        grades=_measure_grades(grades, declaration) if grades else None,
        same=None
        if isinstance(scorer, ComparingScorer)
        else same_grade([s.value for row in scores for s in row if s.value is not None]),
    )


def check_labels(scorer: Scorer, labels: Labels) -> None:
    """Raises UserError if the judge compares responses and the labels have grades."""
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
    repeated: Sequence[int],
    on_row: Callable[[bool], None],
) -> tuple[list[list[Score]], list[list[Score]]]:
    """Scores of all rows, and scores of the rows to repeat in a second pass; closes the scorer."""
    try:
        first = await _score_all(scorer, metric, rows, on_row)
        scorer.again = 1
        return first, await _score_all(scorer, metric, [rows[index] for index in repeated], on_row)
    finally:
        scorer.again = 0
        await scorer.close()


async def _score_all(
    scorer: Scorer, metric: str, rows: Sequence[Labelled], on_row: Callable[[bool], None]
) -> list[list[Score]]:
    """Scores of each row, in order. After the first EvalError, such as that of an unreachable server or
    a spent budget, no new row begins; rows in progress finish, since they are paid for."""
    scores: list[list[Score]] = [[] for _ in rows]
    queue = deque(enumerate(rows))
    refused: Held[tuple[int, Labelled]] = Held()

    async def work() -> None:
        while queue:
            index, row = queue.popleft()
            try:
                scores[index] = await _score(scorer, metric, row)
            except EarlyRefusalError as error:
                refused.add((index, row), error)
                continue
            except EvalError:
                queue.clear()
                raise
            on_row(any(score.value is None for score in scores[index]))

    await all_of(work() for _ in range(_AT_ONCE))
    queue.extend(row for row, _ in refused.decide())
    await all_of(work() for _ in range(_AT_ONCE))
    return scores


async def _score(scorer: Scorer, metric: str, row: Labelled) -> list[Score]:
    """Scores of a row, one per response, computed as in a run: a response without content, or with a
    broken medium, scores the floor.

    A pairwise judge gives one score for the pair: 1 if the first response wins, 0.5 for a tie.
    """
    usable = [await asyncio.to_thread(checked, response) for response in row.responses]
    if not isinstance(scorer, ComparingScorer):
        return [
            (await score_response([scorer], row.sample, response)).get(metric, _NOT_APPLYING)
            for response in usable
        ]
    a, b = usable
    if a.error is None and b.error is None:
        return [(await scorer.compare(row.sample, a.parts, b.parts))[metric]]
    points = (1 + (b.error is not None) - (a.error is not None)) / 2
    return [Score(points, explanation="a response is missing or broken")]


class _ScoredRow(NamedTuple):
    """A labelled row, its scores, and the scores of the second pass if it was repeated."""

    labelled: Labelled
    scores: list[Score]
    second: list[Score] | None


def _measure_pairs(scored: Sequence[_ScoredRow], metric: Metric) -> JudgeMeasurement:
    verdicts = _verdicts([row.scores for row in scored], metric)
    preferred = np.array([row.labelled.label for row in scored])
    clusters = [row.labelled.sample.source_id for row in scored]
    lengths_a, lengths_b = np.array([[len(r.text) for r in row.labelled.responses] for row in scored]).T
    figures = {
        "accuracy": accuracy(verdicts, preferred, clusters),
        "kappa": cohen_kappa(verdicts, preferred, clusters=clusters),
        "length_bias": length_bias(verdicts, preferred, lengths_a, lengths_b, clusters),
    }
    if any(len(row.scores) == 1 for row in scored):
        forward, backward = np.array([_orders(row.scores[0]) for row in scored]).T
        figures["position_bias"] = position_bias(forward, backward, clusters)
        figures["first_preference"] = first_preference(forward, backward, clusters)
    twice, clusters_twice = _twice(scored)
    if twice:
        table = np.array([_verdicts(scores, metric) for scores in zip(*twice, strict=True)])
        figures["self_consistency"] = self_consistency(table.T, clusters_twice)
        figures["alpha_self"] = krippendorff_alpha(table, "nominal", clusters_twice)
    return _measured(scored, figures)


def _measure_grades(scored: Sequence[_ScoredRow], metric: Metric) -> JudgeMeasurement:
    """Measurement on graded responses. The judge's range is mapped to that of the labels; in both, the
    middle separates good responses from bad ones."""
    quality = _quality([row.scores for row in scored], metric)[:, 0]
    labels = np.array([row.labelled.label for row in scored])
    clusters = [row.labelled.sample.source_id for row in scored]
    low, high = labels.min(), labels.max()
    sensitivity, specificity = sensitivity_specificity(
        labels > (low + high) / 2, _good(quality), clusters
    )
    is_scored = ~np.isnan(quality)
    predicted, actual = low + quality[is_scored] * (high - low), labels[is_scored]
    scored_clusters = np.array(clusters)[is_scored].tolist()
    figures = {
        "rho": spearman(predicted, actual, scored_clusters),
        "alpha_interval": krippendorff_alpha([predicted, actual], "interval", scored_clusters),
        "sensitivity": sensitivity,
        "specificity": specificity,
    }
    levels = np.unique(labels)
    if len(levels) <= _FEW_LEVELS:
        nearest = levels[np.abs(predicted[:, None] - levels).argmin(1)]
        figures["kappa_quadratic"] = cohen_kappa(nearest, actual, "quadratic", scored_clusters)
    twice, clusters_twice = _twice(scored)
    if twice:
        table = np.array([_quality(scores, metric)[:, 0] for scores in zip(*twice, strict=True)])
        figures["self_consistency"] = self_consistency(_good(table).T, clusters_twice)
        figures["alpha_self"] = krippendorff_alpha(table, "interval", clusters_twice)
    return _measured(scored, figures)


def _twice(scored: Sequence[_ScoredRow]) -> tuple[list[tuple[list[Score], list[Score]]], list[str]]:
    """Scores of both passes for each repeated row, and the clusters of these rows."""
    repeated = [
        (row.scores, row.second, row.labelled.sample.source_id)
        for row in scored
        if row.second is not None
    ]
    return [(first, second) for first, second, _ in repeated], [cluster for *_, cluster in repeated]


def _verdicts(scores: Sequence[Sequence[Score]], metric: Metric) -> Floats:
    """Verdicts (rows,): 1 if a is preferred, -1 if b is, 0 for a tie, nan if the judge failed."""
    quality = _quality(scores, metric)
    other = quality[:, 1] if quality.shape[1] == 2 else 0.5  # a pairwise judge has one score for both
    verdicts: Floats = np.sign(quality[:, 0] - other)
    return verdicts


def _orders(score: Score) -> tuple[float, float]:
    """Verdicts of a pairwise judge in both orders: 1 for the response in first position, -1 for the
    second; nan if the judge failed or was not asked."""
    points = {"first": 1.0, "second": -1.0, "tie": 0.0}
    forward, backward = (points.get(o, np.nan) for o in score.details.get("orders", ("", "")))
    return forward, backward


def _good(quality: Floats) -> Floats:
    """Decisions: 1 in the upper half of the range, 0 in the lower, nan stays."""
    good: Floats = np.where(np.isnan(quality), np.nan, quality > 0.5)
    return good


def _quality(scores: Sequence[Sequence[Score]], metric: Metric) -> Floats:
    """Scores as shares of the metric's range (rows, scores), 1 being the best; nan for no value."""

    def share(score: Score) -> float:
        return (
            np.nan if score.value is None else share_of_range(score.value, metric.range, metric.better)
        )

    return np.array([[share(score) for score in row] for row in scores])


def _measured(scored: Sequence[_ScoredRow], figures: dict[str, AgreementFigure]) -> JudgeMeasurement:
    failed = [[s for s in row.scores if s.value is None] for row in scored]
    reasons = [scores[0].explanation for scores in failed if scores]
    return JudgeMeasurement(len(scored), len(reasons), reasons[0] if reasons else "", figures)
