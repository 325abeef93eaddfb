"""Makes the media of open/cycle again: `python make_cycle_media.py`.

Pictures and tones depend only on the numbers below and on the code of open/understanding. Speech needs
espeak-ng: the committed files are from 1.51, other versions pronounce the words a little differently.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "understanding"))

import drawing as d
import sounds as s
from make_media import PINYIN, SUFFIX, encoded

MEDIA = Path(__file__).resolve().parent / "media"

Maker = Callable[[], Any]

PICTURES: dict[str, Maker] = {
    "shapes": lambda: d.shapes_in_row(
        [("circle", "red"), ("star", "yellow"), ("square", "blue"), ("triangle", "green")]
    ),
    "clock_710": lambda: d.clock(7, 10),
    "rain": lambda: d.bars([("Mon", 3), ("Tue", 7), ("Wed", 5)]),
    "dice_52": lambda: d.dice(5, 2),
    "boxes_381": lambda: d.boxes([("red", "3"), ("green", "8"), ("blue", "1")]),
    "calendar_17": lambda: d.calendar(31, 2, 17),
    "warmth_30": lambda: d.thermometer(30),
    "arrows": lambda: d.arrows("urdl"),
    "price": lambda: d.board("Garden chair", [("Price today", "48 euros")]),
    "pancakes": lambda: d.board(
        "Pancakes, serves 4", [("Flour", "200 g"), ("Milk", "300 ml"), ("Sugar", "40 g"), ("Eggs", "2")]
    ),
    "dots_2": lambda: d.dots(2, 5),
    "dots_3": lambda: d.dots(3, 3),
    "dots_5": lambda: d.dots(5, 4),
    "dots_6": lambda: d.dots(6, 6),
    "clock_400": lambda: d.clock(4, 0),
    "clock_700": lambda: d.clock(7, 0),
    "curve_up": lambda: d.cards([("", [0.2, 0.5, 0.8])]),
    "curve_down": lambda: d.cards([("", [0.8, 0.5, 0.2])]),
    "beads_rbg": lambda: d.shapes_in_row([("circle", c) for c in ("red", "blue", "green")]),
    "cars_bgr": lambda: d.shapes_in_row([("square", c) for c in ("blue", "green", "red")]),
    "lanterns_gbr": lambda: d.shapes_in_row([("circle", c) for c in ("green", "blue", "red")]),
}

TONES: dict[str, Maker] = {
    "knocks_3": lambda: s.knocks(3, 4),
    "knocks_6": lambda: s.knocks(6, 5),
    "beeps_2": lambda: s.beeps(2),
    "beeps_5": lambda: s.beeps(5),
    "bell_4": lambda: s.strokes(4),
    "bell_7": lambda: s.strokes(7),
    "tune_up": lambda: s.melody([0.2, 0.5, 0.8]),
    "tune_down": lambda: s.melody([0.8, 0.5, 0.2]),
}

SPEECH: dict[str, tuple[str, str]] = {
    "gate": ("Flight seventeen leaves from gate four. Boarding is at half past six.", "en-gb"),
    "doctor": ("Two drops in the left ear, three times a day.", "en-gb"),
    "beads_rbg": ("Red, then blue, then green.", "en-gb"),
    "cars_bgr": ("Blue car. Green car. Red car.", "en-gb"),
    "zh_homework": (
        "ming2 tian1 shang4 wu3 ba1 dian3 kao3 shu4 xue2, qing3 dai4 liang3 zhi1 qian1 bi3.",
        PINYIN,
    ),
    "zh_birds": ("hong2 se4, lan2 se4, lv4 se4.", PINYIN),
    "zh_lanterns": ("lv4 se4, lan2 se4, hong2 se4.", PINYIN),
}


def made() -> dict[str, tuple[str, Maker]]:
    """The kind of each medium and the function that makes it, by the name of its file."""
    makers = {f"{name}{SUFFIX['image']}": ("image", maker) for name, maker in PICTURES.items()}
    makers |= {f"{name}{SUFFIX['audio']}": ("audio", maker) for name, maker in TONES.items()}
    for name, (words, voice) in SPEECH.items():
        makers[f"{name}{SUFFIX['audio']}"] = ("audio", lambda w=words, v=voice: s.speech(w, v))
    return makers


if __name__ == "__main__":
    MEDIA.mkdir(exist_ok=True)
    for filename, (kind, maker) in made().items():
        (MEDIA / filename).write_bytes(encoded(kind, maker()))
