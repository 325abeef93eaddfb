"""The frame of a plot: its axes, their ticks and grid, and where a point lies in the drawing."""

from __future__ import annotations

import math
from typing import NamedTuple

from eval_anything.output.svg import Tree, line, text

BOTTOM = 46.0
"""Units below a plot, for the labels of its x axis."""


class PlotFrame(NamedTuple):
    """The frame of a plot, in units of the drawing: its width and height with margins, its top margin,
    the ranges of its axes, its margins at the sides."""

    width: float
    height: float
    top: float
    x: tuple[float, float]
    y: tuple[float, float]
    left: float = 56.0
    right: float = 20.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point in the drawing."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            self.left + across * (self.width - self.left - self.right),
            self.height - BOTTOM - up * (self.height - self.top - BOTTOM),
        )

    def x_tick(self, x: float, words: str) -> Tree:
        """Words below the x axis."""
        return text(self.at(x, self.y[0])[0], self.height - BOTTOM + 16, words, "tick", "middle")

    def y_grid(self, count: int = 6) -> list[Tree]:
        """About so many horizontal lines, with their numbers."""
        body: list[Tree] = []
        for y in ticks(*self.y, count):
            _, v = self.at(self.x[0], y)
            body.append(line(self.left, v, self.width - self.right, v, "grid"))
            body.append(text(self.left - 8, v + 4, short_number(y), "tick", "end"))
        return body

    def labels(self, x_label: str, y_label: str) -> list[Tree]:
        """The words at both axes."""
        center = (self.left + self.width - self.right) / 2
        return [
            text(center, self.height - 8, x_label, "axis", "middle"),
            text(self.left, 10, y_label, "axis", "start"),
        ]


def widened(low: float, high: float, least: float) -> tuple[float, float]:
    """The ends with a margin of a tenth, and at least `least` on each side."""
    margin = max((high - low) * 0.1, least)
    return low - margin, high + margin


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """About `count` round numbers between the ends."""
    raw = (high - low) / count
    power: float = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, math.floor(high / step + 1e-9) + 1)]


def short_number(number: float) -> str:
    """The number in a few characters.

    Example:
        >>> short_number(0.25), short_number(0.00015), short_number(20000)
        ('0.25', '1.5e-4', '20k')
    """
    size = abs(number)
    if 0 < size < 1e-3 or size >= 1e9:
        digits, exponent = f"{number:.2e}".split("e")
        return f"{float(digits):g}e{int(exponent)}"
    if size >= 1e6:
        return f"{number / 1e6:g}M"
    return f"{number / 1e3:g}k" if size >= 1e4 else f"{number:g}"
