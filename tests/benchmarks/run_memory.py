"""Peak memory of runs that differ in nothing but their number of media samples.

    python -m tests.benchmarks.run_memory [--samples 1000 5000] [--kind replay|micro]

`replay` scores saved answers, each a text and a picture of its own to a prompt with a picture (12 kB of
noise each, so media that are kept in memory show). `micro` asks the bundled checkpoint to draw, the same
samples again and again. Printed is the peak of the process that runs (ru_maxrss), without the
processes that decode, and what it grows by for each further sample.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

_TASK = """\
version: 1
title: Pictures
description: Peak memory.
licence: CC0-1.0
inputs: [text, image]
outputs: [text, image]
judges: [selection_contract]
primary: selection
contract: {required: [text, image]}
"""
CHILD = """\
import resource, sys
from eval_anything.cli.main import main
code = main(sys.argv[1:])
assert code == 0, code
unit = 1 if sys.platform == "darwin" else 1024
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
"""
_MIB = 2**20


def _noise(seed: int) -> bytes:
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _replayed(root: Path, samples: int) -> list[str]:
    """A task and the answers to it; the arguments that score them."""
    folder = root / "mine" / "pictures"
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(_TASK)
    rows: list[dict[str, Any]] = []
    answers = []
    for i in range(samples):
        (folder / f"{i}.png").write_bytes(_noise(2 * i))
        (root / f"{i}.png").write_bytes(_noise(2 * i + 1))
        text = {"modality": "text", "text": f"Draw it again, with a little more of everything: {i}."}
        image = {"modality": "image", "path": f"{i}.png"}
        rows.append({"id": f"s{i}", "messages": [{"role": "user", "parts": [text, image]}]})
        answers.append({"sample_id": f"s{i}", "parts": [text, image]})
    for path, lines in ((folder / "samples.jsonl", rows), (root / "rows.jsonl", answers)):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    saved, include = str(root / "rows.jsonl"), str(root / "mine")
    return ["score", "--outputs", saved, "--tasks", "mine/pictures", "--include", include]


def _asked(samples: int) -> list[str]:
    limit = 20
    return [
        *(
            "run",
            "--model",
            "micro",
            "--tasks",
            "micro/instruction_following",
            "--model-arg",
            "batch_size=16",
        ),
        *("--limit", str(limit), "--repeats", str(samples // limit), "--max-failed", "1"),
    ]


def peak(kind: str, samples: int) -> int:
    """Bytes."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        arguments = _replayed(root, samples) if kind == "replay" else _asked(samples)
        command = [sys.executable, "-c", CHILD, *arguments, "--out", str(root / "run")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--kind", choices=["replay", "micro"], default="replay")
    options = parser.parse_args()
    found = {samples: peak(options.kind, samples) for samples in options.samples}
    for samples, size in found.items():
        print(f"{samples:>8,} samples {size / _MIB:8.1f} MiB")
    fewest, most = min(found), max(found)
    if most > fewest:
        print(f"each further sample {(found[most] - found[fewest]) / (most - fewest) / 1024:.1f} KiB")


if __name__ == "__main__":
    main()
