"""Error rates and coverage of the statistics, by simulation on data whose truth is known.

    python -m tests.benchmarks.validity [--repetitions 2000] [--json FILE] [--page docs/gate.md]

Scores are binary, ordinal (0, 1/4 .. 1), continuous, or mixtures of few values. Items of a cluster (5 of
them, fewer in the last one) share one draw with probability sqrt(ICC), which gives exactly that
intra-cluster correlation for any kind of score. Widths are medians, as multiples of the median width of
Clopper and Pearson's interval (1934) for n / (1 + 4 ICC) independent samples.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.special import betaincinv

from eval_anything.gating.bill import BillGroup, harm_tests
from eval_anything.gating.decide import Differences, Requirement, Verdict, decide, prove, worst
from eval_anything.gating.policy import PROOF_MARGINS
from eval_anything.gating.sequential import SequentialTask, first_stop
from eval_anything.statistics.intervals import Floats, Ints, mean_interval
from eval_anything.statistics.paired import paired
from eval_anything.statistics.sequential import Units

ALPHA, MARGIN = 0.05, 0.02
PROOF_MARGIN = 0.10
MAX_WIDTH = 2.0
BILL = "bill of 8 modalities, one of them harmed"
SEQUENTIAL = "a gate that may look at any time"
UNCHANGED, LOST = "each task must be proven: no change", "each task must be proven: -10 points on one"
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


def mixture(name: str) -> tuple[Draw, float]:
    """Draws of values by their shares, from a text such as "0: .9, 1: .1", and their mean."""
    pairs = [part.split(":") for part in name.split(",")]
    values, shares = np.array(pairs, float).T
    return lambda g, shape: g.choice(values, p=shares, size=shape), float(values @ shares)


TRUE_SHARES = (0.02, 0.05, 0.5, 0.9, 0.95, 0.98, 1.0)


MEANS_OF_FEW = [
    "0.5: .95, 0: .05",
    "0.5: .9, 0: .05, 1: .05",
    "0.25: .98, 1: .02",
    "0: .9, 0.25: .07, 1: .03",
    "1: .9, 0.9: .05, 0: .05",
]


CHANGES_OF_FEW = [
    "1: .95, 0: .03, -1: .02",
    "-1: .95, 1: .05",
    "0: .96, 1: .02, -1: .02",
    "0: .9, 0.25: .07, -1: .03",
    "0.5: .9, 0: .05, -1: .05",
    "0: .8, 0.25: .1, -1: .1",
    "-1: .5, 1: .5",
]
"""Mixtures in which most samples have one score or change alike, or in which all change."""


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
    shared = draw(g, (math.ceil(n / CLUSTER),))[codes]
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


def coverage_of_shares(what: str, share: float, n: int, icc: float, repetitions: int) -> dict[str, Any]:
    """Coverage and width for 0 or 1 as scores, or as changes that might be -1."""
    g = np.random.default_rng([n, int(10 * icc), int(100 * share), len(what)])
    ends, means = _ends(what, binary(share), n, icc, g, repetitions)
    effective = n / (1 + 4 * icc)
    exact = np.array([clopper_pearson(mean * effective, effective) for mean in means])
    width = float(np.median(np.diff(ends)) / np.median(np.diff(exact)))
    return {
        "of": what,
        "share": share,
        "n": n,
        "icc": icc,
        "covers": _coverage(ends, share),
        "width": round(width, 3),
    }


def coverage_of_mixtures(what: str, name: str, n: int, icc: float, repetitions: int) -> dict[str, Any]:
    draw, truth = mixture(name)
    g = np.random.default_rng([n, int(10 * icc), sum(name.encode())])
    ends, _ = _ends(what, draw, n, icc, g, repetitions)
    return {"of": what, "values": name, "n": n, "icc": icc, "covers": _coverage(ends, truth)}


def _ends(
    what: str, draw: Draw, n: int, icc: float, g: Generator, repetitions: int
) -> tuple[Floats, list[float]]:
    """Ends of intervals (repetitions, 2) of means or changes, and the means."""
    ends, means = [], []
    for _ in range(repetitions):
        values, codes = clustered(g, draw, n, icc)
        if what == "means":
            estimate = mean_interval(values.tolist(), codes, (0.0, 1.0))
            ends.append((estimate.low, estimate.high))
        else:
            ends.append(paired(values, codes, 1.0).ci95 or (math.nan, math.nan))
        means.append(float(values.mean()))
    return np.array(ends), means


def _coverage(ends: Floats, truth: float) -> float:
    return float(((ends[:, 0] <= truth + 1e-12) & (truth - 1e-12 <= ends[:, 1])).mean())


def clopper_pearson(successes: float, n: float) -> tuple[float, float]:
    """The exact interval of a proportion; n may be fractional, as effective numbers are."""
    low = 0.0 if successes < 1e-9 else float(betaincinv(successes, n - successes + 1, 0.025))
    high = 1.0 if successes > n - 1e-9 else float(betaincinv(successes + 1, n - successes, 0.975))
    return low, high


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


def proofs(losing: int, discordance: float, n: int, icc: float, repetitions: int) -> dict[str, Any]:
    """Verdicts over 12 binary tasks of n samples, of which `losing` lose 10 points, where each must be
    shown not to have lost so much."""
    g = np.random.default_rng([losing, int(100 * discordance), n, int(10 * icc)])
    counts = dict.fromkeys(("PASS", "WARN", "BLOCK", "INCONCLUSIVE"), 0)
    for _ in range(repetitions):
        measured = []
        for task in range(12):
            loss = PROOF_MARGIN if task < losing else 0.0
            values, codes = clustered(g, change("binary", discordance, loss), n, icc)
            measured.append(Differences(str(task), values, codes, MARGIN))
        required = [Requirement(m.name, m.values, m.clusters, PROOF_MARGIN) for m in measured]
        counts[decide(measured, MARGIN, ALPHA, required).verdict] += 1
    shares = {verdict: count / repetitions for verdict, count in counts.items()}
    return {"losing": losing, "discordance": discordance, "n": n, "icc": icc, **shares}


def pooled_proofs(losing: int, margin: float, n: int, icc: float, repetitions: int) -> dict[str, Any]:
    """Proofs of a modality with three binary tasks of n samples, of which `losing` lose 10 points."""
    g = np.random.default_rng([losing, int(100 * margin), n, int(10 * icc)])
    proven = 0
    for _ in range(repetitions):
        drawn = [
            clustered(g, change("binary", 0.15, PROOF_MARGIN if task < losing else 0.0), n, icc)
            for task in range(3)
        ]
        values, (codes, *_) = np.concatenate([v for v, _ in drawn]), [c for _, c in drawn]
        clusters = np.concatenate([codes + task * (codes.max() + 1) for task in range(3)])
        strata = np.repeat(np.arange(3), n)
        proof = prove(Requirement("image out", values, clusters, margin, strata=strata), ALPHA)
        proven += proof.verdict == "PASS"
    return {"losing": losing, "margin": margin, "n": n, "icc": icc, "proven": proven / repetitions}


GROUPS = 8
"""Modalities of a bill: four of questions, four of answers."""


def _harm(kind: str, loss: float) -> Draw:
    """Changes of a modality whose mean is -loss; of the kind "failing" a share fails and no other
    changes."""
    if kind == "failing":
        return lambda g, shape: -(g.random(shape) < loss).astype(float)
    return change(kind, 0.15, loss)


def detectable(kind: str, n: int, icc: float) -> float:
    """The loss that is named with a power of 80 % at Holm's first step, by the normal approximation."""
    normal = NormalDist()
    factor = normal.inv_cdf(1 - ALPHA / GROUPS) + normal.inv_cdf(0.8)
    effective = n / (1 + (CLUSTER - 1) * icc)
    if kind == "failing":  # its variance is that of the loss itself
        return factor**2 / effective
    squares = {"binary": 0.15, "ordinal": 0.15 * 0.2625, "continuous": 0.04}
    return factor * math.sqrt(squares[kind] / effective)


def bills(kind: str, times: float, n: int, icc: float, repetitions: int) -> dict[str, Any]:
    """Verdicts of bills on 8 modalities of two tasks, of which one has lost a multiple of the loss that
    is detectable."""
    loss = times * detectable(kind, n, icc)
    g = np.random.default_rng([n, int(10 * icc), int(10 * times), sum(kind.encode())])
    named = accused = proven = 0
    for _ in range(repetitions):
        groups = []
        for group in range(GROUPS):
            values, codes = clustered(g, _harm(kind, loss if group == 0 else 0.0), n, icc)
            groups.append(BillGroup(values, codes, np.arange(n) * 2 // n))
        first, *others = harm_tests(groups, PROOF_MARGINS["modalities"], ALPHA)
        named += first.verdict == "harmed"
        accused += any(test.verdict == "harmed" for test in others)
        proven += first.verdict == "proven unharmed"
    shares = {"named": named, "accused": accused, "proven": proven}
    return {
        "scores": kind,
        "times": times,
        "loss": round(loss, 4),
        "n": n,
        "icc": icc,
        **{name: count / repetitions for name, count in shares.items()},
    }


def sequences(
    kind: str, tasks: int, losing: int, loss: float, n: int, icc: float, repetitions: int
) -> dict[str, Any]:
    """Verdicts of a sequential gate that looks at each sample, or cluster, of all tasks; and the median
    share of the samples that it saves."""
    g = np.random.default_rng([tasks, losing, n, int(10 * icc), int(100 * loss), sum(kind.encode()), 1])
    counts = dict.fromkeys(("PASS", "WARN", "BLOCK", "INCONCLUSIVE"), 0)
    saved = []
    for _ in range(repetitions):
        units = [
            _units(*clustered(g, change(kind, 0.15, loss if task < losing else 0.0), n, icc))
            for task in range(tasks)
        ]
        measured = [SequentialTask(str(task), of_task, MARGIN) for task, of_task in enumerate(units)]
        order = np.argsort(np.concatenate([u.steps for u in units]), kind="stable")
        joined = (np.concatenate(column)[order] for column in list(zip(*units, strict=True))[:4])
        stop = first_stop(measured, Units(*joined, units[0].step_count), MARGIN, ALPHA)
        verdicts: list[Verdict] = [stop.suite, *(v for v in stop.tasks if v != "no loss shown")]
        counts[worst(verdicts)] += 1
        saved.append(1 - stop.steps / units[0].step_count)
    shares = {verdict: count / repetitions for verdict, count in counts.items()}
    median = {"saved": float(np.median(saved))}
    about = {"scores": kind, "tasks": tasks, "losing": losing, "loss": loss, "n": n, "icc": icc}
    return {**about, **shares, **median}


def _units(values: Floats, codes: Ints) -> Units:
    """Units of one task: its clusters in turn, one a step."""
    sizes = np.bincount(codes).astype(float)
    return Units(
        np.bincount(codes, values) / sizes,
        np.ones_like(sizes),
        np.ones_like(sizes),
        np.arange(len(sizes)),
        len(sizes),
    )


def cells() -> list[tuple[str, Callable[..., dict[str, Any]], tuple[Any, ...]]]:
    found: list[tuple[str, Callable[..., dict[str, Any]], tuple[Any, ...]]] = []
    iccs = (0.0, 0.2, 0.5)
    kinds = ("binary", "ordinal", "continuous")
    for name, n, icc in itertools.product(SCORES, (30, 50, 200, 1000), iccs):
        found.append(("intervals of means", coverage_of_means, (name, n, icc)))
    for kind, loss, n, icc in itertools.product(kinds, (0.0, 0.05), (30, 50, 200, 1000), iccs):
        found.append(("intervals of changes", coverage_of_changes, (kind, loss, n, icc)))
    for what, share, n, icc in itertools.product(
        ("means", "changes"), TRUE_SHARES, (12, 24, 50, 200), (0.0, 0.5)
    ):
        found.append(("intervals where most are alike", coverage_of_shares, (what, share, n, icc)))
    mixtures = {"means": MEANS_OF_FEW, "changes": CHANGES_OF_FEW}
    for what, names in mixtures.items():
        for name, n, icc in itertools.product(names, (12, 24, 50, 200), (0.0, 0.5)):
            found.append(("intervals of few values", coverage_of_mixtures, (what, name, n, icc)))
    for kind, tasks, n, icc in itertools.product(kinds, (1, 12, 40), (50, 200, 1000), iccs):
        found.append(("no change", gates, (kind, tasks, 0, 0.0, n, icc)))
    found.append(("no change", gates, ("binary", 12, 0, 0.0, 500, 0.0)))
    for n, icc in itertools.product((50, 200, 500, 1000), iccs):
        found.append(("-4 points on every task", gates, ("binary", 12, 12, 0.04, n, icc)))
        found.append(("-10 points on one task", gates, ("binary", 12, 1, 0.10, n, icc)))
    for discordance, n, icc in itertools.product((0.15, 0.25), (200, 500), iccs):
        found.append((UNCHANGED, proofs, (0, discordance, n, icc)))
        found.append((LOST, proofs, (1, discordance, n, icc)))
    for losing, margin, n, icc in itertools.product((0, 1), (0.05, 0.1), (200, 500), (0.0, 0.5)):
        found.append(("a modality of three tasks", pooled_proofs, (losing, margin, n, icc)))
    kinds = ("binary", "ordinal", "continuous", "failing")
    for kind, times, (n, icc) in itertools.product(kinds, (0.5, 1.0, 1.5), ((200, 0.0), (800, 0.5))):
        found.append((BILL, bills, (kind, times, n, icc)))
    for kind, icc in itertools.product(("binary", "ordinal", "continuous"), iccs):
        found.append((SEQUENTIAL, sequences, (kind, 12, 0, 0.0, 200, icc)))
    for loss, icc in itertools.product((0.02, 0.04, 0.08), iccs):
        found.append((SEQUENTIAL, sequences, ("binary", 12, 12, loss, 200, icc)))
    for (tasks, n), loss, icc in itertools.product(((12, 200), (1, 200)), (0.08, 0.1), (0.0, 0.5)):
        found.append((SEQUENTIAL, sequences, ("binary", tasks, 1, loss, n, icc)))
    for icc in (0.2, 0.5):
        found.append(("no change", gates, ("binary", 12, 0, 0.0, 500, icc)))
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
    if cell.get("width", 0.0) > MAX_WIDTH:
        broken.append(f"is {cell['width']:.2f} times as wide as the exact one")
    if title == "no change":
        if cell["BLOCK"] > ALPHA + slack(ALPHA):
            broken.append(f"blocks {cell['BLOCK']:.3f}")
        if (cell["tasks"], cell["n"]) == (12, 500) and cell["PASS"] < 0.95 - slack(0.95):
            broken.append(f"passes {cell['PASS']:.3f}")
    if title in (UNCHANGED, LOST):
        broken += _unproven(title, cell, slack)
    if title == BILL:
        if cell["accused"] > ALPHA + slack(ALPHA):
            broken.append(f"accuses {cell['accused']:.3f}")
        if cell["times"] == 1.5 and cell["named"] < 0.95 - slack(0.95):
            broken.append(f"names only {cell['named']:.3f}")
    if title == SEQUENTIAL:
        broken += _late(cell, slack)
    power = {("-4 points on every task", 200): 0.99, ("-10 points on one task", 500): 0.9}
    wanted = power.get((title, cell["n"])) if cell["icc"] == 0 else None
    if wanted is not None and cell["BLOCK"] < wanted - slack(wanted):
        broken.append(f"blocks only {cell['BLOCK']:.3f}")
    return broken


def _late(cell: dict[str, Any], slack: Callable[[float], float]) -> list[str]:
    broken = []
    if cell["losing"] == 0 and cell["BLOCK"] > ALPHA + slack(ALPHA):
        broken.append(f"blocks {cell['BLOCK']:.3f}")
    is_large = (cell["losing"], cell["loss"]) == (12, 0.08) and cell["icc"] in (0.0, 0.5)
    if is_large and cell["saved"] < 0.6:
        broken.append(f"saves only {cell['saved']:.3f}")
    return broken


def _unproven(title: str, cell: dict[str, Any], slack: Callable[[float], float]) -> list[str]:
    passes, n, icc = cell["PASS"] + cell["WARN"], cell["n"], cell["icc"]
    broken = []
    if title == UNCHANGED and cell["BLOCK"] > ALPHA + slack(ALPHA):
        broken.append(f"blocks {cell['BLOCK']:.3f}")
    if cell["discordance"] != 0.15:
        return broken
    if title == UNCHANGED and icc == 0:
        wanted = {200: 0.6, 500: 0.95}[n]
        if passes < wanted - slack(wanted):
            broken.append(f"passes only {passes:.3f}")
    if title == LOST:
        allowed = {200: 0.05, 500: 0.01}[n] if icc == 0 else 0.06
        if passes > allowed + slack(allowed):
            broken.append(f"passes {passes:.3f}")
    return broken


MARK = "<!-- Made by tests/benchmarks/validity.py from validity.json. -->\n"
_PLANTED = ("no change", "-4 points on every task", "-10 points on one task")


def planted_losses(tables: Mapping[str, list[dict[str, Any]]]) -> str:
    """Markdown table for docs/gate.md: how often gates of 12 binary tasks PASS and BLOCK, as they are
    and where each task must be proven."""
    proven = {
        (title, row["n"], row["icc"]): row
        for title, published in (("no change", UNCHANGED), ("-10 points on one task", LOST))
        for row in tables.get(published, ())
        if row["discordance"] == 0.15
    }
    lines = ["| 12 tasks | n | ICC | PASS | BLOCK | PASS if each must be proven | BLOCK |"]
    lines.append("|---|--:|--:|--:|--:|--:|--:|")
    for title in _PLANTED:
        rows = [r for r in tables[title] if (r["scores"], r["tasks"]) == ("binary", 12)]
        for row in sorted(rows, key=lambda r: (r["n"], r["icc"])):
            other = proven.get((title, row["n"], row["icc"]))
            shares = [f"{row[v]:.3f}" for v in ("PASS", "BLOCK")]
            shares += [f"{other[v]:.3f}" if other else "" for v in ("PASS", "BLOCK")]
            lines.append("| " + " | ".join([title, str(row["n"]), f"{row['icc']:g}", *shares]) + " |")
    return "\n".join(lines) + "\n"


SEQUENTIAL_MARK = "<!-- Made by tests/benchmarks/validity.py of gates that look at any time. -->\n"


def looks_at_any_time(tables: Mapping[str, list[dict[str, Any]]]) -> str:
    """Markdown table for docs/gate.md: verdicts of sequential gates, and the samples that they save."""
    lines = ["| tasks | n | change | ICC | PASS | BLOCK | INCONCLUSIVE | samples saved (median) |"]
    lines.append("|--:|--:|---|--:|--:|--:|--:|--:|")
    rows = [row for row in tables.get(SEQUENTIAL, ()) if row["scores"] == "binary"]
    for row in sorted(rows, key=lambda r: (-r["tasks"], -r["losing"], r["loss"], r["icc"])):
        where = {0: "", 12: " on each"}.get(row["losing"], " on one")
        change_text = f"-{100 * row['loss']:.0f} points{where}" if row["losing"] else "none"
        shares = [f"{row[v]:.3f}" for v in ("PASS", "BLOCK", "INCONCLUSIVE")]
        cells = [str(row["tasks"]), str(row["n"]), change_text, f"{row['icc']:g}", *shares]
        lines.append("| " + " | ".join([*cells, f"{100 * row['saved']:.0f} %"]) + " |")
    return "\n".join(lines) + "\n"


TABLES = {MARK: planted_losses, SEQUENTIAL_MARK: looks_at_any_time}


def write_page(page: Path, tables: Mapping[str, list[dict[str, Any]]]) -> None:
    """Replaces the tables after the marks of a page."""
    text = page.read_text("utf-8")
    for mark, made in TABLES.items():
        before, _, after = text.partition(mark)
        text = before + mark + made(tables) + re.sub(r"\A(\|.*\n)*", "", after)
    page.write_text(text, "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path, help="a page with the mark, for the table of losses")
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
    if options.page is not None:
        write_page(options.page, tables)
    return int(broken > 0)


def _size(arguments: tuple[Any, ...]) -> int:
    numbers = [a for a in arguments if isinstance(a, int)]
    return int(np.prod(numbers)) if numbers else 0


if __name__ == "__main__":
    sys.exit(main())
