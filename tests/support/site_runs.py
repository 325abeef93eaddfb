"""Runs to build sites from: answers of the micro model, some of them worse on purpose.

The worse ones are answers in which a share of the samples got the answer of another one; they are
scored by the same judges. So their differences are real, and their order is known.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from eval_anything.cli.main import main


def run_cli(*arguments: str | Path) -> None:
    """`eval-anything` in this process; what it says is shown if it fails. A thread of its own, since the
    event loop of an open browser belongs to that of the tests."""
    said = io.StringIO()
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        ThreadPoolExecutor(1) as own,
    ):
        code = own.submit(main, [str(a) for a in arguments]).result()
    assert code == 0, said.getvalue()


def micro_run(out: Path, seed: int = 0, limit: int = 12, temperature: float = 0.7) -> Path:
    """A run of the micro model."""
    run_cli(
        *("run", "--model", "micro", "--suite", "micro_quick", "--limit", str(limit)),
        *("--temperature", str(temperature), "--seed", str(seed), "--out", out, "--max-failed", "1"),
    )
    return out


def worse_run(run: Path, out: Path, name: str, share: float) -> Path:
    """The answers of `run`, of which a share (0..1) is that of the sample before, scored anew."""
    rows = []
    for log in sorted(run.glob("*/*/records.jsonl")):
        task = log.parent.relative_to(run).as_posix()
        records = sorted(
            map(json.loads, log.read_text("utf-8").splitlines()), key=lambda r: r["sample_id"]
        )
        for i, record in enumerate(records):
            swapped = (i * 0.618) % 1 < share
            parts = records[i - 1 if swapped else i]["parts"]
            shown = [p if "text" in p else {**p, "path": str(run / p["path"])} for p in parts]
            row: dict[str, Any] = {"task": task, "sample_id": record["sample_id"]}
            rows.append(
                row
                | {"parts": [{k: p[k] for k in ("modality", "text", "path") if k in p} for p in shown]}
            )
    file = out.parent / f"{name}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    # Media of a replay lie beside its file.
    for row in rows:
        for part in row["parts"]:
            if "path" in part:
                source = Path(part["path"])
                target = file.parent / "media-of-replays" / source.name
                target.parent.mkdir(exist_ok=True)
                if not target.exists():
                    shutil.copyfile(source, target)
                part["path"] = target.relative_to(file.parent).as_posix()
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    tasks = sorted({row["task"] for row in rows})
    counts = max(sum(row["task"] == task for row in rows) for task in tasks)
    run_cli(
        *("score", "--outputs", file, "--tasks", ",".join(tasks), "--limit", str(counts)),
        *("--out", out, "--max-failed", "1"),
    )
    return out


def edit_run(run: Path, **changes: Any) -> Path:
    """run.json with some fields changed."""
    file = json.loads((run / "run.json").read_text("utf-8"))
    (run / "run.json").write_text(json.dumps(file | changes), "utf-8")
    return run


def edit_results(run: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """results.json changed in place."""
    path = run / "results.json"
    results = json.loads(path.read_text("utf-8"))
    change(results)
    path.write_text(json.dumps(results), "utf-8")
    return run


def edit_records(run: Path, task: str, change: Callable[[dict[str, Any], int], None]) -> Path:
    """Every record of a task changed in place; `change` gets it and its number."""
    path = run / task / "records.jsonl"
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for i, record in enumerate(records):
        change(record, i)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return run


def family(root: Path, limit: int = 12) -> list[Path]:
    """A run of micro at a temperature of its own, and three checkpoints of a training that
    gets better."""
    base = micro_run(root / "micro", limit=limit)
    runs = [base]
    for step, share in ((100, 0.6), (200, 0.3), (300, 0.0)):
        run = worse_run(base, root / f"step-{step}", f"tuned-{step}", share)
        runs.append(edit_run(run, spec=f"train/tuned/checkpoint-{step}", model=f"tuned-{step}"))
    return runs
