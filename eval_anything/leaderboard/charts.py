"""Charts, drawn when the site is built, as trees of SVG (output/svg.py).

The page makes elements from the trees, so no text in them is ever parsed as markup. Colours come from
the page's style sheet: elements have classes. Every chart has a title and a description in words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from eval_anything.leaderboard.frame import BOTTOM, PlotFrame, widened
from eval_anything.output.svg import Tree, dot, line, number, path, svg, text

_WIDTH = 380.0


_LETTER, _LONGEST_LABEL = 6.8, 24  # units of a letter's width; letters


class Bar(NamedTuple):
    """A value with its interval on a scale from 0 to 1, and the text beside it."""

    label: str
    value: float
    low: float
    high: float
    note: str


class Point(NamedTuple):
    """A run in a chart: x (cost, seconds or step), y with its interval; higher is better in scatters."""

    run: str
    name: str
    x: float
    y: float
    low: float
    high: float


def bars(title: str, rows: Sequence[Bar]) -> Tree:
    """Dots with their intervals, one row each, on a scale from the worst value to the best."""
    height = 30.0
    label_width = 14 + _LETTER * min(_LONGEST_LABEL, max(len(row.label) for row in rows))
    note_width = 14 + _LETTER * max(len(row.note) for row in rows)
    span = _WIDTH - label_width - note_width
    body: list[Tree] = []
    total = height * len(rows) + 26
    for share in (0, 0.5, 1):
        x = label_width + span * share
        body.append(line(x, 4, x, total - 20, "grid"))
        body.append(text(x, total - 6, f"{100 * share:.0f} %", "tick", "middle"))
    for i, row in enumerate(rows):
        y = height * (i + 0.5) + 4
        at = [label_width + span * min(1.0, max(0.0, v)) for v in (row.low, row.value, row.high)]
        body.append(text(label_width - 10, y + 4, _cut(row.label, _LONGEST_LABEL), "label", "end"))
        body.append(_pill(label_width, y - 4, span, "track"))
        body.append(_pill(at[0], y - 4, max(at[2] - at[0], 2), "band"))
        body.append(dot(at[1], y))
        body.append(text(_WIDTH - note_width + 10, y + 4, row.note, "note", "start"))
    words = "; ".join(f"{row.label}: {100 * row.value:.0f} %, {row.note}" for row in rows)
    return svg(_WIDTH, total, title, words, body)


def scatter(title: str, x_label: str, y_label: str, points: Sequence[Point]) -> Tree:
    """Quality over cost, with a log scale, and the efficient front: the runs for which no other run is
    better at no higher cost."""
    xs = [math.log10(p.x) for p in points]
    frame = PlotFrame(_WIDTH, 280.0, 20.0, widened(min(xs), max(xs), 0.15), _y_range(points))

    def at(x: float, y: float) -> tuple[float, float]:
        return frame.at(math.log10(x), y)

    body = frame.y_grid(5)
    for x in _log_ticks(*frame.x):
        h, _ = at(x, frame.y[0])
        body.append(line(h, frame.top, h, frame.height - BOTTOM, "grid"))
        body.append(frame.x_tick(math.log10(x), f"{x:g}"))
    body += frame.labels(x_label, y_label)
    best = front(points)
    corners = []
    for p, q in zip(best, [*best[1:], None], strict=True):
        corners.append(at(p.x, p.y))
        if q is not None:
            corners.append((at(q.x, q.y)[0], at(p.x, p.y)[1]))
    if len(corners) > 1:
        body.append(path(corners, "front"))
    for p in points:
        x, y = at(p.x, p.y)
        mark = [
            line(x, at(p.x, p.low)[1], x, at(p.x, p.high)[1], "whisker"),
            dot(x, y),
            ["title", {}, f"{p.name}: {p.y:.3g} at {p.x:.3g}"],
        ]
        body.append(
            ["g", {"class": "mark front-mark" if p in best else "mark", "data-run": p.run}, mark]
        )
    for p in best[:5]:
        x, y = at(p.x, p.y)
        beside = (x - 9, "end") if x > _WIDTH / 2 else (x + 9, "start")
        body.append(text(beside[0], y - 8, _cut(p.name, _LONGEST_LABEL), "label", beside[1]))
    words = "On the efficient front: " + ", ".join(f"{p.name} ({p.y:.3g} at {p.x:.3g})" for p in best)
    return svg(_WIDTH, frame.height, title, words, body)


def front(points: Sequence[Point]) -> list[Point]:
    """Points for which no other one is better at no higher cost, sorted by cost."""
    frontier: list[Point] = []
    for p in sorted(points, key=lambda p: (p.x, -p.y)):
        if not frontier or p.y > frontier[-1].y:
            frontier.append(p)
    return frontier


def _y_range(points: Sequence[Point]) -> tuple[float, float]:
    return widened(min(p.low for p in points), max(p.high for p in points), 0.02)


def _pill(x: float, y: float, width: float, class_: str) -> Tree:
    """A bar of 8 units with round ends."""
    geometry = {"x": number(x), "y": number(y), "width": number(width)}
    return ["rect", geometry | {"height": "8", "rx": "4", "class": class_}, []]


def _cut(words: str, longest: int) -> str:
    return words if len(words) <= longest else words[: longest - 1] + "…"


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between 10^low and 10^high; only the powers if these are many."""
    ticks = [
        m * 10.0**e
        for e in range(math.floor(low), math.ceil(high) + 1)
        for m in (1, 2, 5)
        if low <= math.log10(m * 10.0**e) <= high
    ]
    powers = [x for x in ticks if f"{x:e}".startswith("1.0")]
    return powers if len(ticks) > 8 and len(powers) > 1 else ticks
