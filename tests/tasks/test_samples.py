"""Samples that are read when they are asked for, and records in their order: like those in memory."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from eval_anything.content import (
    Contract,
    FromTurn,
    MediaPart,
    Message,
    Modality,
    Sample,
    TextPart,
    Turn,
)
from eval_anything.files.hashing import sha256_of
from eval_anything.files.spool import Spool
from eval_anything.runs.directory import read_outlines
from eval_anything.runs.ordered import OrderedRecords
from eval_anything.tasks.identity import sample_content
from eval_anything.tasks.samples import ListedSamples, Samples, StoredSamples
from tests.support.paths import BASELINE

PICTURE = MediaPart(Modality.IMAGE, "ab" * 32, "image/png", Path("/somewhere/a.png"))
QUESTION = Message("user", (TextPart("What is \ufffd?"), PICTURE))
TEXT, EITHER = Contract(required=(Modality.TEXT,)), Contract(allowed=(Modality.TEXT, Modality.AUDIO))
SAMPLES = [
    Sample("a", (QUESTION,), TEXT, {"answer": [1, 2.5, None, True, 10**30]}, {"half": 1}, "cluster"),
    Sample("b", (Message("system", (TextPart("Be brief."),)), QUESTION), EITHER),
    Sample("c", (QUESTION,), TEXT, turns=(Turn((FromTurn(Modality.TEXT, 1), PICTURE), fresh=True),)),
    Sample("d", (Message("user", (TextPart("x" * 300),)),), TEXT, metadata={"none": None}),
]


def stored(samples: list[Sample]) -> StoredSamples:
    made = StoredSamples()
    for sample in samples:
        made.add(sample)
    return made


@pytest.mark.parametrize("make", [ListedSamples, stored])
def test_samples_come_back_as_they_were(make: type[ListedSamples]) -> None:
    samples: Samples = make(SAMPLES)
    assert list(samples) == SAMPLES
    assert [samples[i] for i in (3, -1, 0)] == [SAMPLES[3], SAMPLES[3], SAMPLES[0]]
    assert list(samples[1:3]) == SAMPLES[1:3]
    assert list(samples.ids) == ["a", "b", "c", "d"]
    assert dict(samples.by_id) == {sample.id: sample for sample in SAMPLES}
    assert "x" not in samples.by_id
    assert [samples.length(i) for i in range(4)] == [110, 119, 110, 300]
    assert samples.inputs(2) == (Modality.TEXT, Modality.IMAGE)
    assert [samples.outputs(i) for i in range(2)] == [(Modality.TEXT,), ()]
    odd = samples.some([3, 1])
    assert list(odd) == [SAMPLES[3], SAMPLES[1]]
    assert (odd.numbers, odd.length(0), odd.inputs(1)) == ({"d": 0, "b": 1}, 300, samples.inputs(1))
    assert samples.some(range(4)) is samples
    with pytest.raises(IndexError):
        samples[4]


def test_the_fingerprint_is_that_of_all_samples_at_once() -> None:
    samples = [SAMPLES[1], SAMPLES[2], SAMPLES[3]]
    expected = sha256_of([sample_content(sample) for sample in samples])
    assert stored(samples).fingerprint == ListedSamples(samples).fingerprint == expected
    assert stored([]).fingerprint == sha256_of([])


def test_numbers_that_are_none_stay_what_they_are() -> None:
    [sample] = stored([Sample("a", (QUESTION,), TEXT, {"x": [math.nan, -math.inf]})])
    assert math.isnan(sample.targets["x"][0])
    assert sample.targets["x"][1] == -math.inf


def test_a_spool_reads_what_it_has_written() -> None:
    spool = Spool()
    pieces = [bytes([i % 256]) * (i * 997 % 70_000) for i in range(60)]  # 2 MB, some empty
    assert [spool.append(piece) for piece in pieces] == list(range(60))
    assert [spool[i] for i in range(60)] == pieces
    assert len(spool) == 60


def test_records_in_order_are_the_newest_of_each_sample(tmp_path: Path) -> None:
    task = "micro/selection"
    log = tmp_path / task / "records.jsonl"
    log.parent.mkdir(parents=True)
    lines = (BASELINE / task / "records.jsonl").read_bytes().splitlines(keepends=True)[:6]
    older = lines[2].replace(b'"stop_reason":"stop"', b'"stop_reason":"x"')
    log.write_bytes(b"".join([older, *lines[::-1], b"torn"]))
    outlines = read_outlines(tmp_path, task)
    numbers = {outline.sample_id: i for i, outline in enumerate(sorted(outlines, key=str))}
    del numbers[max(numbers, key=lambda id_: numbers[id_])]
    seen: list[str] = []
    ordered = OrderedRecords(tmp_path, task, numbers, on_line=lambda o: seen.append(o.sample_id))
    assert list(ordered) == sorted(outlines, key=str)[:5]
    assert len(seen) == 7
    assert [ordered.place(i) for i in range(5)] == [(i, 0) for i in range(5)]
    assert list(OrderedRecords(tmp_path, "none/such", numbers)) == []
