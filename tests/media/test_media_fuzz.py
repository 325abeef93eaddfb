"""Thousands of broken and hostile media: each is a medium or one MediaError, and hurts nobody."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eval_anything.content import Modality
from eval_anything.media import (
    MediaError,
    check_decodes,
    media_part,
    probe,
    read_audio,
    read_frames,
    read_image,
)
from eval_anything.media.pool import pool
from tests.support.lanes import full
from tests.support.media_corpus import Mutant, modality_of, mutants, polyglots

SEED = 20
OF_EACH = 128 if full("corpus") else 32
# A busy machine takes its time; what hangs takes MAX_DECODE_SECONDS, four times as long.
LONGEST_S = 15.0
LARGEST_GROWTH = 96 * 2**20


def resident(pid: int | str = "self") -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def outcome(folder: Path, number: int, mutant: Mutant) -> tuple[str, float]:
    """ "" for a medium, or why it is none; and the seconds that took."""
    path = folder / f"{number}-{mutant.name}"
    path.write_bytes(mutant.data)
    start = time.perf_counter()
    reason = ""
    try:
        part = media_part(path, modality_of(mutant.name))
        check_decodes(part)
        probe(path)
        if part.modality is Modality.IMAGE:
            assert read_image(path).shape[2] == 3
        elif part.modality is Modality.AUDIO:
            assert abs(read_audio(path, 8000)).max() < float("inf")
        else:
            assert 1 <= len(read_frames(path, 3).frames) <= 3
    except MediaError as error:
        reason = str(error)
        assert str(path) in reason
    finally:
        seconds = time.perf_counter() - start
        path.unlink()
    return reason, seconds


@pytest.mark.corpus
@pytest.mark.slow
def test_media_that_are_broken_on_purpose(tmp_path: Path) -> None:
    corpus = list(mutants(SEED, OF_EACH))
    assert len(corpus) >= 16 * OF_EACH
    for number, mutant in enumerate(corpus[:50]):  # what is loaded once
        outcome(tmp_path, number, mutant)
    gc.collect()
    before = resident()
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda job: outcome(tmp_path, *job), enumerate(corpus)))
    gc.collect()
    took = time.perf_counter() - start
    growth = resident() - before
    slowest, seconds = max(zip(corpus, (s for _, s in found), strict=True), key=lambda item: item[1])
    refused = sum(bool(reason) for reason, _ in found)
    crashed = [m.label for m, (reason, _) in zip(corpus, found, strict=True) if "crashed" in reason]
    print(
        f"{len(corpus)} media in {took:.0f} s: {refused} refused, crashed: {crashed}; {growth >> 20} MiB"
    )
    assert seconds < LONGEST_S, (slowest.label, slowest.name, seconds)
    assert growth < LARGEST_GROWTH
    assert 0.3 * len(corpus) < refused < 0.95 * len(corpus)
    for mutant, (reason, _) in zip(corpus, found, strict=True):
        if mutant.label == "empty" or mutant.label.startswith(("magic", "60k", "2^31 x", "a sample is")):
            assert reason, (mutant.label, mutant.name)
    assert len(pool().processes()) <= 4


@pytest.mark.parametrize("mutant", list(polyglots()), ids=lambda mutant: mutant.label)
def test_a_medium_that_is_something_else_too_is_the_medium(tmp_path: Path, mutant: Mutant) -> None:
    assert outcome(tmp_path, 0, mutant)[0] == ""
