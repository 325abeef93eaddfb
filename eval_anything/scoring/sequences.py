"""The parts of an answer as a sequence, and how near it comes to the one that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from eval_anything.content import Part, TextPart


def merged_texts(parts: Sequence[Part]) -> list[Part]:
    """The parts with adjacent texts joined: whether a text comes in pieces is no structure."""
    merged: list[Part] = []
    for part in parts:
        if merged and isinstance(part, TextPart) and isinstance(merged[-1], TextPart):
            merged[-1] = TextPart(f"{merged[-1].text}\n\n{part.text}")
        else:
            merged.append(part)
    return merged


def likeness(wanted: Sequence[str], got: Sequence[str]) -> float:
    """1 less the edit distance over the longer length, 0..1. One of the two must not be empty."""
    return 1 - _edit_distance(wanted, got) / max(len(wanted), len(got))


def _edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Insertions, deletions and replacements that make one sequence the other (Levenshtein 1966)."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, start=1):
        before, row[0] = row[0], i
        for j, right in enumerate(other, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]
