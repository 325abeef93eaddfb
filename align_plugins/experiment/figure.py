"""The figure of the page: a dot with its interval for each arm, a panel for each metric, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

_LEFT, _PANEL, _GAP, _ROW, _TOP, _BOTTOM = 240, 200, 48, 26, 40, 34


class Dot(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


def svg(
    title: str,
    rows: Sequence[str],
    panels: Mapping[str, Sequence[Dot | None]],
    ranges: Mapping[str, tuple[float, float]],
    line_at: int = 0,
) -> str:
    """The picture as text. `panels` have a dot for each row, or None where there is none; a line stands
    at the value of row `line_at`."""
    width = _LEFT + len(panels) * (_PANEL + _GAP)
    height = _TOP + _ROW * len(rows) + _BOTTOM
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for i, row in enumerate(rows):
        body.append(_text(_LEFT - 12, _y(i) + 4, row, "end"))
    for number, (name, dots) in enumerate(panels.items()):
        body += _panel(_LEFT + number * (_PANEL + _GAP), name, dots, ranges[name], line_at, height)
    return "\n".join([*body, "</svg>"]) + "\n"


def _panel(
    left: int,
    name: str,
    dots: Sequence[Dot | None],
    limits: tuple[float, float],
    line_at: int,
    height: int,
) -> list[str]:
    there = [dot for dot in dots if dot is not None]
    low = min(dot.low for dot in there)
    high = max(dot.high for dot in there)
    pad = 0.08 * (high - low) or 0.01 * (limits[1] - limits[0])
    low, high = max(limits[0], low - pad), min(limits[1], high + pad)

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * _PANEL

    bottom = height - _BOTTOM
    body = [_text(left + _PANEL / 2, _TOP - 18, name, "middle")]
    for step in range(3):
        value = low + (high - low) * step / 2
        body.append(_line(x(value), _TOP - 8, x(value), bottom, "#dddddd"))
        body.append(_text(x(value), bottom + 16, f"{value:.3g}", "middle"))
    start = dots[line_at]
    if start is not None:
        body.append(_line(x(start.value), _TOP - 8, x(start.value), bottom, "#888888", "4 3"))
    for i, dot in enumerate(dots):
        if dot is None:
            body.append(_text(left + _PANEL / 2, _y(i) + 4, "not run", "middle", "#777777"))
            continue
        ends = x(max(low, dot.low)), x(min(high, dot.high))
        body.append(_line(ends[0], _y(i), ends[1], _y(i), "#1f5fa8", width=3))
        body.append(f'<circle cx="{x(dot.value):.1f}" cy="{_y(i)}" r="4.5" fill="#12365f"/>')
    return body


def _y(row: int) -> int:
    return _TOP + _ROW * row + _ROW // 2


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str = "", width: int = 1
) -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"{dashed}/>'
    )


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#222222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
