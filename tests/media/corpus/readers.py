"""Our readers against the truth: each one's outcome for a file of the corpus."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eval_anything.content import Modality
from eval_anything.media import (
    MediaError,
    check_decodes,
    media_part,
    probe,
    read_audio,
    read_frames,
    read_image,
    read_sound,
    read_video,
    sniff,
)
from eval_anything.media.frames import decord_frames, pyav_frames
from eval_anything.media.sniff import kind_of_file
from eval_anything.media.sounds import _is_vorbis
from eval_anything.media.timeline import read_timeline
from tests.media.corpus import truth
from tests.media.corpus.specimen import Bound, Specimen

EQUAL, REFUSED, LEFT, WRONG = "equal", "refused", "left", "wrong"
"""Equal to the truth; rightly refused, with its reason; left to another reader; anything else."""

_SOUND_OF_CLIPS = Bound("the sound of clips", most=1e-4, mean=1e-5)
_RATE = 16000
_COUNT = 8
_TIME = 0.0011  # seconds: containers count in thousandths


class Outcome(NamedTuple):
    """One reader's result with one file: one of the four above, and a reason."""

    reader: str
    name: str
    state: str
    reason: str = ""


def outcomes(specimen: Specimen, folder: Path) -> list[Outcome]:
    """The outcome of each reader that is tried on a file."""
    path = folder / specimen.name
    library = _library(specimen.modality, path)
    if specimen.refused:
        return [Outcome(library, specimen.name, *_refusal(specimen, path))]
    expected = _TRUTHS[specimen.modality](specimen, path)
    readers = {library: _READERS[specimen.modality]}
    if specimen.modality is Modality.VIDEO:
        readers |= {"clips: decord alone": _decord, "clips: PyAV alone": _pyav}
    return [
        Outcome(reader, specimen.name, *_compared(compare, path, expected, specimen.bound))
        for reader, compare in readers.items()
    ]


def _library(modality: Modality, path: Path) -> str:
    """The library by which eval_anything.media reads a file."""
    if modality is Modality.AUDIO:
        return "sounds: soundfile" if _is_vorbis(path) else "sounds: PyAV"
    if modality is Modality.IMAGE:
        kind = sniff(path.read_bytes())
        is_heic = kind is not None and kind.mime == "image/heic"
        return "pictures: pillow-heif" if is_heic else "pictures: Pillow"
    return "clips: decord or PyAV"


def _compared(
    compare: Callable[..., Iterator[str]], path: Path, expected: object, bound: Bound
) -> tuple[str, str]:
    try:
        reason = "; ".join(compare(path, expected, bound))
    except _LeftError as error:
        return LEFT, str(error)
    except MediaError as error:
        return WRONG, str(error).replace(f"{path.parent}/", "")
    return (WRONG, reason) if reason else (EQUAL, "")


def _refusal(specimen: Specimen, path: Path) -> tuple[str, str]:
    try:
        check_decodes(media_part(path, specimen.modality))
        if specimen.modality is Modality.VIDEO:
            read_video(path)
    except MediaError as error:
        reason = str(error).replace(f"{path.parent}/", "")
        # The name of the file is no explanation.
        named = re.search(specimen.refused, reason.replace(specimen.name, ""))
        return (REFUSED, reason) if named else (WRONG, f"refused, but not by name: {reason}")
    return WRONG, "read, and should be refused"


class _LeftError(Exception):
    """A file that is another reader's."""


def _sound(path: Path, expected: truth.Sound, bound: Bound) -> Iterator[str]:
    """All that a user of eval_anything.media sees of a sound."""
    check_decodes(media_part(path, Modality.AUDIO))
    samples, rate = read_sound(path)
    yield from _same_sound(samples, rate, expected, bound)
    length = round(len(samples) * _RATE / rate)
    mono = read_audio(path, _RATE)
    if len(mono) != length:
        yield f"read_audio returns {len(mono)} samples, not {length}"
    properties = probe(path)
    if (properties.rate, properties.channels) != (rate, samples.shape[1]):
        yield f"probe says {properties.rate} Hz, {properties.channels} channels"
    seconds = len(samples) / rate
    if properties.duration is not None and abs(properties.duration - seconds) > 0.06:
        yield f"probe says {properties.duration:.3f} s, not {seconds:.3f}"


def _same_sound(samples: np.ndarray, rate: int, expected: truth.Sound, bound: Bound) -> Iterator[str]:
    if (rate, samples.shape[1]) != (expected.rate, expected.samples.shape[1]):
        yield f"{rate} Hz, {samples.shape[1]} channels"
        return
    if abs(len(samples) - len(expected.samples)) > bound.length:
        yield f"{len(samples)} samples, not {len(expected.samples)}"
    shared = min(len(samples), len(expected.samples))
    yield from _same(samples[:shared], expected.samples[:shared], bound)


def _same(values: np.ndarray, expected: np.ndarray, bound: Bound) -> Iterator[str]:
    if values.shape != expected.shape:
        yield f"shape {values.shape}, not {expected.shape}"
    elif values.size:
        difference = np.abs(values.astype(np.float64) - expected)
        if difference.max() > bound.most or difference.mean() > bound.mean:
            yield f"differs by up to {difference.max():.3g}, {difference.mean():.3g} in the mean"


def _picture(path: Path, expected: np.ndarray, bound: Bound) -> Iterator[str]:
    """All that a user of eval_anything.media sees of a picture."""
    check_decodes(media_part(path, Modality.IMAGE))
    yield from _same(read_image(path), expected, bound)
    size = expected.shape[1::-1]
    if probe(path).size != size:
        yield f"probe says {probe(path).size}, not {size}"


def _clip(path: Path, expected: truth.Clip, bound: Bound) -> Iterator[str]:
    """All that a user of eval_anything.media sees of a clip."""
    check_decodes(media_part(path, Modality.VIDEO))
    frames, times = read_video(path)
    yield from _same_frames(frames, expected, bound)
    if len(times) == len(expected.times) and np.abs(times - expected.times).max() > _TIME:
        yield f"times {times}, not {expected.times}"
    properties = probe(path)
    height, width = expected.frames[0].shape[:2]
    shape = (properties.size, properties.frames, properties.has_sound)
    if shape != ((width, height), len(expected.frames), expected.sound is not None):
        yield f"probe says {shape}"
    yield from _chosen(path, expected, properties.duration or 0, bound)
    if expected.sound is not None:
        samples, rate = read_sound(path)
        yield from _same_sound(samples, rate, expected.sound, _SOUND_OF_CLIPS)


def _chosen(path: Path, expected: truth.Clip, duration: float, bound: Bound) -> Iterator[str]:
    """Frames by time, and a number of frames."""
    starts = expected.times
    last = starts[-1] - starts[0] + max((b - a for a, b in pairwise(starts)), default=1)
    if not starts[-1] - starts[0] < duration <= last + 0.1:
        yield f"probe says {duration:.3f} s, not {last:.3f}"
    between = [(a + b) / 2 for a, b in pairwise(starts)]
    shown = read_frames(path, times=[*starts, *between])
    indices = [*range(len(starts)), *range(len(between))]
    yield from _same_frames(shown.frames, _part(expected, indices), bound, "by time: ")
    if len(starts) > _COUNT:
        few = read_frames(path, _COUNT).times
        moments = [starts[0] + (i + 0.5) * duration / _COUNT for i in range(_COUNT)]
        for time, moment in zip(few, moments, strict=True):
            # Either one where a moment is between two frames.
            right = [starts[bisect_right(starts, moment + shift) - 1] for shift in (-_TIME, _TIME)]
            if min(abs(time - start) for start in right) > _TIME:
                yield f"at {moment:.3f} s the frame of {time:.3f} s, not of {right[0]:.3f} s"


def _part(expected: truth.Clip, indices: Sequence[int]) -> truth.Clip:
    return expected._replace(frames=[expected.frames[index] for index in indices])


def _same_frames(
    frames: Sequence[np.ndarray] | np.ndarray, expected: truth.Clip, bound: Bound, about: str = ""
) -> Iterator[str]:
    if len(frames) != len(expected.frames):
        yield f"{about}{len(frames)} frames, not {len(expected.frames)}"
        return
    for number, (pixels, right) in enumerate(zip(frames, expected.frames, strict=True)):
        for reason in _same(pixels, right, bound):
            yield f"{about}frame {number}: {reason}"
            return


def _decord(path: Path, expected: truth.Clip, bound: Bound) -> Iterator[str]:
    kind = kind_of_file(path)
    timeline = read_timeline(path, kind)
    pairs = decord_frames(path, kind, timeline, range(len(timeline.pts)))
    if pairs is None:
        raise _LeftError("PyAV reads it")
    yield from _same_frames([pixels for _, pixels in pairs], expected, bound)


def _pyav(path: Path, expected: truth.Clip, bound: Bound) -> Iterator[str]:
    kind = kind_of_file(path)
    timeline = read_timeline(path, kind)
    pairs = pyav_frames(path, kind, timeline, range(len(timeline.pts)))
    yield from _same_frames([pixels for _, pixels in pairs], expected, bound)


_TRUTHS: dict[Modality, Callable[[Specimen, Path], object]] = {
    Modality.AUDIO: truth.sound,
    Modality.IMAGE: truth.picture,
    Modality.VIDEO: truth.clip,
}

_READERS: dict[Modality, Callable[..., Iterator[str]]] = {
    Modality.AUDIO: _sound,
    Modality.IMAGE: _picture,
    Modality.VIDEO: _clip,
}
