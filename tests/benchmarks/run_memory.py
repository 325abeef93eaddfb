"""Peak memory of runs that differ in nothing but their number of media samples.

    python -m tests.benchmarks.run_memory [--samples 1000 5000] [--kind replay|text|micro]

`replay` scores saved answers, each a text and a picture of its own to a prompt with a picture (12 kB of
noise each, so media that are kept in memory show), `text` answers of a few words. `micro` asks the
bundled checkpoint to draw, the same samples again and again. Printed is the peak of the process that
runs (VmHWM of Linux; ru_maxrss has that of its parent, too), without the processes that decode, its
seconds, and what the peak grows by for each further sample.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.support.helpers import answers, make_task, text_sample, write_jsonl

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
import re, sys
from eval_anything.cli.main import main
code = main(sys.argv[1:])
assert code == 0, code
print("peak", int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024)
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
    saved_rows = []
    for i in range(samples):
        (folder / f"{i}.png").write_bytes(_noise(2 * i))
        (root / f"{i}.png").write_bytes(_noise(2 * i + 1))
        text = {"modality": "text", "text": f"Draw it again, with a little more of everything: {i}."}
        image = {"modality": "image", "path": f"{i}.png"}
        rows.append({"id": f"s{i}", "messages": [{"role": "user", "parts": [text, image]}]})
        saved_rows.append({"sample_id": f"s{i}", "parts": [text, image]})
    for path, lines in ((folder / "samples.jsonl", rows), (root / "rows.jsonl", saved_rows)):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    saved, include = str(root / "rows.jsonl"), str(root / "mine")
    return ["score", "--outputs", saved, "--tasks", "mine/pictures", "--include", include]


def _texts(root: Path, samples: int) -> list[str]:
    """A task of short questions and the answers to it; the arguments that score them."""
    ids = [f"s{i}" for i in range(samples)]
    make_task(root, samples=[text_sample(id_) for id_ in ids])
    saved, include = str(write_jsonl(root / "rows.jsonl", answers(ids))), str(root / "mine")
    return ["score", "--outputs", saved, "--tasks", "mine/demo", "--include", include]


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


class Figures(NamedTuple):
    """Peak memory in bytes, and seconds of the whole process."""

    peak: int
    seconds: float


def measure(kind: str, samples: int) -> Figures:
    """The figures of one run."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        makers = {"replay": _replayed, "text": _texts}
        arguments = makers[kind](root, samples) if kind in makers else _asked(samples)
        command = [sys.executable, "-c", CHILD, *arguments, "--out", str(root / "run")]
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return Figures(int(done.stdout.split()[-1]), time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--kind", choices=["replay", "text", "micro"], default="replay")
    options = parser.parse_args()
    runs = {samples: measure(options.kind, samples) for samples in options.samples}
    for samples, figures in runs.items():
        print(f"{samples:>8,} samples {figures.peak / _MIB:8.1f} MiB {figures.seconds:8.1f} s")
    fewest, most = min(runs), max(runs)
    if most > fewest:
        growth = (runs[most].peak - runs[fewest].peak) / (most - fewest)
        print(f"each further sample {growth / 1024:.2f} KiB")


if __name__ == "__main__":
    main()
