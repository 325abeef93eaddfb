"""Parsers for numbers on the command line; ArgumentTypeError says what a number must be."""

from __future__ import annotations

import argparse


def whole(text: str, least: int = 0) -> int:
    """A whole number, at least `least`."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return int(text)


def at_least_one(text: str) -> int:
    """A whole number, at least 1."""
    return whole(text, 1)


def not_negative(text: str) -> float:
    """A finite number, at least 0."""
    amount = number(text)
    if not 0 <= amount < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return amount


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
