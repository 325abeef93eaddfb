"""Labels of the micro world for calibration: pairs of responses with their exact truth."""

from __future__ import annotations

from pathlib import Path

from eval_anything.judges.calibration.labels import _SIDES, Labelled, Labels


def micro_labels(folder: Path, limit: int | None = None) -> Labels:
    """The first `limit` of 500 pairs of the micro world, whose truth is exact; media go to `folder`."""
    from eval_anything.micro.making.pairs import render_pair, synergy_calibration

    rows = []
    for i, pair in enumerate(synergy_calibration()[:limit]):
        rendered = render_pair(pair, folder, f"pair-{i}")
        rows.append(Labelled(rendered.sample, (rendered.a, rendered.b), _SIDES[rendered.preferred]))
    return Labels("micro synergy pairs", rows)
