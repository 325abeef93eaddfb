"""Measures a judge against labels, and keeps what was found under the judge's fingerprint.

Calibrations lie in the user's own data directory, `calibrations/<fingerprint>.json`, a list with the
newest first; a bundled judge may carry some in its folder, `calibration.json`, a list for any models.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from eval_anything.agreement import (
    Figure,
    Floats,
    accuracy,
    cohen_kappa,
    krippendorff_alpha,
    length_bias,
    sensitivity_specificity,
    spearman,
)
from eval_anything.bundled import content_folder
from eval_anything.content import Response, Sample, Score
from eval_anything.errors import UserError, near
from eval_anything.files import pretty_json, write_atomically
from eval_anything.home import home
from eval_anything.labels import Labelled, Labels
from eval_anything.pipeline import checked
from eval_anything.scorers.base import Scorer, score_response
from eval_anything.tasks.task import Metric

_AT_ONCE = 64
_FEW_LEVELS = 10
"""Labels with more distinct values than this are no scale of grades, and get no kappa."""


class Measured(Struct, frozen=True):
    """What labels of one kind say of a judge: n rows, how many of them it failed, and why the first
    of these, and its figures by name."""

    n: int
    unscored: int
    reason: str
    figures: dict[str, Figure]


class Calibration(Struct, frozen=True, kw_only=True):
    """How good a judge is on one metric. Labels of the two kinds are measured apart.

    `pairs` has accuracy, kappa (over a, b and tie) and length_bias; `grades` has rho (Spearman),
    alpha_interval, sensitivity, specificity, and kappa_quadratic if the labels have few levels. A row
    that the judge failed is wrong in accuracy, kappa, sensitivity and specificity; the others are of
    the rows that it scored.
    """

    judge: str
    model: str
    fingerprint: str
    metric: str
    labels: str
    sha256: str
    n: int
    date: str
    pairs: Measured | None
    grades: Measured | None

    @property
    def summary(self) -> dict[str, Any] | None:
        """The one figure that stands for the judge beside its scores: accuracy on pairs, else rho.
        None if neither has a value. An interval that cannot be said is the whole range."""
        for name, measured, bounds in (
            ("accuracy", self.pairs, (0.0, 1.0)),
            ("rho", self.grades, (-1.0, 1.0)),
        ):
            figure = measured.figures[name] if measured is not None else None
            if figure is not None and figure.value is not None:
                return {
                    "metric": self.metric,
                    "figure": name,
                    "value": figure.value,
                    "ci95": list(figure.ci95 or bounds),
                    "n": figure.n,
                    "labels": self.labels,
                }
        return None


# --- measuring -----------------------------------------------------------------------------------


def metric_to_measure(scorer: Scorer, name: str | None = None) -> str:
    """The metric that is named, else `synergy`, else the judge's only one."""
    known = list(scorer.metrics)
    if name is not None and name not in known:
        raise UserError(f"{scorer.name} has no metric {name!r}.{near(name, known)}")
    if name is None and "synergy" not in known and len(known) > 1:
        raise UserError(f"{scorer.name} gives {', '.join(known)}: choose one with --metric")
    return name or ("synergy" if "synergy" in known else known[0])


def calibrate(
    scorer: Scorer, metric: str, labels: Labels, model: str, on_row: Callable[[bool], None]
) -> Calibration:
    """Has the judge score every labelled response; `on_row` is told of each row if the judge failed.

    `model` is the name of the model behind the judge, if the user names one.
    """
    scores = asyncio.run(_score_all(scorer, metric, labels.rows, on_row))
    declared = scorer.metrics[metric]
    scored = list(zip(labels.rows, scores, strict=True))
    pairs = [(row, found) for row, found in scored if row.is_pair]
    grades = [(row, found) for row, found in scored if not row.is_pair]
    return Calibration(
        judge=scorer.name,
        model=model,
        fingerprint=scorer.fingerprint,
        metric=metric,
        labels=labels.name,
        sha256=labels.sha256,
        n=len(labels.rows),
        date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        pairs=_of_pairs(pairs, declared) if pairs else None,
        grades=_of_grades(grades, declared) if grades else None,
    )


async def _score_all(
    scorer: Scorer, metric: str, rows: Sequence[Labelled], on_row: Callable[[bool], None]
) -> list[list[Score]]:
    """The scores of each row's responses, in order. The first EvalError, such as that of a
    server that is away, stops it."""
    scores: list[list[Score]] = [[] for _ in rows]
    todo = iter(enumerate(rows))

    async def work() -> None:
        for place, row in todo:
            for response in row.responses:
                scores[place].append(await _score(scorer, metric, row.sample, response))
            on_row(any(score.value is None for score in scores[place]))

    try:
        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    finally:
        await scorer.close()
    return scores


async def _score(scorer: Scorer, metric: str, sample: Sample, response: Response) -> Score:
    """As a run scores it: a response without content, or with a broken medium, has the floor."""
    usable = await asyncio.to_thread(checked, response)
    scores = await score_response([scorer], sample, usable)
    return scores.get(metric, Score(None, explanation=f"{metric} does not apply to this sample"))


Scored = Sequence[tuple[Labelled, list[Score]]]


def _of_pairs(scored: Scored, metric: Metric) -> Measured:
    a, b = _quality(scored, metric).T
    verdicts = np.sign(a - b)
    preferred = np.array([row.label for row, _ in scored])
    clusters = [row.sample.source_id for row, _ in scored]
    lengths_a, lengths_b = np.array([[len(r.text) for r in row.responses] for row, _ in scored]).T
    return _measured(
        scored,
        {
            "accuracy": accuracy(verdicts, preferred, clusters),
            "kappa": cohen_kappa(verdicts, preferred, clusters=clusters),
            "length_bias": length_bias(verdicts, preferred, lengths_a, lengths_b, clusters),
        },
    )


def _of_grades(scored: Scored, metric: Metric) -> Measured:
    """The judge's range is laid over that of the labels. The middle parts good from bad in both."""
    quality = _quality(scored, metric)[:, 0]
    labels = np.array([row.label for row, _ in scored])
    clusters = [row.sample.source_id for row, _ in scored]
    low, high = labels.min(), labels.max()
    judged = np.where(np.isnan(quality), np.nan, quality > 0.5)
    sensitivity, specificity = sensitivity_specificity(labels > (low + high) / 2, judged, clusters)
    there = ~np.isnan(quality)
    given, wanted = low + quality[there] * (high - low), labels[there]
    names = [cluster for cluster, scored_ in zip(clusters, there, strict=True) if scored_]
    figures = {
        "rho": spearman(given, wanted, names),
        "alpha_interval": krippendorff_alpha([given, wanted], "interval", names),
        "sensitivity": sensitivity,
        "specificity": specificity,
    }
    levels = np.unique(labels)
    if len(levels) <= _FEW_LEVELS:
        nearest = levels[np.abs(given[:, None] - levels).argmin(1)]
        figures["kappa_quadratic"] = cohen_kappa(nearest, wanted, "quadratic", names)
    return _measured(scored, figures)


def _quality(scored: Scored, metric: Metric) -> Floats:
    """(rows, responses): scores as shares of the metric's range, 1 the best; nan where there is none."""
    low, high = metric.range
    values = np.array([[np.nan if s.value is None else s.value for s in scores] for _, scores in scored])
    share: Floats = (values - low) / (high - low)
    return share if metric.better == "higher" else 1 - share


def _measured(scored: Scored, figures: dict[str, Figure]) -> Measured:
    failed = [[s for s in scores if s.value is None] for _, scores in scored]
    reasons = [scores[0].explanation for scores in failed if scores]
    return Measured(len(scored), len(reasons), reasons[0] if reasons else "", figures)


# --- keeping -------------------------------------------------------------------------------------


def save_calibration(calibration: Calibration) -> Path:
    """Puts it before the older ones of the same judge; the file's path."""
    path = _folder() / f"{calibration.fingerprint}.json"
    write_atomically(path, pretty_json([calibration, *_read(path)]))
    return path


def load_calibration(fingerprint: str) -> Calibration | None:
    """The newest calibration of exactly this judge: the user's own, or a bundled one."""
    own = _read(_folder() / f"{fingerprint}.json")
    return _newest([*own, *(c for c in _bundled() if c.fingerprint == fingerprint)])


def calibration_summary(fingerprint: str) -> dict[str, Any] | None:
    """What results say of a judge's quality; None if it is not calibrated."""
    found = load_calibration(fingerprint)
    return found.summary if found is not None else None


def calibrations_of(judge: str) -> list[Calibration]:
    """The newest calibration of each fingerprint that a judge of this name has had."""
    found: dict[str, list[Calibration]] = {}
    own = (c for path in sorted(_folder().glob("*.json")) for c in _read(path))
    for calibration in (*own, *_bundled()):
        if calibration.judge == judge:
            found.setdefault(calibration.fingerprint, []).append(calibration)
    newest = [c for c in map(_newest, found.values()) if c is not None]
    return sorted(newest, key=lambda c: c.date, reverse=True)


def _newest(calibrations: Sequence[Calibration]) -> Calibration | None:
    return max(calibrations, key=lambda c: c.date, default=None)


def _folder() -> Path:
    return home() / "calibrations"


def _bundled() -> list[Calibration]:
    paths = sorted(content_folder("judges").glob("*/calibration.json"))
    return [calibration for path in paths for calibration in _read(path)]


def _read(path: Path) -> list[Calibration]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Calibration])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as calibrations: {error}. Move it away.") from None
