"""`make reward`: trains the learned judge of the micro world again from its seed, compares its figures.

    python -m tests.benchmarks.rebuild_reward

Two sets of figures lie beside the bundled judge: figures.json, how often it is right by pair of
modalities, and calibration.json, what `judges calibrate micro_synergy_rm --micro` found. The rebuilt
judge agrees if each of its values lies in the bundled interval, as for `make micro`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from eval_anything.judges.assemble import make_judge
from eval_anything.judges.calibration.measure import calibrate
from eval_anything.judges.calibration.store import Calibration
from eval_anything.judges.folder import find_judges
from eval_anything.micro.making.reward import CHECKPOINT, FIGURES, build
from eval_anything.micro.pairs.labels import micro_labels
from eval_anything.output.progress import Progress
from tests.benchmarks.rebuild import compare

JUDGE = "micro_synergy_rm"


def calibration_figures(calibration: Calibration) -> dict[str, dict[str, Any]]:
    """The figures on pairs, named so that they stand beside others. A figure that came out the same in
    every draw has no interval: the rebuilt one must be equal."""
    assert calibration.pairs is not None
    return {
        f"calibration:{name}": {"value": f.value, "ci95": f.ci95 or (f.value, f.value), "n": f.n}
        for name, f in calibration.pairs.figures.items()
    }


def again(bundled: Calibration, checkpoint: Path) -> Calibration:
    """Calibrates a checkpoint of the judge as the bundled one was, on as many of the pairs and again on
    as many of them; nothing is kept."""
    assert bundled.pairs is not None
    twice = bundled.pairs.figures["self_consistency"].n
    scorer = make_judge(find_judges()[JUDGE], False, str(checkpoint))
    with TemporaryDirectory(prefix="eval-anything-") as media:
        labels = micro_labels(Path(media), bundled.n)
        with Progress().count(bundled.n + twice, "label") as advance:
            return calibrate(scorer, bundled.metric, labels, "", twice, advance)


def main() -> int:
    """Builds into build/reward; exit code 1 if a figure disagrees."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/reward"))
    out = parser.parse_args().out
    folder = find_judges()[JUDGE].path
    figures = json.loads((folder / FIGURES).read_bytes())
    bundled = msgspec.json.decode((folder / "calibration.json").read_bytes(), type=list[Calibration])[0]
    shutil.rmtree(out, ignore_errors=True)
    start = time.monotonic()
    rebuilt = build(out)
    print(f"trained in {time.monotonic() - start:.0f} s")
    found = again(bundled, out / CHECKPOINT)
    return compare(figures | calibration_figures(bundled), rebuilt | calibration_figures(found))


if __name__ == "__main__":
    sys.exit(main())
