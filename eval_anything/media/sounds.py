"""Sound by PyAV (FFmpeg), Vorbis in Ogg by soundfile (libsndfile); resampled by soxr.

Runs in a child process (`worker`), which turns its errors into `MediaError`. Sound is read in blocks, so
that an hour of it needs no more memory than a second.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eval_anything.media.containers import opened, read_to_the_end, sound_stream
from eval_anything.media.limits import MAX_AUDIO_SECONDS, MAX_CHANNELS, RATES
from eval_anything.media.sniff import Kind, MediaError
from eval_anything.media.truncation import SoundEnd, check_bytes

if TYPE_CHECKING:
    import numpy as np


_BLOCK = 2**17  # values of all channels together


# Formats in which a decoder finds the next frame by itself: what is between frames is left out.
_SELF_SYNCHRONISING = ("aac", "mp2", "mpeg")


class Header(NamedTuple):
    """Rate in Hz and channels of a sound, as its first frame has them."""

    rate: int
    channels: int


def sound_blocks(path: Path, kind: Kind) -> tuple[Header, Iterator[np.ndarray]]:
    """The header, and the samples in blocks float32 (n, channels).

    MediaError without sound, with an impossible rate or channels, and while reading if the file is
    truncated or too long, or a sample is not finite.
    """
    check_bytes(path, kind)
    if kind.container == "ogg" and _is_vorbis(path):
        header = _possible(path, _vorbis_header(path))
        return header, _checked_blocks(path, header, _vorbis_blocks(path))
    frames = _frames(path, kind)
    first = next(frames, None)
    if first is None:
        raise MediaError(f"{path} holds no samples of sound")
    header = _possible(path, Header(first.sample_rate, first.layout.nb_channels))
    return header, _checked_blocks(path, header, _joined(_alike(first, frames)))


def mono_blocks(path: Path, kind: Kind, rate: int) -> Iterator[np.ndarray]:
    """The mean of all channels at `rate` Hz, in blocks float32 (n,); errors as in `sound_blocks`.

    n samples at r Hz become exactly round(n * rate / r).
    """
    import numpy as np
    import soxr

    header, blocks = sound_blocks(path, kind)
    share = np.full(header.channels, 1 / header.channels, np.float32)
    mono = (block @ share for block in blocks) if header.channels > 1 else (b[:, 0] for b in blocks)
    if rate == header.rate:
        yield from mono
        return
    resampler = soxr.ResampleStream(header.rate, rate, 1, dtype="float32", quality="HQ")
    read = written = 0
    for block in mono:
        read += len(block)
        out = resampler.resample_chunk(np.ascontiguousarray(block))
        written += len(out)
        yield out
    last = resampler.resample_chunk(np.empty(0, np.float32), last=True)
    tail = np.zeros(max(round(read * rate / header.rate) - written, 0), np.float32)
    tail[: len(last)] = last[: len(tail)]
    yield tail


def _possible(path: Path, header: Header) -> Header:
    if not RATES[0] <= header.rate <= RATES[1]:
        raise MediaError(f"{path} has a sampling rate of {header.rate} Hz, not {RATES[0]} to {RATES[1]}")
    if not 1 <= header.channels <= MAX_CHANNELS:
        raise MediaError(f"{path} has {header.channels} channels, not 1 to {MAX_CHANNELS}")
    return header


def _checked_blocks(path: Path, header: Header, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    import numpy as np

    total = 0
    for block in blocks:
        total += len(block)
        if total > MAX_AUDIO_SECONDS * header.rate:
            raise MediaError(f"{path} is longer than {MAX_AUDIO_SECONDS:.0f} s")
        if not np.isfinite(block).all():
            raise MediaError(f"{path} holds samples that are no finite numbers")
        yield block
    if not total:
        raise MediaError(f"{path} holds no samples of sound")


def _is_vorbis(path: Path) -> bool:
    """Whether an Ogg file has a single stream, of Vorbis."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content[28:35] == b"\x01vorbis" and content.find(b"OggS\0\2", 1) < 0


def _vorbis_header(path: Path) -> Header:
    import soundfile

    with soundfile.SoundFile(path) as file:
        return Header(file.samplerate, file.channels)


def _vorbis_blocks(path: Path) -> Iterator[np.ndarray]:
    """The samples. FFmpeg would begin or end Vorbis some hundred samples too early or late."""
    import soundfile

    with soundfile.SoundFile(path) as file:
        length = _BLOCK // file.channels
        while len(block := file.read(length, dtype="float32", always_2d=True)):
            yield block


def _frames(path: Path, kind: Kind) -> Iterator[Any]:
    """The decoded frames. MediaError if the file ends before its sound does."""
    import av

    try:
        yield from _decoded(path, kind)
    except av.FFmpegError as error:
        raise MediaError(f"{path} is truncated, or damaged: {error}") from None


def _decoded(path: Path, kind: Kind) -> Iterator[Any]:
    import av

    with read_to_the_end(path), opened(path, kind) as container:
        stream = sound_stream(container, path)
        end = SoundEnd(path, kind, stream)
        damage: av.FFmpegError | None = None  # of the packet before
        for packet in container.demux(stream):
            if packet.size:
                if damage is not None and kind.container not in _SELF_SYNCHRONISING:
                    raise damage
                damage = None
                end.see(packet)
            try:
                frames = packet.decode()
            except av.InvalidDataError as error:
                damage = error
                continue
            for frame in frames:
                end.samples += frame.samples
                end.longest = max(end.longest, frame.samples)
                yield frame
        end.check()
        if damage is not None and kind.container not in (*_SELF_SYNCHRONISING, "wav"):
            raise MediaError(f"{path} is truncated: its last packet of sound is not complete")


def _alike(first: Any, later: Iterable[Any]) -> Iterator[Any]:
    """All frames, converted where their rate, channels or format differ from the first frame's, or no
    array has such samples (whole numbers of 64 bits)."""
    import av

    is_array = first.format.packed.name in ("u8", "s16", "s32", "flt", "dbl")
    form = first.format.name if is_array else "dbl"
    layout, rate = first.layout.name, first.sample_rate
    resampler = source = None
    for frame in chain([first], later):
        setup = (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is not None and setup != source:
            yield from resampler.resample(None)
            resampler = None
        if setup == (form, layout, rate):
            yield frame
            continue
        if resampler is None:
            resampler, source = av.AudioResampler(form, layout, rate), setup
        yield from resampler.resample(frame)
    if resampler is not None:
        yield from resampler.resample(None)


def _joined(frames: Iterable[Any]) -> Iterator[np.ndarray]:
    """The samples of all frames in longer blocks float32 (n, channels)."""
    import numpy as np

    waiting: list[np.ndarray] = []
    size = 0
    for frame in frames:
        values = frame.to_ndarray()  # (channels, n), or (1, n * channels) with the channels in turn
        channels = frame.layout.nb_channels
        waiting.append(values.T if frame.format.is_planar else values.reshape(-1, channels))
        size += values.size
        if size >= _BLOCK:
            yield _floats(np.concatenate(waiting))
            waiting, size = [], 0
    if waiting:
        yield _floats(np.concatenate(waiting))


def _floats(samples: np.ndarray) -> np.ndarray:
    """Samples of any type as float32, full scale -1..1."""
    import numpy as np

    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    full = np.float32(2 ** (8 * samples.itemsize - 1))
    middle = full if samples.dtype.kind == "u" else np.float32(0)
    return (samples.astype(np.float32) - middle) / full
