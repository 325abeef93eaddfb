"""Sound by soundfile (libsndfile), or by PyAV if libsndfile cannot read it; resampled by soxr.

Runs in a child process (`worker`), which turns its errors into `MediaError`. Sound is read in blocks, so
that an hour of it needs no more memory than a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eval_anything.media.containers import opened, sound_stream
from eval_anything.media.limits import MAX_AUDIO_SECONDS, MAX_CHANNELS, RATES
from eval_anything.media.sniff import Kind, MediaError
from eval_anything.media.truncation import check_whole

if TYPE_CHECKING:
    import numpy as np


_BLOCK = 2**17  # values of all channels together


_SNDFILE_KINDS = ("audio/wav", "audio/mpeg", "audio/flac", "audio/ogg")


_UNKNOWN_TO_SNDFILE = (1, 4)  # SF_ERR_UNRECOGNISED_FORMAT, SF_ERR_UNSUPPORTED_ENCODING


class Header(NamedTuple):
    """Header of a sound file: rate in Hz, channels, and samples a channel (None if not declared)."""

    rate: int
    channels: int
    samples: int | None


def sound_header(path: Path, kind: Kind) -> Header:
    """The header, without decoding. MediaError without sound, or with an impossible rate or channels."""
    check_whole(path, kind)
    file = _sndfile(path, kind)
    if file is not None:
        with file:
            return _possible(path, Header(file.samplerate, file.channels, file.frames))
    with opened(path, kind) as container:
        stream = sound_stream(container, path)
        seconds = None if stream.duration is None else float(stream.duration * stream.time_base)
        samples = None if seconds is None else round(seconds * stream.rate)
        return _possible(path, Header(stream.rate, stream.channels, samples))


def sound_blocks(path: Path, kind: Kind) -> tuple[Header, Iterator[np.ndarray]]:
    """The header, and the samples in blocks float32 (n, channels).

    MediaError while reading, if the file is truncated, too long or empty, or a sample is not finite.
    """
    header = sound_header(path, kind)
    return header, _checked_blocks(path, header, _blocks(path, kind, header))


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


def _blocks(path: Path, kind: Kind, header: Header) -> Iterator[np.ndarray]:
    file = _sndfile(path, kind)
    if file is None:
        yield from _ffmpeg_blocks(path, kind, header)
    else:
        with file:
            yield from _sndfile_blocks(path, file)


def _sndfile(path: Path, kind: Kind) -> Any | None:
    """The file opened by libsndfile; None if it is of a kind or codec that libsndfile cannot read."""
    if kind.mime not in _SNDFILE_KINDS:
        return None
    import soundfile

    try:
        return soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        # libsndfile calls an Ogg file with a codec unknown to it malformed.
        if error.code in _UNKNOWN_TO_SNDFILE or kind.mime == "audio/ogg":
            return None
        raise MediaError(f"{path} does not decode: {error.error_string}") from None


def _sndfile_blocks(path: Path, file: Any) -> Iterator[np.ndarray]:
    declared, length = file.frames, _BLOCK // file.channels
    read = 0
    while len(block := file.read(length, dtype="float32", always_2d=True)):
        read += len(block)
        yield block
    # libsndfile cannot know the length of some files, and returns the largest possible number then.
    if read < declared < 2**62:
        raise MediaError(f"{path} is truncated: {read} of {declared} samples")


def _ffmpeg_blocks(path: Path, kind: Kind, header: Header) -> Iterator[np.ndarray]:
    import av

    as_floats = av.AudioResampler(format="flt")
    with opened(path, kind) as container:
        stream = sound_stream(container, path)
        declared = stream.frames
        packets = 0
        for packet in container.demux(stream):
            packets += packet.size > 0
            if packet.is_corrupt:
                raise MediaError(f"{path} is truncated: a packet of sound is not complete")
            for frame in packet.decode():
                for out in as_floats.resample(frame):
                    yield out.to_ndarray().reshape(-1, header.channels)
        for out in as_floats.resample(None):
            yield out.to_ndarray().reshape(-1, header.channels)
        if packets < declared:
            raise MediaError(f"{path} is truncated: {packets} of {declared} packets of sound")
