"""Small charts over the steps of a training: metrics of its checkpoints, quantities of its log."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from eval_anything.content import MODALITIES
from eval_anything.leaderboard.charts import Point
from eval_anything.leaderboard.frame import PlotFrame, short_number, ticks, widened
from eval_anything.output.svg import Tree, dot, line, path, svg, text

_WIDTH, _HEIGHT, _TOP = 360.0, 224.0, 26.0


_MOST_POINTS = 240  # of a line: more are averaged over equal spans


_MOST_LABELLED = 6  # steps


_APART = 12.0  # units between the labels of lines


_NO_CURVES = ("step", "epoch", "tokens", "seconds")


# The quantities that are looked at first, in this order; the others are in a fold.
_MAIN = ("reward", "kl", "loss", "dpo_loss", "nll", "policy_loss", "value_loss", "accuracy", "margin",
         "learning_rate")  # fmt: skip


class Best(NamedTuple):
    """The best checkpoint, the earliest of equals, and whether it is better than the start; None if the
    start was not evaluated."""

    point: Point
    beats_start: bool | None

    @property
    def marked(self) -> Point | None:
        """The point to mark: none if the best is not better than the start."""
        return None if self.beats_start is False else self.point


class LogChart(NamedTuple):
    """A chart of a quantity of the log, and whether it is one of those that are looked at first."""

    tree: Tree
    main: bool


def best_of(points: Sequence[Point], better: str) -> Best | None:
    """The best of the points by step, of which one at step 0 is the start; None without a checkpoint."""
    sign = 1.0 if better == "higher" else -1.0
    checkpoints = [p for p in points if p.x > 0]
    if not checkpoints:
        return None
    best = max(checkpoints, key=lambda p: sign * p.y)
    starts = [p for p in points if p.x == 0]
    return Best(best, sign * best.y > sign * starts[0].y if starts else None)


def metric_title(title: str, key: str, better: str) -> str:
    """The title of a metric's chart: of its task and name, and which way is good if that is down."""
    name = f"{title}: {key.rpartition(':')[2]}" if title and ":" in key else key
    return f"{name}, lower is better" if better == "lower" else name


def metric_curve(title: str, points: Sequence[Point], better: str, last_step: float) -> Tree:
    """A metric over steps, with its interval as a band, and a dashed line at the value of the start. The
    best checkpoint is marked, unless it is not better than the start."""
    low, high = min(p.low for p in points), max(p.high for p in points)
    frame = _frame(last_step, widened(low, high, 0.02))
    starts = [p for p in points if p.x == 0]
    body = frame.y_grid(4)
    if starts:
        ends = [frame.at(x, starts[0].y) for x in frame.x]
        body.append(line(*ends[0], *ends[1], "start"))
    if len(points) == 1:
        body.append(line(*frame.at(points[0].x, low), *frame.at(points[0].x, high), "whisker"))
    band = [frame.at(p.x, p.high) for p in points] + [frame.at(p.x, p.low) for p in reversed(points)]
    body.append(path(band, "area", closed=True))
    body.append(path((frame.at(p.x, p.y) for p in points), "curve"))
    best = best_of(points, better)
    marked = best.marked if best is not None else None
    for p in points:
        words = f"{_step_name(p)}: {p.y:.3g} ({p.low:.3g} to {p.high:.3g})"
        mark = [dot(*frame.at(p.x, p.y), 4.0 if len(points) <= 30 else 2.5), ["title", {}, words]]
        kind = "mark best" if p is marked else "mark"
        body.append(["g", {"class": kind, "data-run": p.run}, mark])
    body += [frame.x_tick(x, short_number(x)) for x in _steps(points, last_step)]
    verdict = _verdict(best, starts)
    body += frame.labels("step", verdict)
    parts = [f"{_step_name(p)}: {p.y:.3g} ({p.low:.3g} to {p.high:.3g})" for p in points]
    return svg(_WIDTH, _HEIGHT, title, "; ".join([*([verdict] if verdict else []), *parts]), body)


def _verdict(best: Best | None, starts: Sequence[Point]) -> str:
    """A few words about the best checkpoint and the start."""
    start = f"start {starts[0].y:.3f}" if starts else ""
    if best is None:
        return start
    if best.beats_start is False:
        return f"none is better than the start, {starts[0].y:.3f}"
    return ", ".join(filter(None, [f"best {best.point.y:.3f} at step {best.point.x:g}", start]))


def _step_name(point: Point) -> str:
    return f"step {point.x:g}" if point.x else "start"


def _steps(points: Sequence[Point], last_step: float) -> list[float]:
    """Steps that are named below a chart: those of the points, or round ones if these are many."""
    steps = [p.x for p in points]
    close = any(b - a < last_step / 12 for a, b in itertools.pairwise(steps))
    return ticks(0.0, last_step or 1.0, 5) if close or len(steps) > _MOST_LABELLED else steps


def log_charts(log: Sequence[Mapping[str, float]], last_step: float) -> list[LogChart]:
    """Charts of a training's log, the main ones first: a quantity with its parts by modality is one
    chart with several lines."""
    names = {name for entry in log for name in entry if name not in _NO_CURVES}
    groups: dict[str, dict[str, str]] = {}  # label of a line to its name in the log, by the chart's name
    for name in sorted(names):
        quantity, _, modality = name.rpartition("_")
        if modality in MODALITIES:
            groups.setdefault(quantity, {})[modality] = name
        else:
            groups.setdefault(name, {})["all"] = name
    order = {name: i for i, name in enumerate(_MAIN)}
    charts = []
    for title in sorted(groups, key=lambda name: (order.get(name, len(order)), name)):
        lines = {
            label: [(entry["step"], entry[name]) for entry in log if name in entry]
            for label, name in _in_order(groups[title])
        }
        tree = log_curve(title.replace("_", " "), lines, last_step)
        charts.append(LogChart(tree, title in order))
    return charts


def _in_order(names: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    return ((label, names[label]) for label in ("all", *MODALITIES) if label in names)


def log_curve(title: str, lines: Mapping[str, Sequence[tuple[float, float]]], last_step: float) -> Tree:
    """A quantity over steps: points (step, value) of one line, or of several by their label."""
    values = [value for points in lines.values() for _, value in points]
    low, high = min(values), max(values)
    if 0 <= low < high / 2:
        low = 0.0
    several = len(lines) > 1
    frame = _frame(
        last_step, widened(low, high, max(abs(high) * 0.02, 1e-12)), 46.0 if several else 14.0
    )
    body = frame.y_grid(4)
    labels = []
    for label, points in lines.items():
        corners = [frame.at(*point) for point in _thinned(points)]
        style = f"curve of-{label}"
        body.append(path(corners, style) if len(corners) > 1 else dot(*corners[0], 4.0))
        labels.append((corners[-1][1], label))
    if several:
        body += _beside(frame, labels)
    body += [frame.x_tick(x, short_number(x)) for x in ticks(0.0, last_step or 1.0, 5)]
    (first, *_), (*_, last) = (next(iter(lines.values())),) * 2
    ends = [short_number(float(f"{value:.3g}")) for value in (first[1], last[1])]
    body += frame.labels("step", f"first {ends[0]}, last {ends[1]}")
    words = "; ".join(
        f"{label}: {points[0][1]:.3g} at step {points[0][0]:g}, {points[-1][1]:.3g} at step "
        f"{points[-1][0]:g}, from {min(v for _, v in points):.3g} to {max(v for _, v in points):.3g}"
        for label, points in lines.items()
    )
    return svg(_WIDTH, _HEIGHT, title, words, body)


def _beside(frame: PlotFrame, ends: Sequence[tuple[float, str]]) -> list[Tree]:
    """Labels of lines beside their ends, moved so that none covers another."""
    placed: list[Tree] = []
    least = -math.inf
    for height, label in sorted(ends):
        least = max(height, least + _APART)
        at = frame.width - frame.right + 5
        placed.append(text(at, least + 4, label, f"label of-{label}", "start"))
    return placed


def _frame(last_step: float, y: tuple[float, float], right: float = 14.0) -> PlotFrame:
    end = last_step or 1.0
    return PlotFrame(_WIDTH, _HEIGHT, _TOP, (-0.02 * end, 1.02 * end), y, 48.0, right)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points, or their means over equal spans if they are too many."""
    span = -(-len(points) // _MOST_POINTS)
    spans = [points[i : i + span] for i in range(0, len(points), span)]
    return [(sum(x for x, _ in s) / len(s), sum(y for _, y in s) / len(s)) for s in spans]
