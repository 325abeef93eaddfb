"""The samples of a run as data of the site, a task at a time.

    runs/<id>/<t>          what a list of all samples shows, and their values: `TaskSamples`
    runs/<id>/<t>-<k>      the whole samples of rows `starts[k]` on: parts, explanations, errors

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
from eval_anything.leaderboard.media import Media
from eval_anything.leaderboard.parts import Texts, shown_part
from eval_anything.leaderboard.prompts import ITEM

_EXCERPT = 120


_LONGEST_ID = 200


class SampleRow(Struct, array_like=True):
    """One record. `failure` is the kind of the model's failure, or "". `values` are by the metric's
    place in the task, as a string; None is unscored, and a metric that does not apply is not there."""

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


class MetricOf(Struct):
    """A metric with values in the records."""

    name: str
    judge: str
    range: tuple[float, float]
    better: str


class TaskSamples(Struct):
    """All rows of one task of a run. Row i is in chunk k if starts[k] <= i < starts[k + 1]."""

    metrics: list[MetricOf]
    starts: list[int]
    rows: list[SampleRow]


def write_samples(
    records: Sequence[Record], primary: str, key: str, media: Media, chunks: Chunks
) -> tuple[TaskSamples, list[str], list[str]]:
    """Writes the chunks of one task, named `key` and `key-<k>`. The rows, the keys of all chunks, the
    files of media."""
    records = sorted(records, key=lambda r: (r.sample_id, r.repeat))
    media.add(p for r in records for p in _given(r) if isinstance(p, MediaPart))
    metrics = _metrics(records, primary)
    place = {metric.name: str(i) for i, metric in enumerate(metrics)}
    texts = Texts(chunks)
    files: set[str] = set()
    whole, thumbnails = [], []
    for record in records:
        answers = [
            [shown_part(part, media, texts) for part in parts] for parts in (*record.turns, record.parts)
        ]
        shown = [part for parts in answers for part in parts]
        files |= {part[name] for part in shown for name in ("f", "th") if name in part}
        thumbnails.append(_thumbnail(shown))
        whole.append(_whole(record, answers, place, texts))
    starts, written = [], 0
    keys = []
    for k, part in enumerate(split(whole)):
        starts.append(written)
        written += len(part)
        keys.append(f"{key}-{k}")
        chunks.write(keys[-1], part)
    rows = [_row(r, thumbnail, place) for r, thumbnail in zip(records, thumbnails, strict=True)]
    found = TaskSamples(metrics, starts, rows)
    keys += write_rows(found, key, chunks)
    return found, [*keys, *sorted(texts.keys)], sorted(files)


def write_rows(found: TaskSamples, key: str, chunks: Chunks) -> list[str]:
    """`key` has metrics, starts, the first rows, and `more`: how many `<key>-rows-<i>` have the rest."""
    parts = list(split(found.rows))
    first = parts[0] if parts else []
    head = {**msgspec.structs.asdict(found), "rows": first, "more": max(len(parts) - 1, 0)}
    chunks.write(key, head)
    keys = [key]
    for i, rows in enumerate(parts[1:]):
        keys.append(f"{key}-rows-{i}")
        chunks.write(keys[-1], rows)
    return keys


class _Head(TaskSamples):
    more: int


def read_rows(key: str, chunks: Chunks) -> TaskSamples:
    """What `write_rows` wrote."""
    head = chunks.read(key, _Head)
    for i in range(head.more):
        head.rows += chunks.read(f"{key}-rows-{i}", list[SampleRow])
    return head


def _metrics(records: Sequence[Record], primary: str) -> list[MetricOf]:
    found: dict[str, MetricOf] = {}
    for record in records:
        for name, score in record.scores.items():
            if name not in found:
                found[name] = MetricOf(name, score.judge, score.range, score.better)
    return sorted(found.values(), key=lambda m: (m.name != primary, m.name))


def _given(record: Record) -> tuple[Part, ...]:
    """All that the model gave, of all turns in their order."""
    return tuple(part for parts in (*record.turns, record.parts) for part in parts)


def _thumbnail(parts: Sequence[dict[str, Any]]) -> str:
    pictures = (part.get("th") or (part.get("f", "") if part["m"] == "image" else "") for part in parts)
    return next(filter(None, pictures), "")


def _row(record: Record, thumbnail: str, place: dict[str, str]) -> SampleRow:
    given = _given(record)
    modalities = "".join(m[0] for m in Modality if any(p.modality is m for p in given))
    text = next((p.text for p in given if isinstance(p, TextPart)), "")
    return SampleRow(
        sample_id=_short(record.sample_id),
        item=record.item[:ITEM],
        repeat=record.repeat,
        cluster=_short(record.source_id),
        modalities=modalities,
        failure=record.error.kind if record.error is not None else "",
        excerpt=" ".join(text[: 4 * _EXCERPT].split())[:_EXCERPT],
        thumbnail=thumbnail,
        values={place[name]: score.value for name, score in record.scores.items()},
        groups=record.groups,
    )


def _whole(
    record: Record, answers: list[list[dict[str, Any]]], place: dict[str, str], texts: Texts
) -> dict[str, Any]:
    """p: parts; t: those of the answers to earlier turns, if there were any; s: value and explanation by
    the metric's place; e: failure; l: seconds; u: tokens; stop; o: whether the order of parts is known;
    d: what the model adds, as JSON."""
    found: dict[str, Any] = {
        "p": answers[-1],
        "s": {
            place[name]: [score.value, texts.shown(score.explanation)]
            for name, score in record.scores.items()
        },
        "l": record.latency,
        "u": record.usage,
        "stop": record.stop_reason,
        "o": record.order_known,
    }
    if record.turns:
        found["t"] = answers[:-1]
    if record.error is not None:
        found["e"] = [record.error.kind, texts.shown(record.error.message)]
    if record.details:
        found["d"] = texts.shown(
            msgspec.json.format(msgspec.json.encode(record.details, order="sorted")).decode()
        )
    return found


def _short(id_: str) -> str:
    """An id that lists can hold, and still no other's."""
    if len(id_) <= _LONGEST_ID:
        return id_
    return f"{id_[:_LONGEST_ID]}… {hashlib.sha256(id_.encode()).hexdigest()[:12]}"
