"""Samples of a run as data of the site, one task at a time.

    runs/<id>/<t>          rows of the list of all samples, with their values: `TaskSamples`
    runs/<id>/<t>-<k>      complete samples of rows `starts[k]` on: parts, explanations, errors

Rows are in the order of (sample id, repeat), so that the site does not depend on which sample was
answered first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from eval_anything.content import MediaPart, Modality, Part, Record, TextPart
from eval_anything.leaderboard.chunks import Chunks, split
from eval_anything.leaderboard.media import FILES, Media
from eval_anything.leaderboard.parts import Texts, part_for_page
from eval_anything.leaderboard.prompts import ITEM

_EXCERPT = 120


_LONGEST_ID = 200


class SampleRow(Struct, array_like=True):
    """One record. `failure` is the kind of the model's failure, or "". The keys of `values` are indices
    into `TaskSamples.metrics`; None is unscored, and a metric that does not apply has no key."""

    sample_id: str
    item: str
    repeat: int
    cluster: str
    modalities: str
    failure: str
    excerpt: str
    thumbnail: str
    values: dict[str, float | None]
    groups: dict[str, str]


class ScoredMetric(Struct):
    """A metric with values in the records."""

    name: str
    judge: str
    range: tuple[float, float]
    better: str


class TaskSamples(Struct):
    """All rows of one task of a run. Row i is in chunk k if starts[k] <= i < starts[k + 1]."""

    metrics: list[ScoredMetric]
    starts: list[int]
    rows: list[SampleRow]


def write_samples(
    records: Sequence[Record], primary: str, key: str, media: Media, chunks: Chunks
) -> tuple[TaskSamples, list[str], list[str]]:
    """Writes the chunks of one task, named `key` and `key-<k>`.

    Returns:
        The rows, the keys of all chunks written, the paths of the media files used.
    """
    records = sorted(records, key=lambda r: (r.sample_id, r.repeat))
    media.add(p for r in records for p in _all_parts(r) if isinstance(p, MediaPart))
    metrics = _metrics(records, primary)
    index_of = {metric.name: str(i) for i, metric in enumerate(metrics)}
    texts = Texts(chunks)
    files: set[str] = set()
    full_samples, thumbnails = [], []
    for record in records:
        answers = [
            [part_for_page(part, media, texts) for part in parts]
            for parts in (*record.turns, record.parts)
        ]
        page_parts = [part for parts in answers for part in parts]
        files |= {part[name] for part in page_parts for name in FILES if name in part}
        thumbnails.append(_thumbnail(page_parts))
        full_samples.append(_full_sample(record, answers, index_of, texts))
    starts, written = [], 0
    keys = []
    for k, batch in enumerate(split(full_samples)):
        starts.append(written)
        written += len(batch)
        keys.append(f"{key}-{k}")
        chunks.write(keys[-1], batch)
    rows = [_row(r, thumbnail, index_of) for r, thumbnail in zip(records, thumbnails, strict=True)]
    task_samples = TaskSamples(metrics, starts, rows)
    keys += write_rows(task_samples, key, chunks)
    return task_samples, [*keys, *sorted(texts.keys)], sorted(files)


def write_rows(samples: TaskSamples, key: str, chunks: Chunks) -> list[str]:
    """Writes rows as chunks, and returns the keys. Chunk `key` holds metrics, starts, the first rows and
    `more`, the number of chunks `<key>-rows-<i>` with the other rows."""
    batches = list(split(samples.rows))
    first = batches[0] if batches else []
    head = {**msgspec.structs.asdict(samples), "rows": first, "more": max(len(batches) - 1, 0)}
    chunks.write(key, head)
    keys = [key]
    for i, rows in enumerate(batches[1:]):
        keys.append(f"{key}-rows-{i}")
        chunks.write(keys[-1], rows)
    return keys


class _Head(TaskSamples):
    more: int


def read_rows(key: str, chunks: Chunks) -> TaskSamples:
    """Reads the rows that `write_rows` wrote."""
    head = chunks.read(key, _Head)
    for i in range(head.more):
        head.rows += chunks.read(f"{key}-rows-{i}", list[SampleRow])
    return head


def _metrics(records: Sequence[Record], primary: str) -> list[ScoredMetric]:
    metrics: dict[str, ScoredMetric] = {}
    for record in records:
        for name, score in record.scores.items():
            if name not in metrics:
                metrics[name] = ScoredMetric(name, score.judge, score.range, score.better)
    return sorted(metrics.values(), key=lambda m: (m.name != primary, m.name))


def _all_parts(record: Record) -> tuple[Part, ...]:
    """Parts of the responses to all turns, in their order."""
    return tuple(part for parts in (*record.turns, record.parts) for part in parts)


def _thumbnail(parts: Sequence[dict[str, Any]]) -> str:
    pictures = (part.get("th") or (part.get("f", "") if part["m"] == "image" else "") for part in parts)
    return next(filter(None, pictures), "")


def _row(record: Record, thumbnail: str, index_of: dict[str, str]) -> SampleRow:
    parts = _all_parts(record)
    modalities = "".join(m[0] for m in Modality if any(p.modality is m for p in parts))
    text = next((p.text for p in parts if isinstance(p, TextPart)), "")
    return SampleRow(
        sample_id=_short(record.sample_id),
        item=record.item[:ITEM],
        repeat=record.repeat,
        cluster=_short(record.source_id),
        modalities=modalities,
        failure=record.error.kind if record.error is not None else "",
        excerpt=" ".join(text[: 4 * _EXCERPT].split())[:_EXCERPT],
        thumbnail=thumbnail,
        values={index_of[name]: score.value for name, score in record.scores.items()},
        groups=record.groups,
    )


def _full_sample(
    record: Record, answers: list[list[dict[str, Any]]], index_of: dict[str, str], texts: Texts
) -> dict[str, Any]:
    """A record's data for its page: p, parts; t, parts of the answers to earlier turns; s, value and
    explanation by the metric's index; e, failure; l, seconds; u, tokens; stop, the stop reason; o, true
    if the order of the parts is known; d, details that the model adds, as JSON."""
    fields: dict[str, Any] = {
        "p": answers[-1],
        "s": {
            index_of[name]: [score.value, texts.for_page(score.explanation)]
            for name, score in record.scores.items()
        },
        "l": record.latency,
        "u": record.usage,
        "stop": record.stop_reason,
        "o": record.order_known,
    }
    if record.turns:
        fields["t"] = answers[:-1]
    if record.error is not None:
        fields["e"] = [record.error.kind, texts.for_page(record.error.message)]
    if record.details:
        fields["d"] = texts.for_page(
            msgspec.json.format(msgspec.json.encode(record.details, order="sorted")).decode()
        )
    return fields


def _short(id_: str) -> str:
    """The id, or for a long one its beginning and a hash that keeps it unique."""
    if len(id_) <= _LONGEST_ID:
        return id_
    return f"{id_[:_LONGEST_ID]}… {hashlib.sha256(id_.encode()).hexdigest()[:12]}"
