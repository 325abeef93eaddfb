"""How good a judge was found to be, and where that is kept: under the judge's fingerprint.

Calibrations lie in the user's own data directory, `calibrations/<fingerprint>.json`, a list with the
newest first; a bundled judge may carry some in its folder, `calibration.json`, a list for any models.
`calibrating.py` makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from eval_anything.errors import UserError
from eval_anything.files.places import content_folder, home
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.runs.results_file import Interval, JudgeQuality
from eval_anything.statistics.agreement import AgreementFigure


class JudgeMeasurement(Struct, frozen=True):
    """What labels of one kind say of a judge: n rows, how many of them it failed, and why the first
    of these, and its figures by name."""

    n: int
    unscored: int
    reason: str
    figures: dict[str, AgreementFigure]


class Calibration(Struct, frozen=True, kw_only=True):
    """How good a judge is on one metric. Labels of the two kinds are measured apart.

    `pairs` has accuracy, kappa (over a, b and tie) and length_bias, and position_bias and
    first_preference of a pairwise judge; `grades` has rho (Spearman), alpha_interval, sensitivity,
    specificity, and kappa_quadratic if the labels have few levels. A row that the judge failed is wrong
    in accuracy, kappa, sensitivity and specificity; the others are of the rows that it scored.

    Both have, of the rows that the judge was asked about twice, self_consistency: the probability of the
    same decision (a, b or tie; or which half of the range), and alpha_self: Krippendorff's alpha of the
    two times, nominal over the decisions on pairs, interval over grades.
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

    @property
    def quality(self) -> JudgeQuality | None:
        """The one figure that stands for the judge beside its scores: accuracy on pairs, else rho.
        None if neither has a value. An interval that cannot be said is the whole range."""
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
        """Every figure by its name; of pairs where both kinds of labels give it."""
        figures = [found.figures for found in (self.grades, self.pairs) if found is not None]
        return {name: figure.value for found in figures for name, figure in found.items()}


def save_calibration(calibration: Calibration) -> Path:
    """Puts it before the older ones of the same judge; the file's path."""
    path = _folder() / f"{calibration.fingerprint}.json"
    write_atomically(path, pretty_json([calibration, *_read(path)]))
    return path


def load_calibration(fingerprint: str, metric: str | None = None) -> Calibration | None:
    """The newest calibration of exactly this judge, on one metric or any: the user's own, or bundled."""
    own = _read(_folder() / f"{fingerprint}.json")
    found = [*own, *(c for c in _bundled() if c.fingerprint == fingerprint)]
    return _newest([c for c in found if metric in (None, c.metric)])


def quality_of(fingerprint: str, metric: str | None = None) -> JudgeQuality | None:
    """The quality of a judge, on one metric or any; None if it is not calibrated."""
    calibration = load_calibration(fingerprint, metric)
    return calibration.quality if calibration is not None else None


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
