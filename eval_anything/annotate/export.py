"""Exports a file of annotations: labels for judges, votes for tasks, rows for training.

The files are written beside X.jsonl and use its media:

    X.labels.jsonl      grades and preferences, for `judges calibrate --labels`
    X.votes.jsonl       shares of votes for each sample, in the form of a task's `targets.votes`
    X.pairs.jsonl       preferences as preference pairs, for training
    X.feedback.jsonl    critiques as rows of feedback, for training
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from eval_anything.annotate.log import Annotation, latest_answers, read_annotations
from eval_anything.errors import UserError
from eval_anything.files.writing import write_atomically


def export(path: Path) -> dict[str, Path]:
    """Writes an export for each kind of answer in a file of annotations, and deletes those of an earlier
    export that would be empty now.

    Returns:
        The files written by their kind: "labels", "votes", "pairs", "feedback".
    """
    annotations = latest_answers(read_annotations(path))
    rows = {
        "labels": _labels(annotations),
        "votes": _votes(annotations),
        "pairs": _pairs(annotations),
        "feedback": _feedback(annotations),
    }
    written = {}
    for name, kind_rows in rows.items():
        target = path.with_name(f"{path.stem}.{name}.jsonl")
        if kind_rows:
            write_atomically(target, b"".join(msgspec.json.encode(row) + b"\n" for row in kind_rows))
            written[name] = target
        else:
            target.unlink(missing_ok=True)
    return written


def check_name(path: Path) -> None:
    """Raises UserError for a path that has no name of a file of annotations, or that of an export."""
    if path.suffix != ".jsonl" or path.stem.endswith((".labels", ".votes", ".pairs", ".feedback")):
        raise UserError(
            f"{path}: a file of annotations is called X.jsonl; X.labels.jsonl, X.votes.jsonl, "
            "X.pairs.jsonl and X.feedback.jsonl are made from it"
        )


def _labels(annotations: Sequence[Annotation]) -> list[dict[str, Any]]:
    rows = []
    labelled: dict[tuple[str, str, int], set[str]] = {}
    for a in annotations:
        if a.chosen is not None:
            stratum = (a.task, a.chosen.metric, a.chosen.stratum)
            labelled.setdefault(stratum, set()).add(a.sample_id)
    for a in annotations:
        row = _common(a) | {"contract": a.contract, "targets": a.targets}
        if a.chosen is not None:
            count = len(labelled[a.task, a.chosen.metric, a.chosen.stratum])
            row["metadata"]["annotation"] |= {
                "metric": a.chosen.metric,
                "probability": count / a.chosen.of,
            }
        if a.kind == "grade":
            rows.append(row | {"parts": a.responses[0].parts, "label": a.grade})
        elif a.kind == "preference":
            first, second = a.responses
            rows.append(row | {"a": first.parts, "b": second.parts, "preferred": a.preferred})
    return rows


def _pairs(annotations: Iterable[Annotation]) -> list[dict[str, Any]]:
    rows = []
    for a in annotations:
        if a.kind == "preference":
            first, second = a.responses[::-1] if a.preferred == "b" else a.responses
            tie = {"margin": 0.0} if a.preferred == "tie" else {}
            rows.append(_common(a) | {"chosen": first.parts, "rejected": second.parts} | tie)
    return rows


def _feedback(annotations: Iterable[Annotation]) -> list[dict[str, Any]]:
    return [
        _common(a) | {"response": a.responses[0].parts, "critique": a.critique}
        for a in annotations
        if a.critique
    ]


def _common(a: Annotation) -> dict[str, Any]:
    """Fields of every row: annotator, sample and prompt. `id` differs between annotators and responses;
    `source_id` is the sample's own, so that answers about one sample stay one cluster."""
    source: dict[str, Any] = {
        "annotator": a.annotator,
        "time": a.time,
        "task": a.task,
        "sample_id": a.sample_id,
        "item": a.item,
        "responses": [response.name for response in a.responses],
    }
    if a.scale is not None:
        source["scale"] = a.scale
    return {
        "id": f"{a.sample_id}/{a.key[:12]}/{a.annotator}",
        "source_id": a.source_id,
        "messages": a.messages,
        "metadata": a.metadata | {"annotation": source},
    }


def _votes(annotations: Iterable[Annotation]) -> list[dict[str, Any]]:
    samples: dict[tuple[str, str, str], list[Annotation]] = {}
    for a in annotations:
        if a.kind == "vote":
            samples.setdefault((a.task, a.sample_id, a.item), []).append(a)
    rows = []
    for (task, sample_id, item_id), votes in samples.items():
        counts = Counter(a.vote for a in votes if a.vote is not None)
        shares = {vote: count / len(votes) for vote, count in counts.most_common()}
        about = {
            "task": task,
            "item": item_id,
            "votes": len(votes),
            "annotators": [a.annotator for a in votes],
        }
        rows.append({"id": sample_id, "targets": {"votes": shares}, "metadata": about})
    return rows
