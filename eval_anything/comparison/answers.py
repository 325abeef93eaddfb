"""The share of samples to which two runs give the same answer, and in what the others differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from eval_anything.answer_text import answer_text
from eval_anything.comparison.sides import Side
from eval_anything.content import Part, Record, TextPart
from eval_anything.runs.directory import read_run
from eval_anything.statistics.intervals import mean_interval

DIFFERENCES = ("white space", "cut character", "control token", "text", "media", "failure")
"""Kinds of differences between two answers: of the text only white space at its ends, then also a
character that was cut there, then also a control token there, or other words; media; one failed."""


class SameAnswers(Struct, frozen=True):
    """The share of answers to a task that are the same in two runs, with its interval over clusters of
    samples; and the number of those that differ, by kind (`DIFFERENCES`)."""

    task: str
    n: int
    equal: float
    ci95: tuple[float, float]
    kinds: dict[str, int]


def same_answers(base: Side, candidate: Side, task: str) -> SameAnswers | None:
    """Compares the answers to all samples that both runs have; None if there is none."""
    earlier = {(r.sample_id, r.item, r.repeat): r for r in read_run(base.path, task)}
    kinds: list[str | None] = []
    clusters: list[str] = []
    for record in read_run(candidate.path, task):
        other = earlier.get((record.sample_id, record.item, record.repeat))
        if other is not None:
            kinds.append(difference(other, record))
            clusters.append(other.source_id)
    if not kinds:
        return None
    share = mean_interval([float(kind is None) for kind in kinds], clusters, (0.0, 1.0))
    counts = Counter(kind for kind in kinds if kind is not None)
    listed = {kind: counts[kind] for kind in DIFFERENCES if counts[kind]}
    return SameAnswers(task, len(kinds), share.value, (share.low, share.high), listed)


def difference(base: Record, candidate: Record) -> str | None:
    """The kind of the difference between two answers, the least that explains it; None if they are the
    same."""
    errors = [record.error.kind if record.error is not None else None for record in (base, candidate)]
    if errors[0] != errors[1]:
        return "failure"
    answers = [[*record.turns, record.parts] for record in (base, candidate)]
    media = [
        [part.key for parts in answer for part in parts if not isinstance(part, TextPart)]
        for answer in answers
    ]
    if media[0] != media[1]:
        return "media"
    first, second = ([_text(parts) for parts in answer] for answer in answers)
    if first == second:
        return None
    rules = (
        ("white space", str.strip),
        ("cut character", lambda text: text.strip().rstrip("\ufffd").strip()),
        ("control token", answer_text),
    )
    for kind, rule in rules:
        if [rule(text) for text in first] == [rule(text) for text in second]:
            return kind
    return "text"


def _text(parts: Sequence[Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextPart))
