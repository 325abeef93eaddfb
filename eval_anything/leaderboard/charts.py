"""Charts, drawn when the site is built, as trees of SVG (output/svg.py).

The page makes elements of the trees, so no text in them is ever read as markup. Colours are the
page's: classes say what a thing is. Every chart has a title and a description in words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from eval_anything.output.svg import Tree, dot, line, number, path, svg, text

_WIDTH = 640.0


class Bar(NamedTuple):
    """A value with its interval on a scale from 0 to 1, and what to write beside it."""

    label: str
    value: float
    low: float
    high: float
    note: str


class Point(NamedTuple):
    """A run in a scatter: x (cost or seconds), y with its interval, turned so that up is good."""

    run: str
    name: str
    x: float
    y: float
    low: float
    high: float


def bars(title: str, rows: Sequence[Bar]) -> Tree:
    """Dots with their intervals, a row each, from the bad end of the range to the good one."""
    left, right, height = 190.0, 120.0, 30.0
    span = _WIDTH - left - right
    body: list[Tree] = []
    total = height * len(rows) + 26
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = left + span * share
        body.append(line(x, 4, x, total - 20, "grid"))
        body.append(text(x, total - 6, f"{100 * share:.0f} %", "tick", "middle"))
    for i, row in enumerate(rows):
        y = height * (i + 0.5) + 4
        at = [left + span * min(1.0, max(0.0, v)) for v in (row.low, row.value, row.high)]
        body.append(text(left - 10, y + 4, _cut(row.label, 26), "label", "end"))
        body.append(_pill(left, y - 4, span, "track"))
        body.append(_pill(at[0], y - 4, max(at[2] - at[0], 2), "band"))
        body.append(dot(at[1], y))
        body.append(text(_WIDTH - right + 10, y + 4, row.note, "note", "start"))
    words = "; ".join(f"{row.label}: {100 * row.value:.0f} %, {row.note}" for row in rows)
    return svg(_WIDTH, total, title, words, body)


def scatter(title: str, x_label: str, y_label: str, points: Sequence[Point]) -> Tree:
    """Quality over what it takes, x on a log scale, with the efficient front: the runs for which no
    other one is better and takes no more."""
    left, right, top, bottom = 56.0, 20.0, 14.0, 46.0
    height = 330.0
    xs = [math.log10(p.x) for p in points]
    x0, x1 = _widened(min(xs), max(xs), 0.15)
    y0, y1 = _widened(min(p.low for p in points), max(p.high for p in points), 0.02)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            left + (math.log10(x) - x0) / (x1 - x0) * (_WIDTH - left - right),
            height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom),
        )

    body: list[Tree] = []
    for y in _ticks(y0, y1):
        _, v = at(points[0].x, y)
        body.append(line(left, v, _WIDTH - right, v, "grid"))
        body.append(text(left - 8, v + 4, f"{y:g}", "tick", "end"))
    for x in _log_ticks(x0, x1):
        h, _ = at(x, y0)
        body.append(line(h, top, h, height - bottom, "grid"))
        body.append(text(h, height - bottom + 16, f"{x:g}", "tick", "middle"))
    body.append(text((left + _WIDTH - right) / 2, height - 8, x_label, "axis", "middle"))
    body.append(text(left, 10, y_label, "axis", "start"))
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
    for p in best[:8]:
        x, y = at(p.x, p.y)
        beside = (x - 9, "end") if x > _WIDTH - 160 else (x + 9, "start")
        body.append(text(beside[0], y - 8, _cut(p.name, 22), "label", beside[1]))
    words = "On the efficient front: " + ", ".join(f"{p.name} ({p.y:.3g} at {p.x:.3g})" for p in best)
    return svg(_WIDTH, height, title, words, body)


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats: better at no more cost, from the cheapest on."""
    kept: list[Point] = []
    for p in sorted(points, key=lambda p: (p.x, -p.y)):
        if not kept or p.y > kept[-1].y:
            kept.append(p)
    return kept


def history(title: str, y_label: str, points: Sequence[Point]) -> Tree:
    """A metric over training steps (x), with its interval as a band."""
    left, right, top, bottom = 56.0, 20.0, 18.0, 46.0
    height = 280.0
    x0, x1 = _widened(min(p.x for p in points), max(p.x for p in points), 0.5)
    y0, y1 = _widened(min(p.low for p in points), max(p.high for p in points), 0.02)

    def at(x: float, y: float) -> tuple[float, float]:
        across = left + (x - x0) / (x1 - x0) * (_WIDTH - left - right)
        return across, height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom)

    body: list[Tree] = []
    for y in _ticks(y0, y1):
        _, v = at(x0, y)
        body.append(line(left, v, _WIDTH - right, v, "grid"))
        body.append(text(left - 8, v + 4, f"{y:g}", "tick", "end"))
    band = [at(p.x, p.high) for p in points] + [at(p.x, p.low) for p in reversed(points)]
    body.append(path(band, "area", closed=True))
    body.append(path((at(p.x, p.y) for p in points), "curve"))
    for p in points:
        words = f"step {p.x:g}: {p.y:.3g} ({p.low:.3g} to {p.high:.3g})"
        mark = [dot(*at(p.x, p.y)), ["title", {}, words]]
        body.append(["g", {"class": "mark", "data-run": p.run}, mark])
    for p in points if len(points) <= 8 else (points[0], points[-1]):
        body.append(text(at(p.x, y0)[0], height - bottom + 16, f"{p.x:g}", "tick", "middle"))
    body.append(text((left + _WIDTH - right) / 2, height - 8, "training step", "axis", "middle"))
    body.append(text(left, 10, y_label, "axis", "start"))
    words = "; ".join(f"step {p.x:g}: {p.y:.3g} ({p.low:.3g} to {p.high:.3g})" for p in points)
    return svg(_WIDTH, height, title, words, body)


def _pill(x: float, y: float, width: float, class_: str) -> Tree:
    """A bar of 8 units with round ends."""
    place = {"x": number(x), "y": number(y), "width": number(width)}
    return ["rect", place | {"height": "8", "rx": "4", "class": class_}, []]


def _cut(words: str, longest: int) -> str:
    return words if len(words) <= longest else words[: longest - 1] + "…"


def _widened(low: float, high: float, least: float) -> tuple[float, float]:
    """The ends with a margin of a tenth, and at least `least` on each side."""
    margin = max((high - low) * 0.1, least)
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """About six round numbers between the ends."""
    raw = (high - low) / 6
    power: float = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
    first = math.ceil(low / step)
    return [round(i * step, 10) for i in range(first, math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between 10^low and 10^high; only the powers if these are many."""
    found = [
        m * 10.0**e
        for e in range(math.floor(low), math.ceil(high) + 1)
        for m in (1, 2, 5)
        if low <= math.log10(m * 10.0**e) <= high
    ]
    powers = [x for x in found if f"{x:e}".startswith("1.0")]
    return powers if len(found) > 8 and len(powers) > 1 else found
