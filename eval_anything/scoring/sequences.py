"""Sequences of parts: normal form, and similarity to a requested sequence."""

from __future__ import annotations

from collections.abc import Sequence

from eval_anything.content import Part, TextPart


def merged_texts(parts: Sequence[Part]) -> list[Part]:
    """Parts with adjacent texts joined by a blank line, since the split of a text is not structure.

    Example:
        >>> merged_texts([TextPart("A cat."), TextPart("A dog.")])
        [TextPart(text='A cat.\\n\\nA dog.')]
    """
    merged: list[Part] = []
    for part in parts:
        if merged and isinstance(part, TextPart) and isinstance(merged[-1], TextPart):
            merged[-1] = TextPart(f"{merged[-1].text}\n\n{part.text}")
        else:
            merged.append(part)
    return merged


def likeness(expected: Sequence[str], produced: Sequence[str]) -> float:
    """Similarity of two sequences, 0..1: 1 minus the edit distance over the length of the longer one.

    ZeroDivisionError if both are empty.

    Example:
        >>> likeness("text image text".split(), "text image".split())
        0.6666666666666667
    """
    return 1 - _edit_distance(expected, produced) / max(len(expected), len(produced))


def _edit_distance(source: Sequence[str], target: Sequence[str]) -> int:
    """Fewest insertions, deletions and replacements that turn source into target (Levenshtein 1966)."""
    row = list(range(len(target) + 1))
    for i, source_symbol in enumerate(source, start=1):
        diagonal, row[0] = row[0], i
        for j, target_symbol in enumerate(target, start=1):
            replaced = diagonal + (source_symbol != target_symbol)
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, replaced)
    return row[-1]
