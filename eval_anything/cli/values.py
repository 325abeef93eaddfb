"""Parsers for words and numbers on the command line; ArgumentTypeError says what one must be."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

from eval_anything.errors import near


def whole(text: str, least: int = 0) -> int:
    """A whole number, at least `least`."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return int(text)


def at_least_one(text: str) -> int:
    """A whole number, at least 1."""
    return whole(text, 1)


def within(least: float | None, above: float | None, most: float | None) -> Callable[[str], float]:
    """A parser for a finite number: at least `least`, above `above` and at most `most`, if they are not
    None."""
    lowest = f"from {least:g}" if least is not None else f"above {above:g}" if above is not None else ""
    bounds = f"{lowest} {f'to {most:g}' if most is not None else 'on'}"

    def parse(text: str) -> float:
        parsed = number(text)
        if (
            not math.isfinite(parsed)
            or (least is not None and parsed < least)
            or (above is not None and parsed <= above)
            or (most is not None and parsed > most)
        ):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {bounds}")
        return parsed

    return parse


def share(text: str) -> float:
    """A number from 0 to 1."""
    fraction = number(text)
    if not 0 <= fraction <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share, 0 to 1")
    return fraction


def number(text: str) -> float:
    """Any number that `float` reads."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def one_of(words: Sequence[str]) -> Callable[[str], str]:
    """A parser of one of some words.

    Example:
        >>> one_of(["processes", "ray"])("ray")
        'ray'
    """

    def parse(word: str) -> str:
        if word not in words:
            hint = near(word, words)
            raise argparse.ArgumentTypeError(f"{word!r} is not one of {', '.join(words)}.{hint}")
        return word

    return parse
