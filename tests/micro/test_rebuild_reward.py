"""`make reward`: a judge that prefers the opposite disagrees with the figures of the bundled one."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval_anything.judges.calibration.store import Calibration, JudgeMeasurement
from eval_anything.judges.folder import find_judges
from eval_anything.micro.making.reward import CHECKPOINT, DEFAULT, load, save
from eval_anything.statistics.agreement import AgreementFigure
from tests.benchmarks.rebuild import compare
from tests.benchmarks.rebuild_reward import JUDGE, again, calibration_figures


@pytest.mark.slow
def test_another_judge_disagrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = JudgeMeasurement(40, 0, "", {"self_consistency": AgreementFigure(1.0, None, 5)})
    few = Calibration(
        judge=JUDGE, model="", fingerprint="", metric="synergy", labels="", sha256="", n=40, date="",
        pairs=wanted, grades=None,
    )  # fmt: skip
    bundled = again(few, find_judges()[JUDGE].path / CHECKPOINT)
    assert bundled.n == 40
    figures = calibration_figures(bundled)
    assert figures["calibration:self_consistency"]["n"] == 5
    assert compare(figures, figures) == 0
    model = load(find_judges()[JUDGE].path / CHECKPOINT)
    model.score.weight.data.neg_()
    save(model, tmp_path / "turned", DEFAULT, seed=0)
    other = calibration_figures(again(few, tmp_path / "turned"))
    capsys.readouterr()
    assert compare(figures, other) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("calibration:accuracy") and line.endswith("DISAGREES") for line in lines)
    assert any(line.startswith("calibration:self_consistency") and "agrees" in line for line in lines)
