"""Colours of text for people on a terminal: verdicts, and the heads of tables.

There are none where output goes into a file or a pipe, where NO_COLOR is set (https://no-color.org) and
where TERM is dumb.
"""

from __future__ import annotations

import os
import re
from typing import TextIO

_BOLD, _DIM, _RED, _GREEN, _YELLOW = "1", "2", "31", "32", "33"


_WORDS = {
    "PASS": _GREEN,
    "WARN": _YELLOW,
    "INCONCLUSIVE": _YELLOW,
    "unscored": _YELLOW,
    "BLOCK": _RED,
    "INVALID": _RED,
    "MISSING": _RED,
    "error:": _RED,
}


_COLOURED = re.compile(
    r"^(?P<head>\S.*)\n(?P<rule>-+(?:  -+)+)$|(?<!\S)(?P<word>" + "|".join(_WORDS) + r")(?=[\s:]|$)",
    re.MULTILINE,
)


def coloured(text: str, stream: TextIO | None) -> str:
    """The text for a stream: with colours if it is a terminal that shows them."""
    return _COLOURED.sub(_paint, text) if _shows_colours(stream) else text


def _shows_colours(stream: TextIO | None) -> bool:
    if stream is None or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def _paint(match: re.Match[str]) -> str:
    if match["word"]:
        return _code(_WORDS[match["word"]], match["word"])
    return f"{_code(_BOLD, match['head'])}\n{_code(_DIM, match['rule'])}"


def _code(codes: str, text: str) -> str:
    return f"\x1b[{codes}m{text}\x1b[0m"
