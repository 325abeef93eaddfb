"""Pictures of so few pixels that pages show them enlarged."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from eval_anything.media.read import probe
from eval_anything.media.sniff import MediaError

_PIXELS = 100
"""Pixels of a picture's longer side; a smaller one is enlarged, with its pixels sharp."""


_BYTES = 40_000


@cache
def is_tiny(path: Path) -> bool:
    """Whether a picture has so few pixels that it is shown larger than it is."""
    try:
        return path.stat().st_size <= _BYTES and max(probe(path).size or (_PIXELS,)) < _PIXELS
    except (MediaError, OSError):
        return False  # the page shows that it is missing
