"""The most frequent reasons why samples of a run have no usable answer or score.

Reasons that differ only in ids, numbers, hashes, addresses or paths are one, in its most frequent
wording (`files/wording.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import UNSET

from eval_anything.evaluation.pipeline import Pending
from eval_anything.files.wording import wording_key
from eval_anything.judges.assemble import TaskScorers
from eval_anything.output.tables import printable
from eval_anything.runs.directory import Outline
from eval_anything.runs.results_file import Reason, Results

_MOST, _MOST_SAMPLES, _MOST_WORDINGS = 100, 20, 1000


_LONGEST = 500


_LINES_AN_OUTCOME, _LONGEST_LINE, _SAMPLES_A_LINE = 5, 200, 10


class _Case(NamedTuple):
    """One sample with a reason: its identity in the run, the fields of a `Reason`, and the wording."""

    task: str
    sample_id: str
    fields: Mapping[str, str]
    message: str


def reasons_of(
    records: Mapping[str, Iterable[Outline]], scorers: Mapping[str, TaskScorers], pending: Pending
) -> list[Reason]:
    """Reasons of all samples of a run, the most frequent first, at most 100.

    A judge without a model gives no reasons: its scores are not expected.

    Args:
        records: the records of each task; those of one sample follow each other.
        scorers: the scorers of each task.
        pending: the samples that are not on record because a server failed.
    """
    groups: dict[tuple[str, ...], _Group] = {}
    for case in _cases(records, scorers, pending):
        key = (*case.fields.values(), wording_key(case.message, case.sample_id))
        groups.setdefault(key, _Group(case.fields)).add(case)
    reasons = [group.reason() for group in groups.values()]
    return sorted(reasons, key=lambda reason: -reason.count)[:_MOST]


def _cases(
    records: Mapping[str, Iterable[Outline]], scorers: Mapping[str, TaskScorers], pending: Pending
) -> Iterator[_Case]:
    for task, outlines in records.items():
        silent = {scorer.name for scorer in scorers[task].scorers if not scorer.available}
        judges = {scorer.name for scorer in scorers[task].scorers} - silent
        for outline in outlines:
            if outline.error is not None:
                kind = outline.error.kind
                fields = {"outcome": "failed", "kind": kind} if outline.failed else {"outcome": kind}
                yield _Case(task, outline.sample_id, fields, outline.error.message)
                continue
            for score in outline.scores.values():
                if score.value is None and score.judge in judges:
                    fields = {"outcome": "unscored", "judge": score.judge}
                    yield _Case(task, outline.sample_id, fields, score.explanation or "no reason")
    for (task, sample_id), message in sorted(pending.samples.items()):
        yield _Case(task, sample_id, {"outcome": "pending"}, message)


class _Group:
    """The samples of one reason: their number, the first of them, and the wordings."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields
        self._count = 0
        self._last = ""
        self._first: list[str] = []
        self._wordings: Counter[str] = Counter()

    def add(self, case: _Case) -> None:
        """Adds a sample; another case of the last one is no further sample."""
        sample = f"{case.task}:{case.sample_id}"
        if sample != self._last:
            self._last = sample
            self._count += 1
            if len(self._first) < _MOST_SAMPLES:
                self._first.append(sample)
        if case.message in self._wordings or len(self._wordings) < _MOST_WORDINGS:
            self._wordings[case.message] += 1

    def reason(self) -> Reason:
        """The reason in its most frequent wording."""
        fields: dict[str, Any] = {"kind": UNSET, "judge": UNSET, **self._fields}
        message = printable(self._wordings.most_common(1)[0][0])
        if len(message) > _LONGEST:
            message = message[:_LONGEST] + " …"
        return Reason(count=self._count, message=message, samples=self._first, **fields)


def reason_lines(results: Results) -> list[str]:
    """Lines for people: the most frequent reasons of each outcome with their counts, and the ids of
    samples that a server failed."""
    lines: list[str] = []
    lines_of: Counter[str] = Counter()
    for reason in results.reasons:
        lines_of[reason.outcome] += 1
        if lines_of[reason.outcome] <= _LINES_AN_OUTCOME:
            text = reason.text
            text = text if len(text) <= _LONGEST_LINE else text[:_LONGEST_LINE] + " …"
            lines.append(f"  {reason.count} x {text}{_ids(reason)}")
    left_out = len(results.reasons) - len(lines)
    if left_out:
        lines.append(f"  and {left_out} more reasons in results.json")
    return ["\nreasons:", *lines] if lines else []


def _ids(reason: Reason) -> str:
    """The samples of a reason of a server, in brackets."""
    if reason.outcome not in ("pending", "skipped"):
        return ""
    ids = [printable(sample) for sample in reason.samples[:_SAMPLES_A_LINE]]
    return f" ({', '.join(ids)}{', ...' if reason.count > len(ids) else ''})"
