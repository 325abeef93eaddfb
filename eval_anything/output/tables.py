"""Tables: plain text for terminals, and Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence


def escape(text: str) -> str:
    """Text for a Markdown cell: markup is escaped, white space becomes single spaces."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", " ".join(text.split()))


def printable(text: str) -> str:
    """A text on one line, without characters that control a terminal.

    Example:
        >>> printable("red\\x1b[31m\\n text")
        'red\ufffd[31m text'
    """
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> str:
    """A Markdown table; the columns numbered in `right` (from 0) are right-aligned."""
    rules = ["--:" if i in right else "---" for i in range(len(header))]
    lines = [[escape(cell) for cell in row] for row in [header, *rows]]
    lines.insert(1, rules)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table of columns as wide as their content; those numbered in `right` (from 0) are
    right-aligned."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join([line(header), "  ".join("-" * w for w in widths), *map(line, rows)])
