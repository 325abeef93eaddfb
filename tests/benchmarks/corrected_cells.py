"""Cells of `make validity` about numbers that are corrected by labels: judges with a planted bias.

    python -m tests.benchmarks.corrected_cells [--repetitions 2000] [--json docs/validity_corrected.json]

A task has 2,000 samples whose true score is 0 or 1, in clusters of 5 that correlate (ICC 0 or 0.5);
200 are
labelled. The judge is right about 80 % of them, and its bias moves its mean by 10 points or more.
Probabilities are equal, or three times as large where the judge gives the lower grade.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eval_anything.gating.decide import Differences, decide
from eval_anything.statistics.corrected import LabelArrays, corrected_change, corrected_mean
from eval_anything.statistics.intervals import Floats, Ints, mean_interval
from eval_anything.statistics.paired import Paired, paired
from eval_anything.statistics.strata import allocate, spreads, strata_of

N, LABELS, CLUSTER, RIGHT = 2000, 200, 5, 0.8
BIASES = ("length", "position", "modality", "favourite")
Generator = np.random.Generator


def clustered(g: Generator, p: float, n: int, icc: float) -> Floats:
    """Uniform draws (n,) of which those in clusters of 5 are equal with probability sqrt(ICC)."""
    own, shared = g.random(n), np.repeat(g.random(math.ceil(n / CLUSTER)), CLUSTER)[:n]
    return (np.where(g.random(n) < math.sqrt(icc), shared, own) < p).astype(float)


def judge(g: Generator, truth: Floats, kind: str, candidate: bool) -> Floats:
    """Grades by a judge that errs: at random in 20 %, and by its bias, which gives the upper grade to
    40 % of the candidate's answers whatever they are worth, and to a third as many of the base's.

    length: to four of five long answers; half of the candidate's are long, a sixth of the base's.
    position: to answers that were shown first.
    modality: to four of five answers with sound.
    favourite: to a quarter of the candidate's, to none of the base's.
    """
    n = len(truth)
    graded = np.where(g.random(n) < RIGHT, truth, 1 - truth)
    times = 1.0 if candidate else 1 / 3
    share = {
        "length": np.where(g.random(n) < 0.5 * times, 0.8, 0.0),
        "position": np.full(n, 0.4 * times),
        "modality": np.where(np.arange(n) % 2 == 0, 0.8 * times, 0.0),
        "favourite": np.full(n, 0.25 if candidate else 0.0),
    }[kind]
    return np.where(g.random(n) < share, 1.0, graded)


def chosen(g: Generator, judged: Floats, design: str, count: int = LABELS) -> tuple[Ints, Floats]:
    """Places of the labelled samples, and their probabilities: equal, or unequal by the judge's grade;
    strata of fixed sizes, as `annotate --next` draws them."""
    low, high = np.flatnonzero(judged < 0.5), np.flatnonzero(judged >= 0.5)
    if design == "uniform":
        places = g.choice(len(judged), count, replace=False)
        return places, np.full(count, count / len(judged))
    rate = count / (3 * len(low) + len(high))
    picked, probability = [], []
    for members, times in ((low, 3.0), (high, 1.0)):
        size = min(len(members), max(1, round(rate * times * len(members))))
        picked.append(g.choice(members, size, replace=False))
        probability.append(np.full(size, size / len(members)))
    return np.concatenate(picked), np.concatenate(probability)


def labels(truth: Floats, places: Ints, probability: Floats) -> LabelArrays:
    return LabelArrays(places, truth[places], probability)


def means(bias: str, design: str, icc: float, repetitions: int, count: int = LABELS) -> dict[str, Any]:
    """Coverage of the raw and of the corrected 95 % interval of a mean of 0.6, and widths."""
    g = np.random.default_rng(19)
    codes = np.arange(N) // CLUSTER
    ends = np.full((repetitions, 3, 2), np.nan)
    for i in range(repetitions):
        truth = clustered(g, 0.6, N, icc)
        judged = judge(g, truth, bias, candidate=True)
        places, probability = chosen(g, judged, design, count)
        known = labels(truth, places, probability)
        columns = [judged, corrected_mean(judged, known, codes, 1.0).values]
        if i % 10 == 0:
            columns.append(corrected_mean(judged, known, codes, 1.0, most=0.0).values)
        for k, values in enumerate(columns):
            ends[i, k] = mean_interval(values, codes, (0.0, 1.0))[2:4]
    covers = ((ends[:, :, 0] <= 0.6) & (ends[:, :, 1] >= 0.6)).mean(0)
    widths = np.nanmedian(ends[:, :, 1] - ends[:, :, 0], 0)
    return {
        "bias": bias,
        "labels": count,
        "probabilities": design,
        "icc": icc,
        "raw covers": float(covers[0]),
        "covers": float(covers[1]),
        "width of labels alone": float(widths[2] / widths[1]),
    }


def _pair(g: Generator, loss: float, icc: float) -> tuple[Floats, Floats]:
    """True scores of base (mean 0.6) and candidate, of whom 15 % of samples changed."""
    base = clustered(g, 0.6, N, icc)
    lost = np.where(base > 0, (0.075 + loss / 2) / 0.6, (0.075 - loss / 2) / 0.4)
    switch = clustered_switch(g, lost, icc)
    return base, np.where(switch, 1 - base, base)


def clustered_switch(g: Generator, share: Floats, icc: float) -> np.ndarray:
    n = len(share)
    own, shared = g.random(n), np.repeat(g.random(math.ceil(n / CLUSTER)), CLUSTER)[:n]
    return np.where(g.random(n) < math.sqrt(icc), shared, own) < share


def compared(g: Generator, bias: str, design: str, loss: float, icc: float) -> tuple[Floats, Floats]:
    """Judged and corrected changes (n,) of one task."""
    base, candidate = _pair(g, loss, icc)
    judged_base, judged = judge(g, base, bias, False), judge(g, candidate, bias, True)
    places, probability = chosen(g, judged, design)
    made = corrected_change(
        judged_base,
        labels(base, places, probability),
        judged,
        labels(candidate, places, probability),
        np.arange(N) // CLUSTER,
        1.0,
    )
    return judged - judged_base, made.values


def changes(bias: str, design: str, loss: float, icc: float, repetitions: int) -> dict[str, Any]:
    """Coverage of the raw and of the corrected 95 % interval of a change."""
    g = np.random.default_rng(20)
    codes = np.arange(N) // CLUSTER
    covers = np.zeros(2)
    for _ in range(repetitions):
        raw, values = compared(g, bias, design, loss, icc)
        for k, change in enumerate((paired(raw, codes, 1.0), _corrected(values, codes))):
            assert change.ci95 is not None
            covers[k] += change.ci95[0] <= -loss <= change.ci95[1]
    raw_covers, corrected_covers = covers / repetitions
    return {
        "bias": bias,
        "probabilities": design,
        "loss": loss,
        "icc": icc,
        "raw covers": float(raw_covers),
        "covers": float(corrected_covers),
    }


def _corrected(values: Floats, codes: Ints) -> Paired:
    return paired(values, codes, 1.0, symmetric=False)


def gates(bias: str, design: str, against: bool, icc: float, repetitions: int) -> dict[str, Any]:
    """How often a gate over 12 tasks blocks an unchanged candidate: on the judge's numbers, and
    corrected.
    `against`: the judge favours the base."""
    g = np.random.default_rng(21)
    codes = np.arange(N) // CLUSTER
    blocks = np.zeros(2)
    for i in range(repetitions):
        tasks = [compared(g, bias, design, 0.0, icc) for _ in range(12)]
        sign = -1.0 if against else 1.0
        for k in (0, 1) if i % 20 == 0 else (1,):
            measured = [
                Differences(str(t), sign * values[k], codes, 0.02, symmetric=k == 0)
                for t, values in enumerate(tasks)
            ]
            blocks[k] += decide(measured, 0.02, 0.05).verdict == "BLOCK"
    raw, corrected = blocks / [len(range(0, repetitions, 20)), repetitions]
    return {
        "bias": bias,
        "favours": "base" if against else "candidate",
        "probabilities": design,
        "icc": icc,
        "raw BLOCK": float(raw),
        "BLOCK": float(corrected),
    }


UNSURE = np.array([0.03, 0.15, 0.5, 0.85, 0.97])


def saved(kind: str, icc: float, repetitions: int) -> dict[str, Any]:
    """Labels that active choice saves against random choice, 200 of 2,000: with the variance that random
    labels give, so much fewer would do. The 95 % interval is over repetitions.

    honest: a judge with five grades, which is unsure in the middle and says so.
    lenient: its upper grade is wrong in 40 %, its lower one in 3 %; the first 50 labels show that.
    blind: it errs everywhere alike, so that there is nothing to save.
    """
    g = np.random.default_rng(22)
    codes = np.arange(N) // CLUSTER
    squares = np.zeros((repetitions, 2))
    covered = 0
    for i in range(repetitions):
        truth, judged = _graded(g, kind, icc)
        for k, active in enumerate((False, True)):
            places, probability = _active(g, truth, judged) if active else chosen(g, judged, "uniform")
            made = corrected_mean(judged, labels(truth, places, probability), codes, 1.0)
            estimate = mean_interval(made.values, codes, (0.0, 1.0))
            assert estimate.stderr is not None
            squares[i, k] = estimate.stderr**2
        covered += estimate.low <= 0.5 <= estimate.high
    draws = g.integers(0, repetitions, (1000, repetitions))
    ratios = 1 - squares[draws, 1].mean(1) / squares[draws, 0].mean(1)
    random_choice, active_choice = squares.mean(0)
    return {
        "judge": kind,
        "icc": icc,
        "labels saved": float(1 - active_choice / random_choice),
        "interval": [float(end) for end in np.quantile(ratios, [0.025, 0.975])],
        "covers": covered / repetitions,
    }


def _graded(g: Generator, kind: str, icc: float) -> tuple[Floats, Floats]:
    """True scores, with a mean of 0.5, and grades of a judge."""
    if kind == "honest":
        levels = np.repeat(g.permutation(np.resize(np.arange(5), N // CLUSTER)), CLUSTER)
        own = g.permutation(np.resize(np.arange(5), N))
        grades = np.where(g.random(N) < math.sqrt(icc), levels, own)
        return (g.random(N) < UNSURE[grades]).astype(float), grades / 4
    truth = clustered(g, 0.5, N, icc)
    if kind == "blind":
        return truth, np.where(g.random(N) < RIGHT, truth, 1 - truth)
    return truth, np.where(truth > 0, g.random(N) < 0.97, g.random(N) < 0.6).astype(float)


def _active(g: Generator, truth: Floats, judged: Floats) -> tuple[Ints, Floats]:
    """50 labels where the judge seems unsure, then 150 where the first ones scatter."""
    shares = judged[:, None]
    strata = strata_of(shares)
    sizes = np.bincount(strata)
    members = [g.permutation(np.flatnonzero(strata == s)) for s in range(len(sizes))]
    taken, places = np.zeros(len(sizes), np.int64), np.zeros(0, np.int64)
    for count in (50, LABELS - 50):
        taken += allocate(sizes, spreads(shares, strata, places, truth[places]), taken, count)
        places = np.concatenate([own[:k] for own, k in zip(members, taken, strict=True)])
    return places, (taken / sizes)[strata[places]]


def cells() -> list[tuple[str, Callable[..., dict[str, Any]], tuple[Any, ...]]]:
    """All cells: the table, the simulation and its arguments."""
    designs, iccs = ("uniform", "unequal"), (0.0, 0.5)
    return [
        *(("corrected means", means, a) for a in itertools.product(BIASES, designs, iccs)),
        *(
            ("corrected changes", changes, (b, d, 0.10, i))
            for b, d, i in itertools.product(BIASES, designs, iccs)
        ),
        *(("few labels", few, a) for a in itertools.product((30, 50, 100), designs, iccs)),
        *(("labels saved", saved, a) for a in itertools.product(("honest", "lenient", "blind"), iccs)),
        *(
            ("gates on corrected numbers", gates, a)
            for a in itertools.product(("favourite",), designs, (False, True), iccs)
        ),
    ]


def few(count: int, design: str, icc: float, repetitions: int) -> dict[str, Any]:
    """Coverage of a corrected mean with few labels."""
    return means("length", design, icc, repetitions, count)


def misses(title: str, cell: dict[str, Any], repetitions: int) -> list[str]:
    """Targets that a cell misses by more than three simulation errors."""

    def slack(p: float) -> float:
        return 3 * math.sqrt(p * (1 - p) / repetitions)

    wrong = []
    if "covers" in cell and not 0.93 - slack(0.93) <= cell["covers"] <= 0.97 + slack(0.97):
        wrong.append(f"covers {cell['covers']:.3f}, .93 to .97 is wanted")
    if "raw covers" in cell and cell["raw covers"] >= 0.5:
        wrong.append(f"the raw interval covers {cell['raw covers']:.3f}: too little bias is planted")
    if cell.get("BLOCK", 0.0) > 0.05 + slack(0.05):
        wrong.append(f"{cell['BLOCK']:.3f} are blocked, at most .05 are wanted")
    about = ", ".join(f"{k} {v}" for k, v in cell.items() if isinstance(v, str) or k == "icc")
    return [f"{title}: {about}: {words}" for words in wrong]


def _work(job: tuple[int, int]) -> tuple[int, dict[str, Any]]:
    index, repetitions = job
    _, simulate, arguments = cells()[index]
    return index, simulate(*arguments, repetitions)


def main() -> int:
    """Simulates all cells in two processes; prints misses, and writes the tables. Exit code 1 if a cell
    misses its target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count())
    options = parser.parse_args()
    start = time.monotonic()
    jobs = [(i, options.repetitions) for i in range(len(cells()))]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        results = dict(pool.imap_unordered(_work, jobs[::-1]))
    tables: dict[str, list[dict[str, Any]]] = {}
    wrong = []
    for index, (title, _, _) in enumerate(cells()):
        tables.setdefault(title, []).append(results[index])
        wrong += misses(title, results[index], options.repetitions)
    if options.json is not None:
        options.json.write_text(json.dumps(tables, indent=1) + "\n")
    for title, table in tables.items():
        print(title)
        for cell in table:
            print(
                "  ", *(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in cell.items())
            )
    print(*wrong, f"{time.monotonic() - start:.0f} s", sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
