"""Calibrations: the measured quality of judges, stored by the fingerprint of the judge.

They are in the user's data directory, `calibrations/<fingerprint>.json`, a list with the newest first. A
bundled judge may have some in its folder, `calibration.json`, a list for several models. `measure.py`
makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from eval_anything.errors import UserError
from eval_anything.files.json_text import decode_strict
from eval_anything.files.places import content_folder, home
from eval_anything.files.reading import MAX_DOCUMENT, read_file
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.runs.results_file import Interval, JudgeQuality, SameGrade
from eval_anything.statistics.agreement import AgreementFigure


class JudgeMeasurement(Struct, frozen=True):
    """Measurement of a judge on labels of one kind.

    Attributes:
        n: number of rows.
        unscored: number of rows on which the judge failed.
        reason: reason of the first failure, or "".
        figures: statistics of the agreement, by name.
    """

    n: int
    unscored: int
    reason: str
    figures: dict[str, AgreementFigure]


class Calibration(Struct, frozen=True, kw_only=True):
    """Measured quality of a judge on one metric, separately for pairs and grades.

    `pairs` has accuracy, kappa (over a, b and tie) and length_bias, and for a pairwise judge
    position_bias and first_preference. `grades` has rho (Spearman), alpha_interval, sensitivity,
    specificity, and kappa_quadratic if the labels have few levels. A row on which the judge failed is
    wrong in accuracy, kappa, sensitivity and specificity, and left out of the others.

    `same` is the grade that the judge gave to nearly every response, if there is one.

    Both have, from the rows that the judge scored twice, self_consistency, the probability of the same
    decision (a, b or tie; or the half of the range), and alpha_self, Krippendorff's alpha of the two
    passes, nominal for the decisions on pairs, interval for grades.
    """

    judge: str
    model: str
    fingerprint: str
    metric: str
    labels: str
    sha256: str
    n: int
    date: str
    pairs: JudgeMeasurement | None
    grades: JudgeMeasurement | None
    same: SameGrade | None = None

    @property
    def quality(self) -> JudgeQuality | None:
        """Summary of the quality for results: accuracy on pairs, else rho; None if neither has a value.

        An interval that could not be computed is replaced by the whole range.
        """
        choices: tuple[tuple[Literal["accuracy", "rho"], JudgeMeasurement | None, Interval], ...] = (
            ("accuracy", self.pairs, (0.0, 1.0)),
            ("rho", self.grades, (-1.0, 1.0)),
        )
        for name, measured, bounds in choices:
            figure = measured.figures[name] if measured is not None else None
            if figure is not None and figure.value is not None:
                return JudgeQuality(
                    metric=self.metric,
                    figure=name,
                    value=figure.value,
                    ci95=figure.ci95 or bounds,
                    n=figure.n,
                    labels=self.labels,
                    figures=self._values,
                )
        return None

    @property
    def _values(self) -> dict[str, float | None]:
        """Values of all statistics by name; that of pairs if both kinds of labels give it."""
        measured_figures = [
            measured.figures for measured in (self.grades, self.pairs) if measured is not None
        ]
        return {name: figure.value for measured in measured_figures for name, figure in measured.items()}


def save_calibration(calibration: Calibration) -> Path:
    """Stores a calibration before the older ones of the same judge, and returns the path of the file."""
    path = _folder() / f"{calibration.fingerprint}.json"
    write_atomically(path, pretty_json([calibration, *_read(path)]))
    return path


def load_calibration(fingerprint: str, metric: str | None = None) -> Calibration | None:
    """Newest calibration of a judge, the user's own or bundled, on one metric or on any; None without
    one."""
    user_calibrations = _read(_folder() / f"{fingerprint}.json")
    candidates = [*user_calibrations, *(c for c in _bundled() if c.fingerprint == fingerprint)]
    return _newest([c for c in candidates if metric in (None, c.metric)])


def quality_of(fingerprint: str, metric: str | None = None) -> JudgeQuality | None:
    """Quality of a judge, on one metric or on any; None if it is not calibrated."""
    calibration = load_calibration(fingerprint, metric)
    return calibration.quality if calibration is not None else None


def calibrations_of(judge: str) -> list[Calibration]:
    """Newest calibration of each fingerprint of the judges with a name, the newest first."""
    by_fingerprint: dict[str, list[Calibration]] = {}
    user_calibrations = (c for path in sorted(_folder().glob("*.json")) for c in _read(path))
    for calibration in (*user_calibrations, *_bundled()):
        if calibration.judge == judge:
            by_fingerprint.setdefault(calibration.fingerprint, []).append(calibration)
    newest = [c for c in map(_newest, by_fingerprint.values()) if c is not None]
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
        return decode_strict(read_file(path, MAX_DOCUMENT), list[Calibration])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as calibrations: {error}. Move it away.") from None
