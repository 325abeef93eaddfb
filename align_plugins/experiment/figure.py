"""The figure of the page: a dot with its interval for each arm, a panel for each metric, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from eval_anything.output.svg import Tree, dot, line, markup, svg, text

_LEFT, _PANEL, _GAP, _ROW, _TOP, _BOTTOM = 240, 200, 48, 26, 40, 34


_STYLE = (
    "svg { background: #ffffff; font: 12px sans-serif; fill: #222222 } .missing { fill: #777777 } "
    ".grid { stroke: #dddddd } .start { stroke: #888888; stroke-dasharray: 4 3 } "
    ".interval { stroke: #1f5fa8; stroke-width: 3 } .dot { fill: #12365f }"
)


class Dot(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


def picture(
    title: str,
    rows: Sequence[str],
    panels: Mapping[str, Sequence[Dot | None]],
    ranges: Mapping[str, tuple[float, float]],
) -> str:
    """The figure as SVG text. `panels` have a dot for each row, None if it is missing; a line marks the
    value of the first row."""
    bottom = _TOP + _ROW * len(rows)
    body = [text(_LEFT - 12, _y(i) + 4, row, "row", "end") for i, row in enumerate(rows)]
    for number, (name, dots) in enumerate(panels.items()):
        body += _panel(_LEFT + number * (_PANEL + _GAP), name, dots, ranges[name], bottom)
    width = _LEFT + len(panels) * (_PANEL + _GAP)
    return markup(svg(width, bottom + _BOTTOM, title, title, body), _STYLE)


def _panel(
    x0: int,
    name: str,
    dots: Sequence[Dot | None],
    limits: tuple[float, float],
    bottom: int,
) -> list[Tree]:
    present = [dot for dot in dots if dot is not None]
    low = min(dot.low for dot in present)
    high = max(dot.high for dot in present)
    pad = 0.08 * (high - low) or 0.01 * (limits[1] - limits[0])
    low, high = max(limits[0], low - pad), min(limits[1], high + pad)

    def x(tick: float) -> float:
        return x0 + (tick - low) / (high - low) * _PANEL

    body = [text(x0 + _PANEL / 2, _TOP - 18, name, "title", "middle")]
    for step in range(3):
        tick = low + (high - low) * step / 2
        body.append(line(x(tick), _TOP - 8, x(tick), bottom, "grid"))
        body.append(text(x(tick), bottom + 16, f"{tick:.3g}", "tick", "middle"))
    start = dots[0]
    if start is not None:
        body.append(line(x(start.value), _TOP - 8, x(start.value), bottom, "start"))
    for i, estimate in enumerate(dots):
        if estimate is None:
            body.append(text(x0 + _PANEL / 2, _y(i) + 4, "not run", "missing", "middle"))
            continue
        ends = x(max(low, estimate.low)), x(min(high, estimate.high))
        body.append(line(ends[0], _y(i), ends[1], _y(i), "interval"))
        body.append(dot(x(estimate.value), _y(i)))
    return body


def _y(row: int) -> int:
    return _TOP + _ROW * row + _ROW // 2
