"""`make micro`: trains the bundled checkpoint again from its seed and compares its figures.

    python -m tests.benchmarks.rebuild             trains, evaluates, compares
    python -m tests.benchmarks.rebuild --accept    makes the rebuilt one the bundled one
    python -m tests.benchmarks.rebuild --figures   stores the bundled one's figures anew

The figures of the bundled checkpoint lie beside it in figures.json: value, 95 % interval and n of
every metric of the micro suite, greedy. The rebuilt model agrees if each of its values lies in that
interval; other processors round differently, so equal bits are not asked for.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from eval_anything.evaluation.evaluate import evaluate
from eval_anything.evaluation.options import Options
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.micro.making.build import build
from eval_anything.micro.model.adapter import BUNDLED
from eval_anything.output.progress import Progress
from eval_anything.output.tables import table

FIGURES = "figures.json"


def figures_of(checkpoint: Path, run: Path) -> dict[str, dict[str, Any]]:
    """Evaluates a checkpoint on the micro suite: {name: {value, ci95, n}}, aggregates included."""
    outcome = evaluate(Options(model=str(checkpoint), suite="micro", out=str(run)), Progress())
    figures: dict[str, dict[str, Any]] = {
        f"{task}:{name}": {"value": metric.value, "ci95": metric.ci95, "n": metric.n}
        for task, result in outcome.results.tasks.items()
        for name, metric in result.metrics.items()
    }
    return figures | {
        name: {"value": aggregate.value, "ci95": aggregate.ci95}
        for name, aggregate in outcome.results.aggregates.items()
    }


def disagreements(committed: dict[str, dict[str, Any]], rebuilt: dict[str, dict[str, Any]]) -> list[str]:
    """Names of figures whose rebuilt value is outside the committed interval, or is missing."""
    wrong = []
    for name, figure in committed.items():
        value = rebuilt.get(name, {}).get("value")
        if figure["value"] is None:
            agrees = value is None
        else:
            low, high = figure["ci95"]
            agrees = value is not None and low <= value <= high
        if not agrees:
            wrong.append(name)
    return wrong


def main() -> int:
    """Builds into build/micro; exit code 1 if a figure disagrees."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--accept", action="store_true", help="make it the bundled checkpoint")
    parser.add_argument("--figures", action="store_true", help="evaluate the bundled one, no training")
    parser.add_argument("--out", type=Path, default=Path("build/micro"))
    options = parser.parse_args()
    checkpoint, run = options.out / "checkpoint", options.out / "run"
    shutil.rmtree(options.out, ignore_errors=True)
    if options.figures:
        write_atomically(BUNDLED / FIGURES, pretty_json(figures_of(BUNDLED, run)))
        return 0
    print(f"trained in {build(checkpoint, seed=0):.0f} s")
    rebuilt = figures_of(checkpoint, run)
    if options.accept:
        write_atomically(checkpoint / FIGURES, pretty_json(rebuilt))
        shutil.rmtree(BUNDLED, ignore_errors=True)
        shutil.copytree(checkpoint, BUNDLED)
        print(f"{BUNDLED} is now the rebuilt checkpoint")
        return 0
    return compare(json.loads((BUNDLED / FIGURES).read_bytes()), rebuilt)


def compare(committed: dict[str, dict[str, Any]], rebuilt: dict[str, dict[str, Any]]) -> int:
    """Prints the figures beside each other; 1 if one of them disagrees, else 0."""
    wrong = disagreements(committed, rebuilt)
    rows = [
        [
            name,
            _number(figure["value"]),
            _number(rebuilt.get(name, {}).get("value")),
            "DISAGREES" if name in wrong else "agrees",
        ]
        for name, figure in committed.items()
    ]
    print(table(["figure", "committed", "rebuilt", ""], rows, right=(1, 2)))
    print(f"{len(committed) - len(wrong)} of {len(committed)} figures agree")
    return 1 if wrong else 0


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
