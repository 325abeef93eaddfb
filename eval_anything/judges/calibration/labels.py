"""Labels for the calibration of judges: responses with grades, and pairs with a preferred response.

A file of labels is JSONL with rows of two kinds, which may be mixed:

    {"id", "messages", "parts", "label"}             a response and its grade: higher is better
    {"id", "messages", "a", "b", "preferred"}        two responses, and "a", "b" or "tie"

Messages, parts, `contract`, `targets` and `source_id` are as in samples.jsonl; paths are relative to
the file. Without a contract every modality is allowed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from eval_anything.content import ANYTHING, Response, Sample
from eval_anything.files.hashing import sha256_of
from eval_anything.files.mistakes import Mistakes
from eval_anything.jsonl import json_message, label_row_from_json, parts_from_json, read_lines

_SIDES = {"a": 1.0, "b": -1.0, "tie": 0.0}


_KEYS = ["label", "a", "b", "preferred"]


class Labelled(NamedTuple):
    """A sample with one response and its grade, or with two responses and the label 1 (the first is
    preferred), -1 (the second) or 0 (tie)."""

    sample: Sample
    responses: tuple[Response, ...]
    label: float

    @property
    def is_pair(self) -> bool:
        """Whether there are two responses."""
        return len(self.responses) == 2


class Labels(NamedTuple):
    """Labelled responses, and the name of their file."""

    name: str
    rows: list[Labelled]

    @property
    def sha256(self) -> str:
        """Hash of everything that a judge sees, and of the labels; paths are no part of it."""
        return sha256_of(
            [
                [
                    [message.key for message in row.sample.messages],
                    [row.sample.contract, row.sample.targets],
                    [[part.key for part in response.parts] for response in row.responses],
                    row.label,
                ]
                for row in self.rows
            ]
        )


def read_labels(path: Path, limit: int | None = None) -> Labels:
    """First `limit` rows of a file of labels, or all.

    FileProblemsError lists each mistake with its line, including mistakes in the rows after `limit`.
    """
    root = path.resolve().parent
    rows: list[Labelled] = []
    mistakes = Mistakes(path)
    lines: dict[str, int] = {}
    for number, row in read_lines(
        path, mistakes, lambda line, _: _row(line, root), partial(json_message, extra_keys=_KEYS)
    ):
        first = lines.setdefault(row.sample.id, number)
        if first != number:
            mistakes.add_line(number, f"id {row.sample.id!r} is already on line {first}: rename it")
        rows.append(row)
    if not rows and not mistakes:
        mistakes.add("holds no labels: add a line for each")
    mistakes.check()
    return Labels(path.name, rows[:limit])


def _row(line: bytes, root: Path) -> Labelled:
    row, sample = label_row_from_json(line, root, ANYTHING)
    answers = [parts for parts in (row.parts, row.a, row.b) if parts is not None]
    responses = tuple(Response(parts_from_json(parts, root)) for parts in answers)
    if row.preferred is not None:
        return Labelled(sample, responses, _SIDES[row.preferred])
    assert row.label is not None
    return Labelled(sample, responses, row.label)
