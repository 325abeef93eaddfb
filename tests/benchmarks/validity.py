"""Error rates and coverage of the statistics, by simulation on data whose truth is known.

    python -m tests.benchmarks.validity [--repetitions 2000] [--json FILE]

Scores are binary, ordinal (0, 1/4 .. 1) or continuous. Items of a cluster (5 of them) share one draw
with probability sqrt(ICC), which gives exactly that intra-cluster correlation for any kind of score.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eval_anything.gating.decide import Differences, decide
from eval_anything.statistics.intervals import Floats, Ints, mean_interval
from eval_anything.statistics.paired import paired

ALPHA, MARGIN = 0.05, 0.02
CLUSTER = 5
Generator = np.random.Generator
Draw = Callable[[Generator, tuple[int, ...]], Floats]

_LEVELS = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
_SHARES = {"middle": [0.1, 0.2, 0.4, 0.2, 0.1], "top": [0.01, 0.01, 0.03, 0.1, 0.85]}
_BETAS = {"middle": (2.0, 2.0), "top": (9.0, 0.5)}


def binary(p: float) -> Draw:
    return lambda g, shape: (g.random(shape) < p).astype(float)


def ordinal(name: str) -> Draw:
    return lambda g, shape: g.choice(_LEVELS, p=_SHARES[name], size=shape)


def continuous(name: str) -> Draw:
    return lambda g, shape: g.beta(*_BETAS[name], size=shape)


SCORES: dict[str, tuple[Draw, float]] = {
    **{f"binary, p = {p:g}": (binary(p), p) for p in (0.02, 0.2, 0.5)},
    **{f"ordinal, {k}": (ordinal(k), float(np.dot(_LEVELS, v))) for k, v in _SHARES.items()},
    **{f"continuous, {k}": (continuous(k), a / (a + b)) for k, (a, b) in _BETAS.items()},
}


def signs(g: Generator, shape: tuple[int, ...], discordance: float, loss: float) -> Floats:
    """-1, 0 or 1: which samples changed, the mean being -loss."""
    u = g.random(shape)
    down, up = (discordance + loss) / 2, (discordance - loss) / 2
    return np.where(u < down, -1.0, np.where(u < down + up, 1.0, 0.0))


def change(kind: str, discordance: float, loss: float) -> Draw:
    """Paired differences of a kind of score whose mean is -loss."""

    def draw(g: Generator, shape: tuple[int, ...]) -> Floats:
        if kind == "binary":
            return signs(g, shape, discordance, loss)
        if kind == "ordinal":  # steps of one to four levels, .45 on average
            steps = g.choice(_LEVELS[1:], p=[0.5, 0.3, 0.1, 0.1], size=shape)
            return signs(g, shape, discordance, loss / 0.45) * steps
        return np.clip(g.normal(-loss, 0.2, shape), -1, 1)

    return draw


def clustered(g: Generator, draw: Draw, n: int, icc: float) -> tuple[Floats, Ints]:
    """(n,) values with that correlation inside clusters, and the clusters' codes."""
    if icc == 0:
        return draw(g, (n,)), np.arange(n)
    codes = np.arange(n) // CLUSTER
    shared = draw(g, (n // CLUSTER,))[codes]
    return np.where(g.random(n) < np.sqrt(icc), shared, draw(g, (n,))), codes


# --- cells ---------------------------------------------------------------------------------------


def coverage_of_means(name: str, n: int, icc: float, repetitions: int) -> dict[str, Any]:
    draw, truth = SCORES[name]
    g = np.random.default_rng([n, int(10 * icc), sum(name.encode())])
    hits = 0
    for _ in range(repetitions):
        values, codes = clustered(g, draw, n, icc)
        found = mean_interval(values.tolist(), codes, (0.0, 1.0))
        hits += found.low <= truth <= found.high
    return {"scores": name, "n": n, "icc": icc, "covers": hits / repetitions}


def coverage_of_changes(kind: str, loss: float, n: int, icc: float, repetitions: int) -> dict[str, Any]:
    draw = change(kind, 0.15, loss)
    g = np.random.default_rng([n, int(10 * icc), int(100 * loss), sum(kind.encode())])
    hits = 0
    for _ in range(repetitions):
        found = paired(*clustered(g, draw, n, icc), 1.0)
        assert found.ci95 is not None
        hits += found.ci95[0] <= -loss <= found.ci95[1]
    return {"scores": kind, "loss": loss, "n": n, "icc": icc, "covers": hits / repetitions}


def gates(
    kind: str, tasks: int, losing: int, loss: float, n: int, icc: float, repetitions: int
) -> dict[str, Any]:
    """Verdicts over `tasks` tasks of n samples, of which `losing` lose `loss`."""
    g = np.random.default_rng([tasks, losing, n, int(10 * icc), int(100 * loss), sum(kind.encode())])
    counts = dict.fromkeys(("PASS", "WARN", "BLOCK", "INCONCLUSIVE"), 0)
    for _ in range(repetitions):
        measured = []
        for task in range(tasks):
            draw = change(kind, 0.15, loss if task < losing else 0.0)
            values, codes = clustered(g, draw, n, icc)
            measured.append(Differences(str(task), values, codes, MARGIN))
        counts[decide(measured, MARGIN, ALPHA).verdict] += 1
    shares = {verdict: count / repetitions for verdict, count in counts.items()}
    return {"scores": kind, "tasks": tasks, "losing": losing, "loss": loss, "n": n, "icc": icc, **shares}


def cells() -> list[tuple[str, Callable[..., dict[str, Any]], tuple[Any, ...]]]:
    found: list[tuple[str, Callable[..., dict[str, Any]], tuple[Any, ...]]] = []
    iccs = (0.0, 0.2, 0.5)
    kinds = ("binary", "ordinal", "continuous")
    for name, n, icc in itertools.product(SCORES, (30, 50, 200, 1000), iccs):
        found.append(("intervals of means", coverage_of_means, (name, n, icc)))
    for kind, loss, n, icc in itertools.product(kinds, (0.0, 0.05), (30, 50, 200, 1000), iccs):
        found.append(("intervals of changes", coverage_of_changes, (kind, loss, n, icc)))
    for kind, tasks, n, icc in itertools.product(kinds, (1, 12, 40), (50, 200, 1000), iccs):
        found.append(("no change", gates, (kind, tasks, 0, 0.0, n, icc)))
    found.append(("no change", gates, ("binary", 12, 0, 0.0, 500, 0.0)))
    for n, icc in itertools.product((50, 200, 500, 1000), iccs):
        found.append(("-4 points on every task", gates, ("binary", 12, 12, 0.04, n, icc)))
        found.append(("-10 points on one task", gates, ("binary", 12, 1, 0.10, n, icc)))
    return found


def _work(job: tuple[int, int]) -> tuple[int, dict[str, Any]]:
    place, repetitions = job
    _, cell, arguments = cells()[place]
    return place, cell(*arguments, repetitions)


def failures(title: str, cell: dict[str, Any], repetitions: int) -> list[str]:
    """Which of the promises a cell breaks, with three Monte Carlo errors allowed."""

    def slack(p: float) -> float:
        return 3 * float(np.sqrt(p * (1 - p) / repetitions))

    broken = []
    if title.startswith("intervals") and cell["covers"] < 0.93 - slack(0.93):
        broken.append(f"covers {cell['covers']:.3f}")
    if title == "no change":
        if cell["BLOCK"] > ALPHA + slack(ALPHA):
            broken.append(f"blocks {cell['BLOCK']:.3f}")
        if (cell["tasks"], cell["n"]) == (12, 500) and cell["PASS"] < 0.95 - slack(0.95):
            broken.append(f"passes {cell['PASS']:.3f}")
    power = {("-4 points on every task", 200): 0.99, ("-10 points on one task", 500): 0.9}
    wanted = power.get((title, cell["n"])) if cell["icc"] == 0 else None
    if wanted is not None and cell["BLOCK"] < wanted - slack(wanted):
        broken.append(f"blocks only {cell['BLOCK']:.3f}")
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    start = time.perf_counter()
    todo = cells()
    jobs = [(place, options.repetitions) for place in range(len(todo))]
    jobs.sort(key=lambda job: -_size(todo[job[0]][2]))
    with multiprocessing.get_context("spawn").Pool() as pool:
        results = dict(pool.imap_unordered(_work, jobs))
    broken = 0
    tables: dict[str, list[dict[str, Any]]] = {}
    for place, (title, _, _) in enumerate(todo):
        tables.setdefault(title, []).append(results[place])
    for title, rows in tables.items():
        print(f"\n{title}, {options.repetitions} repetitions")
        for row in rows:
            wrong = failures(title, row, options.repetitions)
            broken += bool(wrong)
            text = "  ".join(
                f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()
            )
            print(text + ("   <-- " + ", ".join(wrong) if wrong else ""))
    print(f"\n{broken} cells break a promise; {time.perf_counter() - start:.0f} s")
    if options.json is not None:
        options.json.write_text(json.dumps(tables, indent=1) + "\n")
    return int(broken > 0)


def _size(arguments: tuple[Any, ...]) -> int:
    numbers = [a for a in arguments if isinstance(a, int)]
    return int(np.prod(numbers)) if numbers else 0


if __name__ == "__main__":
    sys.exit(main())
