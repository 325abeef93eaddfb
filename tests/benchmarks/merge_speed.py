"""Seconds and memory of a merge: python -m tests.benchmarks.merge_speed [--shards 100] [--samples 1000]

The shards are those of one replay, whose records are dealt out as `run --shard` would, since making each
by its command takes much longer than the merge. The whole process is timed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from eval_anything.files.writing import pretty_json
from tests.benchmarks.run_memory import CHILD
from tests.support.helpers import answers, make_task, text_sample, write_jsonl


def deal_out(run: Path, count: int) -> list[Path]:
    """Shards made of a run that is its own only shard; records are in the order of the plan."""
    file: dict[str, Any] = json.loads((run / "run.json").read_bytes())
    lines = (run / "mine/demo/records.jsonl").read_bytes().splitlines(keepends=True)
    order = {f"s{i}": i for i in range(len(lines))}
    lines.sort(key=lambda line: order[json.loads(line)["sample_id"]])
    size = file["shard"]["batch_size"]
    batches = [lines[i : i + size] for i in range(0, len(lines), size)]
    paths = []
    for number in range(1, count + 1):
        path = run.with_name(f"part-{number}")
        (path / "mine/demo").mkdir(parents=True)
        shard = file["shard"] | {"number": number, "count": count}
        (path / "run.json").write_bytes(pretty_json({**file, "shard": shard}))
        own = [line for batch in batches[number - 1 :: count] for line in batch]
        (path / "mine/demo/records.jsonl").write_bytes(b"".join(own))
        paths.append(path)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--samples", type=int, default=1000, help="of each shard")
    options = parser.parse_args()
    ids = [f"s{i}" for i in range(options.shards * options.samples)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_task(root, samples=[text_sample(id_) for id_ in ids])
        write_jsonl(root / "rows.jsonl", answers(ids))

        def run(*words: str | Path) -> list[str]:
            command = [sys.executable, "-c", CHILD, *words, "--include", "mine", "--json"]
            start = time.perf_counter()
            done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
            return [f"{time.perf_counter() - start:.1f} s", *done.stdout.splitlines()[-1:]]

        print(
            "run",
            *run(
                "score",
                "--outputs",
                "rows.jsonl",
                "--tasks",
                "mine/demo",
                "--shard",
                "1/1",
                "--out",
                "whole",
            ),
        )
        parts = deal_out(root / "whole", options.shards)
        print("merge", *run("runs", "merge", "merged", *parts))
        whole, merged = (
            json.loads((root / name / "results.json").read_bytes()) for name in ("whole", "merged")
        )
        assert whole | {"run": ""} == merged | {"run": ""}


if __name__ == "__main__":
    main()
