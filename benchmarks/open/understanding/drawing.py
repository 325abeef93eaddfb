"""Pictures and clips of open/understanding, drawn with Pillow: uint8 arrays (height, width, 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
Point = tuple[float, float]

INK, PAPER = (30, 30, 40), (250, 248, 240)
COLOURS = {
    "red": (205, 45, 45),
    "green": (50, 150, 70),
    "blue": (45, 85, 200),
    "yellow": (240, 205, 50),
    "orange": (240, 140, 30),
    "purple": (130, 60, 165),
    "grey": (140, 140, 145),
    "white": (255, 255, 255),
    "black": (20, 20, 20),
    "brown": (125, 80, 45),
}


class Canvas:
    """A picture to draw on. Text is centred at its point unless `anchor` says otherwise."""

    def __init__(self, width: int = 360, height: int = 240) -> None:
        self.size = (width, height)
        self.image = Image.new("RGB", self.size, PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def text(self, at: Point, words: str, size: int = 20, anchor: str = "mm") -> None:
        self.draw.text(at, words, fill=INK, font=ImageFont.load_default(size), anchor=anchor)

    def shape(self, name: str, at: Point, radius: float, colour: str) -> None:
        """A circle, square, triangle or star around a point."""
        (x, y), fill = at, COLOURS[colour]
        if name == "circle":
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill, INK, 2)
            return
        if name == "square":
            self.draw.rectangle((x - radius, y - radius, x + radius, y + radius), fill, INK, 2)
            return
        corners = {"triangle": [1.0] * 3, "star": [1.0, 0.4] * 5}[name]
        turns = (2 * math.pi * i / len(corners) - math.pi / 2 for i in range(len(corners)))
        points = [
            (x + r * radius * math.cos(t), y + r * radius * math.sin(t))
            for r, t in zip(corners, turns, strict=True)
        ]
        self.draw.polygon(points, fill, INK)

    def pixels(self) -> Pixels:
        return np.asarray(self.image)


def board(title: str, rows: Sequence[tuple[str, ...]]) -> Pixels:
    """A notice with a title and rows in columns."""
    canvas = Canvas(360, 60 + 36 * len(rows))
    canvas.text((180, 26), title, 24)
    for number, row in enumerate(rows):
        y = 66 + 36 * number
        canvas.draw.line((20, y - 18, 340, y - 18), (200, 196, 180))
        for column, cell in enumerate(row):
            x = 24 + column * 312 / max(1, len(row) - 1)
            last = column == len(row) - 1 and column > 0
            canvas.text((x, y), cell, 20, "rm" if last else "mm" if column else "lm")
    return canvas.pixels()


def grid(rows: Sequence[str]) -> Pixels:
    """Letters in squares; `*` is a star, `o` a circle."""
    canvas = Canvas(48 * len(rows[0]) + 20, 48 * len(rows) + 20)
    for y, row in enumerate(rows):
        for x, letter in enumerate(row):
            x0, top = 10 + 48 * x, 10 + 48 * y
            canvas.draw.rectangle((x0, top, x0 + 48, top + 48), outline=INK)
            middle = (x0 + 24, top + 24)
            if letter in "*o":
                name, colour = ("star", "yellow") if letter == "*" else ("circle", "blue")
                canvas.shape(name, middle, 16, colour)
            else:
                canvas.text(middle, letter, 22)
    return canvas.pixels()


def clock(hours: int, minutes: int) -> Pixels:
    """A dial with twelve numbers and two hands."""
    canvas = Canvas(240, 240)
    canvas.draw.ellipse((12, 12, 228, 228), "white", INK, 4)
    for hour in range(1, 13):
        canvas.text(_on_dial(hour / 12, 90), str(hour), 20)
    canvas.draw.line([(120, 120), _on_dial((hours % 12 + minutes / 60) / 12, 52)], INK, 8)
    canvas.draw.line([(120, 120), _on_dial(minutes / 60, 76)], COLOURS["blue"], 4)
    return canvas.pixels()


def _on_dial(share: float, radius: float) -> Point:
    turn = 2 * math.pi * share - math.pi / 2
    return 120 + radius * math.cos(turn), 120 + radius * math.sin(turn)


def boxes(marked: Sequence[tuple[str, str]]) -> Pixels:
    """Coloured boxes in a row on a shelf, each with a mark on a white label."""
    canvas = Canvas(70 * len(marked) + 20, 140)
    for number, (colour, mark) in enumerate(marked):
        x = 14 + 70 * number
        canvas.draw.rectangle((x, 30, x + 62, 112), COLOURS[colour], INK, 2)
        canvas.draw.rectangle((x + 13, 54, x + 49, 88), "white", INK)
        canvas.text((x + 31, 71), mark, 20)
    canvas.draw.rectangle((6, 113, 70 * len(marked) + 14, 122), COLOURS["brown"])
    return canvas.pixels()


def bars(values: Sequence[tuple[str, float]], colours: Sequence[str] = ()) -> Pixels:
    """A bar chart without numbers; names of the bars below, or colours."""
    canvas = Canvas(360, 240)
    step, highest = 330 / len(values), max(height for _, height in values)
    for number, (name, height) in enumerate(values):
        x = 20 + step * number
        fill = COLOURS[colours[number] if colours else "blue"]
        canvas.draw.rectangle((x + 8, 205 - 180 * height / highest, x + step - 8, 205), fill, INK)
        canvas.text((x + step / 2, 222), name, 18)
    canvas.draw.line((15, 205, 350, 205), INK, 2)
    return canvas.pixels()


def line(stops: Sequence[str]) -> Pixels:
    """A bus line from top to bottom with its stops."""
    canvas = Canvas(240, 38 * len(stops) + 16)
    canvas.draw.line((36, 26, 36, 38 * len(stops) - 12), COLOURS["red"], 6)
    for number, stop in enumerate(stops):
        y = 27 + 38 * number
        canvas.shape("circle", (36, y), 9, "white")
        canvas.text((62, y), stop, 20, "lm")
    return canvas.pixels()


def calendar(days: int, first: int, ringed: int) -> Pixels:
    """A month whose first day is weekday `first` (0 is Monday), with a ring around one day."""
    canvas = Canvas(360, 280)
    for column, name in enumerate(("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")):
        canvas.text((34 + 48 * column, 22), name, 18)
    for day in range(1, days + 1):
        row, column = divmod(first + day - 1, 7)
        at = (34 + 48 * column, 58 + 38 * row)
        if day == ringed:
            x, y = at
            canvas.draw.ellipse((x - 17, y - 17, x + 17, y + 17), outline=COLOURS["red"], width=4)
        canvas.text(at, str(day), 18)
    return canvas.pixels()


def dice(*faces: int) -> Pixels:
    """Dice side by side."""
    canvas = Canvas(110 * len(faces) + 10, 120)
    spots = {1: "e", 2: "ai", 3: "aei", 4: "acgi", 5: "acegi", 6: "acdfgi"}
    for number, face in enumerate(faces):
        x = 10 + 110 * number
        canvas.draw.rounded_rectangle((x, 10, x + 100, 110), 14, "white", INK, 3)
        for spot in spots[face]:
            row, column = divmod("abcdefghi".index(spot), 3)
            canvas.shape("circle", (x + 24 + 26 * column, 34 + 26 * row), 9, "black")
    return canvas.pixels()


def dots(count: int, seed: int) -> Pixels:
    """`count` dots that do not touch."""
    canvas = Canvas(300, 220)
    places = [(40 + 55 * x, 40 + 47 * y) for x in range(5) for y in range(4)]
    for number in np.random.default_rng(seed).permutation(len(places))[:count]:
        canvas.shape("circle", places[number], 15, "green")
    return canvas.pixels()


def thermometer(degrees: int) -> Pixels:
    """A thermometer from 0 to 40 degrees."""
    canvas = Canvas(160, 300)
    for mark in range(0, 41, 10):
        y = 250 - 5.5 * mark
        canvas.draw.line((84, y, 98, y), INK, 2)
        canvas.text((104, y), str(mark), 18, "lm")
    for mark in range(0, 41, 2):
        canvas.draw.line((84, 250 - 5.5 * mark, 91, 250 - 5.5 * mark), INK)
    canvas.draw.rectangle((64, 24, 80, 258), "white", INK, 2)
    canvas.draw.rectangle((67, 250 - 5.5 * degrees, 77, 262), COLOURS["red"])
    canvas.shape("circle", (72, 270), 18, "red")
    return canvas.pixels()


def cards(curves: Sequence[tuple[str, Sequence[float]]]) -> Pixels:
    """Cards with one line each (heights 0..1 at equal distances), and names below."""
    canvas = Canvas(110 * len(curves) + 10, 150)
    for number, (name, heights) in enumerate(curves):
        x = 10 + 110 * number
        canvas.draw.rectangle((x, 10, x + 100, 110), "white", INK, 2)
        step = 76 / (len(heights) - 1)
        points = [(x + 12 + step * i, 98 - 76 * h) for i, h in enumerate(heights)]
        canvas.draw.line(points, COLOURS["purple"], 5, "curve")
        canvas.text((x + 50, 130), name, 22)
    return canvas.pixels()


def blocks(patterns: Sequence[tuple[str, str]]) -> Pixels:
    """Rows of long (`-`) and short (`.`) blocks, each with a name in front."""
    canvas = Canvas(300, 46 * len(patterns) + 14)
    for number, (name, pattern) in enumerate(patterns):
        x, y = 70.0, 30 + 46 * number
        canvas.text((30, y), name, 22)
        for sign in pattern:
            width = 46 if sign == "-" else 16
            canvas.draw.rectangle((x, y - 9, x + width, y + 9), INK)
            x += width + 12
    return canvas.pixels()


def arrows(directions: str) -> Pixels:
    """Arrows in a row: u, d, l, r."""
    canvas = Canvas(64 * len(directions) + 20, 90)
    for number, direction in enumerate(directions):
        x, y = 42 + 64 * number, 45
        dx, dy = {"u": (0, -1), "d": (0, 1), "l": (-1, 0), "r": (1, 0)}[direction]
        canvas.draw.line((x - 18 * dx, y - 18 * dy, x + 10 * dx, y + 10 * dy), INK, 7)
        tip = (x + 24 * dx, y + 24 * dy)
        left_barb = (x + 6 * dx - 13 * dy, y + 6 * dy + 13 * dx)
        right_barb = (x + 6 * dx + 13 * dy, y + 6 * dy - 13 * dx)
        canvas.draw.polygon([tip, left_barb, right_barb], INK)
    return canvas.pixels()


def seats(occupied: Sequence[str]) -> Pixels:
    """Rows A to D with seats 1 to 6, taken ones crossed out, the door at the left."""
    canvas = Canvas(400, 240)
    canvas.text((34, 120), "DOOR", 18)
    for y, row in enumerate("ABCD"):
        for seat in range(1, 7):
            x, top = 50 + 54 * seat - 34, 20 + 52 * y
            canvas.draw.rectangle((x, top, x + 44, top + 42), "white", INK, 2)
            canvas.text((x + 22, top + 21), f"{row}{seat}", 16)
            if f"{row}{seat}" in occupied:
                canvas.draw.line((x, top, x + 44, top + 42), COLOURS["red"], 4)
                canvas.draw.line((x, top + 42, x + 44, top), COLOURS["red"], 4)
    return canvas.pixels()


def shapes_in_row(shapes: Sequence[tuple[str, str]]) -> Pixels:
    """Coloured shapes from left to right."""
    canvas = Canvas(66 * len(shapes) + 20, 100)
    for number, (name, colour) in enumerate(shapes):
        canvas.shape(name, (44 + 66 * number, 50), 24, colour)
    return canvas.pixels()


# --- clips: frames at 10 a second ---------------------------------------------------------------


def one_by_one(pictures: Sequence[Pixels], frames: int = 8, blank: int = 2) -> list[Pixels]:
    """Pictures shown after each other with a blank between them."""
    empty = np.full_like(pictures[0], 250)
    return [f for picture in pictures for f in [*[picture] * frames, *[empty] * blank]]


def sign(words: str = "", shape: str = "", colour: str = "white") -> Pixels:
    """A number, a word or a coloured shape in the middle of a small frame."""
    canvas = Canvas(160, 120)
    if shape:
        canvas.shape(shape, (80, 60), 42, colour)
    if words:
        canvas.text((80, 60), words, 56)
    return canvas.pixels()


def disc_to(post: int, posts: str) -> list[Pixels]:
    """A disc that rolls from the left and stops above the post with that number (0 is the first)."""
    frames = []
    for step in range(26):
        canvas = Canvas(320, 120)
        for number, name in enumerate(posts):
            canvas.text((40 + 60 * number, 98), name, 26)
        end = 40 + 60 * post
        canvas.shape("circle", (10 + (end - 10) * min(1.0, step / 18), 50), 20, "orange")
        frames.append(canvas.pixels())
    return frames


def filling(percent: int) -> list[Pixels]:
    """A tank that fills from empty to `percent`, with a mark at every tenth."""
    frames = []
    for step in range(26):
        canvas = Canvas(160, 200)
        level = 180 - 1.6 * percent * min(1.0, step / 18)
        canvas.draw.rectangle((40, level, 110, 180), COLOURS["blue"])
        canvas.draw.rectangle((40, 20, 110, 180), outline=INK, width=3)
        for tenth in range(11):
            canvas.draw.line((110, 180 - 16 * tenth, 120, 180 - 16 * tenth), INK, 2)
        canvas.text((125, 20), "full", 16, "lm")
        frames.append(canvas.pixels())
    return frames


def bouncing(times: int) -> list[Pixels]:
    """A ball that touches the ground `times` times, and then stays up."""
    frames = []
    for step in range(times * 10 + 6):
        canvas = Canvas(160, 120)
        canvas.draw.line((10, 108, 150, 108), INK, 3)
        phase = (step % 10) / 10 if step < times * 10 else 0.0
        canvas.shape("circle", (80, 92 - 66 * abs(1 - 2 * phase)), 15, "red")
        frames.append(canvas.pixels())
    return frames
