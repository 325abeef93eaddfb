"""Labels of the micro world for calibrating judges: pairs of responses with exact labels."""

from __future__ import annotations

from pathlib import Path

from eval_anything.judges.calibration.labels import _SIDES, Labelled, Labels
from eval_anything.micro.pairs.preferences import render_pair, synergy_calibration


def micro_labels(folder: Path, limit: int | None = None) -> Labels:
    """The first `limit` of 500 pairs on synergy, with media in `folder`."""
    rows = []
    for i, pair in enumerate(synergy_calibration()[:limit]):
        rendered = render_pair(pair, folder, f"pair-{i}")
        rows.append(Labelled(rendered.sample, (rendered.a, rendered.b), _SIDES[rendered.preferred]))
    return Labels("micro synergy pairs", rows)
