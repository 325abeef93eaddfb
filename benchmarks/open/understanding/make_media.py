"""Makes the media of open/understanding again: `python make_media.py [--check] [NAME ...]`.

Pictures, tones and clips depend only on the numbers below. Speech needs espeak-ng: the committed files
are from 1.51, and other versions pronounce the words a little differently. Without names all are made;
`--check` writes nothing, and prints the files that differ in pixels or samples.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import drawing as d
import numpy as np
import sounds as s

from eval_anything.media import encode_mp4, encode_png, read_audio, read_frames, read_image

MEDIA = Path(__file__).resolve().parent / "media"
FPS = 10

Maker = Callable[[], Any]

PINYIN = "cmn-latn-pinyin"
"""The voice for Chinese: it reads pinyin with tones; the one for characters lacks their dictionary."""

MENU = [("Tea", "2.20"), ("Coffee", "2.80"), ("Muffin", "3.10"), ("Soup of the day", "5.40")]
TRAINS = [
    ("09:12", "York", "4"),
    ("09:25", "Leeds", "7"),
    ("09:40", "Hull", "2"),
    ("10:05", "York", "1"),
]
BOXES = [("red", "7"), ("yellow", "4"), ("green", "9"), ("blue", "2"), ("purple", "5"), ("white", "8")]
PIECES = ["NARE*", "TLOCI", "ESGPU", "oMDBH", "KVWAY"]
CURVES = [
    ("A", [0.2, 0.5, 0.8]),
    ("B", [0.2, 0.8, 0.2]),
    ("C", [0.8, 0.5, 0.2]),
    ("D", [0.8, 0.2, 0.8]),
]
RHYTHMS = [("1", "--.."), ("2", ".-.-"), ("3", "..--"), ("4", "-..-")]
MORSE = [("G", "--."), ("K", "-.-"), ("R", ".-."), ("U", "..-"), ("W", ".--")]
CODE = [("red", "4"), ("blue", "1"), ("yellow", "7"), ("green", "3"), ("purple", "9")]
SHAPES = [("circle", "red"), ("triangle", "blue"), ("square", "green"), ("star", "yellow")]

PICTURES: dict[str, Maker] = {
    "menu": lambda: d.board("Station Cafe", MENU),
    "trains": lambda: d.board("Departures: time, to, platform", TRAINS),
    "seats": lambda: d.seats(["A1", "A2", "B3", "B4", "C1", "C2", "C5", "D1", "D6"]),
    "letters": lambda: d.grid(PIECES),
    "clock_340": lambda: d.clock(3, 40),
    "clock_1005": lambda: d.clock(10, 5),
    "clock_600": lambda: d.clock(6, 0),
    "clock_820": lambda: d.clock(8, 20),
    "clock_1105": lambda: d.clock(11, 5),
    "clock_930": lambda: d.clock(9, 30),
    "calendar": lambda: d.calendar(30, 5, 12),
    "rain": lambda: d.bars([("Mon", 6), ("Tue", 2), ("Wed", 9), ("Thu", 4), ("Fri", 7)]),
    "colour_bars": lambda: d.bars(
        [("", 5), ("", 3), ("", 8), ("", 6)], ["orange", "purple", "green", "yellow"]
    ),
    "boxes": lambda: d.boxes(BOXES),
    "warmth": lambda: d.thermometer(18),
    "recipe": lambda: d.board(
        "Pancakes, serves 4", [("Flour", "200 g"), ("Milk", "300 ml"), ("Sugar", "40 g"), ("Eggs", "2")]
    ),
    "league": lambda: d.board(
        "Points before today", [("Owls", "19"), ("Foxes", "18"), ("Hares", "16"), ("Otters", "12")]
    ),
    "price": lambda: d.board("Garden chair", [("Price today", "48 euros")]),
    "lift": lambda: d.board(
        "Floors", [("3", "Fitness"), ("2", "Lawyers"), ("1", "Dentist"), ("0", "Bakery")]
    ),
    "dice_53": lambda: d.dice(5, 3),
    "dice_62": lambda: d.dice(6, 2),
    "family": lambda: d.board(
        "Ruth's children, with age", [("Tom", "12"), ("Ben", "9"), ("Mia", "7"), ("Zoe", "15")]
    ),
    "bus": lambda: d.line(["Harbour", "Museum", "Mill", "School", "Park", "Castle", "Zoo"]),
    "bins": lambda: d.board(
        "Which bin?", [("Glass", "purple"), ("Paper", "orange"), ("Metal", "white"), ("Food", "blue")]
    ),
    "alarms": lambda: d.board(
        "The machine beeps ...", [("1 x", "door"), ("2 x", "filter"), ("3 x", "water"), ("4 x", "heat")]
    ),
    "curves": lambda: d.cards(CURVES),
    "rhythms": lambda: d.blocks(RHYTHMS),
    "morse": lambda: d.blocks(MORSE),
    "dots_7": lambda: d.dots(7, 1),
    "dots_9": lambda: d.dots(9, 2),
    "pitches": lambda: d.board("Keypad", [("low tone", "1"), ("middle tone", "2"), ("high tone", "3")]),
    "loudness": lambda: d.cards([("P", [0, 0.5, 1]), ("Q", [1, 0.5, 0]), ("R", [0, 1, 0])]),
    "fruit": lambda: d.board(
        "Price of one", [("Circle", "30 cents"), ("Star", "50 cents"), ("Square", "20 cents")]
    ),
    "basket": lambda: d.shapes_in_row([SHAPES[0], SHAPES[3], SHAPES[0], SHAPES[3], SHAPES[0]]),
    "basket_2": lambda: d.shapes_in_row([SHAPES[2], SHAPES[0], SHAPES[2], SHAPES[2]]),
    "code": lambda: d.boxes(CODE),
    "row_1": lambda: d.shapes_in_row([("circle", c) for c in ("yellow", "green", "red")]),
    "row_2": lambda: d.shapes_in_row([("square", c) for c in ("purple", "blue", "blue", "green")]),
    "arrows_1": lambda: d.arrows("uurr"),
    "arrows_2": lambda: d.arrows("dddl"),
    "before": lambda: d.bars([("ash", 8), ("elm", 4), ("fir", 6), ("oak", 3)]),
    "after": lambda: d.bars([("ash", 8), ("elm", 7), ("fir", 5), ("oak", 2)]),
    "rooms": lambda: d.board(
        "Where things are",
        [("water", "cellar"), ("filter", "attic"), ("door", "hall"), ("heat", "porch")],
    ),
    "sums": lambda: d.board("Secret number", [("second number, times fourth number",)]),
    "tank": lambda: d.board("This tank", [("holds, when full", "50 litres")]),
}

SPEECH: dict[str, tuple[str, str]] = {
    "order_1": ("Two coffees and one muffin, please.", "en-gb"),
    "order_2": ("I'll have the soup of the day. And a tea for my daughter.", "en-gb"),
    "order_3": ("Three teas, please. No, sorry, make that two.", "en-gb"),
    "leeds": ("The train to Leeds will today leave from the platform of the train to Hull.", "en-gb"),
    "york": ("I want to go to York, but I cannot be at the station before ten o'clock.", "en-gb"),
    "seat": ("We would like row C. The free seat that is nearest to the door, please.", "en-gb"),
    "seat_2": ("Row A, please. The seat furthest from the door.", "en-gb"),
    "walk_1": ("Start at the star. Go two squares down, and then one square to the left.", "en-gb"),
    "walk_2": ("Start at the circle. Go two squares to the right, and then one up.", "en-gb"),
    "meeting": ("The meeting begins in fifty minutes.", "en-gb"),
    "cake": (
        "My cake went into the oven twenty minutes ago. It needs three quarters of an hour in all.",
        "en-gb",
    ),
    "ring": ("Come nine days after the day with the ring.", "en-gb"),
    "ring_2": ("We leave three days before the day with the ring.", "en-gb"),
    "outing": ("I went out on the day with the second least rain.", "en-gb"),
    "wettest": ("I was at the museum on the day before the wettest one.", "en-gb"),
    "box_1": ("Take the box to the right of the green one.", "en-gb"),
    "box_2": ("The keys are in the box two places to the left of the purple one.", "en-gb"),
    "warmer": ("Yesterday it was seven degrees warmer.", "en-gb"),
    "six_guests": ("We will be six tonight.", "en-gb"),
    "two_guests": ("It is just the two of us.", "en-gb"),
    "foxes": ("The Foxes won today. A win is three points. The Owls lost.", "en-gb"),
    "member": ("Members pay a quarter less, and I am a member.", "en-gb"),
    "training": ("I have toothache, but that is for tomorrow. Today I want to train.", "en-gb"),
    "dice": ("My two dice show one more in all than yours.", "en-gb"),
    "youngest": ("I am Ruth's youngest son.", "en-gb"),
    "three_stops": ("I get on at the museum, and I get off three stops later.", "en-gb"),
    "bottle": ("Where do I put this empty bottle? It is made of glass.", "en-gb"),
    "peel": ("These are potato peelings.", "en-gb"),
    "post": ("The treasure is one post after the one where the disc stops.", "en-gb"),
    "post_2": ("Dig two posts before the one where the disc stops.", "en-gb"),
    "first_last": ("Add the first number and the last number.", "en-gb"),
    "second_third": ("Add the second number and the third number.", "en-gb"),
    "litres": ("When it is full, this tank holds fifty litres.", "en-gb"),
    "before_star": ("Which shape came right before the star?", "en-gb"),
    "first_shape": ("Which shape came first?", "en-gb"),
    "second_colour": ("Press the button that has the colour of the second sign.", "en-gb"),
    "late": ("It is half price on everything after nine o'clock. One soup of the day, please.", "en-gb"),
    "start_star": ("Begin at the star.", "en-gb"),
    "zh_box": ("qing3 na2 lv4 se4 he2 zi5 zuo3 bian1 de5 na4 ge5 he2 zi5.", PINYIN),
    "zh_meeting": ("hui4 yi4 zai4 si4 shi2 fen1 zhong1 yi3 hou4 kai1 shi3.", PINYIN),
    "zh_dice": ("wo3 de5 liang3 ge5 tou2 zi5 jia1 qi3 lai2 bi3 ni3 de5 shao3 san1 dian3.", PINYIN),
    "zh_walk": (
        "cong2 xing1 xing5 chu1 fa1, xiang4 zuo3 zou3 san1 ge2, zai4 xiang4 xia4 zou3 liang3 ge2.",
        PINYIN,
    ),
    "zh_bar": ("wo3 shuo1 de5 shi4 zui4 gao1 de5 na4 yi1 gen1 zuo3 bian1 de5 na4 yi1 gen1.", PINYIN),
    "zh_numbers": ("ba3 di4 yi1 ge5 shu4 he2 di4 san1 ge5 shu4 jia1 qi3 lai2.", PINYIN),
    "zh_shape": ("xing1 xing5 qian2 mian4 chu1 xian4 de5 shi4 shen2 me5 xing2 zhuang4?", PINYIN),
    "zh_colder": ("zuo2 tian1 bi3 jin1 tian1 di1 liu4 du4.", PINYIN),
    "zh_order": ("wo3 yao4 liang3 bei1 cha2.", PINYIN),
    "zh_stop": ("wo3 zai4 xue2 xiao4 shang4 che1, zuo4 liang3 zhan4 xia4 che1.", PINYIN),
}

TONES: dict[str, Maker] = {
    "beeps_2": lambda: s.beeps(2),
    "beeps_3": lambda: s.beeps(3),
    "beeps_6": lambda: s.beeps(6),
    "key_k": lambda: s.keyed("-.-"),
    "key_u": lambda: s.keyed("..-"),
    "key_w": lambda: s.keyed(".--"),
    "hill": lambda: s.melody([0.2, 0.8, 0.2]),
    "valley": lambda: s.melody([0.8, 0.2, 0.8]),
    "climb": lambda: s.melody([0.2, 0.5, 0.8]),
    "rhythm_2": lambda: s.keyed(".-.-"),
    "rhythm_4": lambda: s.keyed("-..-"),
    "bell_4": lambda: s.strokes(4),
    "bell_9": lambda: s.strokes(9),
    "knocks_5": lambda: s.knocks(5, 1),
    "knocks_4": lambda: s.knocks(4, 2),
    "pad_312": lambda: s.row([s.tone(f, 0.4) for f in (s.HIGH, s.LOW, s.MIDDLE)], 0.2),
    "pad_223": lambda: s.row([s.tone(f, 0.4) for f in (s.MIDDLE, s.MIDDLE, s.HIGH)], 0.2),
    "fading": lambda: s.swelling([0.6, 0.3, 0.0]),
    "arch": lambda: s.swelling([0.0, 0.6, 0.0]),
    "hits_5": lambda: s.knocks(5, 3),
}

CLIPS: dict[str, Maker] = {
    "bounces_3": lambda: d.bouncing(3),
    "colours": lambda: d.one_by_one([d.sign("", "circle", c) for c in ("yellow", "purple", "green")]),
    "colours_2": lambda: d.one_by_one([d.sign("", "square", c) for c in ("blue", "red", "purple")]),
    "disc_c": lambda: d.disc_to(2, "ABCDE"),
    "disc_d": lambda: d.disc_to(3, "ABCDE"),
    "numbers": lambda: d.one_by_one([d.sign(n) for n in "4729"]),
    "shapes": lambda: d.one_by_one([d.sign("", name, colour) for name, colour in SHAPES]),
    "tank_60": lambda: d.filling(60),
    "flashes_4": lambda: d.one_by_one([d.sign("", "star", "red")] * 4, 4, 4),
}

SUFFIX = {"image": ".png", "audio": ".flac", "video": ".mp4"}


def made(kind: str, name: str) -> np.ndarray:
    """The medium as pixels, samples or frames."""
    if kind == "audio":
        return s.speech(*SPEECH[name]) if name in SPEECH else TONES[name]()
    return np.asarray((PICTURES if kind == "image" else CLIPS)[name]())


def encoded(kind: str, content: np.ndarray) -> bytes:
    """PNG, 16-bit FLAC or MP4."""
    if kind == "image":
        return encode_png(content)
    if kind == "video":
        return encode_mp4(content, FPS, crf=24, exact=True)
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, content, s.RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def difference(kind: str, path: Path, content: np.ndarray) -> float:
    """The largest difference between a file and new content, as a share of full scale; infinite if their
    sizes differ. For clips the mean difference, since their encoding is lossy."""
    if kind == "image":
        old, new = read_image(path) / 255, content / 255
    elif kind == "audio":
        old, new = read_audio(path, rate=s.RATE), content
    else:
        old, new = read_frames(path, len(content)).frames / 255, content / 255
    if old.shape != new.shape:
        return float("inf")
    apart = np.abs(old - new)
    return float(apart.mean() if kind == "video" else apart.max())


def media() -> dict[str, str]:
    """The kind of each medium by its name."""
    kinds = [(PICTURES, "image"), (SPEECH, "audio"), (TONES, "audio"), (CLIPS, "video")]
    return {name: kind for table, kind in kinds for name in table}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Makes the media of open/understanding.")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args(arguments)
    kinds = media()
    worst = 0
    for name in options.names or kinds:
        kind = kinds[name]
        path = MEDIA / f"{name}{SUFFIX[kind]}"
        content = made(kind, name)
        if not options.check:
            path.write_bytes(encoded(kind, content))
        elif (apart := difference(kind, path, content)) > (0.02 if kind == "video" else 1e-3):
            worst = 1
            print(f"{path.name}: differs by {apart:.3g}")
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
