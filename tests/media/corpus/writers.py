"""Files of the corpus that libraries of Python write, and files of programs with bytes changed."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tests.media.corpus.specimen import command

Writer = Callable[[Path], None]


def by_soundfile(form: str, subtype: str, source: str = "stereo.wav") -> Writer:
    """A sound that libsndfile writes."""

    def write(out: Path) -> None:
        import soundfile

        samples, rate = soundfile.read(out.with_name(source))
        soundfile.write(out, samples, rate, subtype, format=form)

    return write


def by_scipy(kind: str) -> Writer:
    """A WAV file that scipy writes, of samples of this type."""

    def write(out: Path) -> None:
        import soundfile
        from scipy.io import wavfile

        samples, rate = soundfile.read(out.with_name("stereo.wav"), dtype="float32")
        wavfile.write(out, rate, samples if kind == "float32" else (samples * 30000).astype(kind))

    return write


def by_pyav(form: str, codec: str, rate: int, layout: str = "mono") -> Writer:
    """A sound that PyAV writes into a pipe: nothing is corrected afterwards."""

    def write(out: Path) -> None:
        import av

        pipe = _Pipe()
        with av.open(out.with_name("stereo.wav").as_posix()) as source, av.open(pipe, "w", form) as sink:
            stream = sink.add_stream(codec, rate=rate, layout=layout)
            resampler = av.AudioResampler(stream.codec_context.format, layout, rate)
            for frame in [*source.decode(audio=0), None]:
                for block in resampler.resample(frame):
                    sink.mux(stream.encode(block))
            sink.mux(stream.encode(None))
        out.write_bytes(pipe.data.getvalue())

    return write


class _Pipe:
    """A file that can only be appended to."""

    def __init__(self) -> None:
        self.data = io.BytesIO()

    def write(self, block: bytes) -> int:
        return self.data.write(block)


def clip_by_pyav(form: str, codec: str, times: list[float]) -> Writer:
    """A clip whose frames are shown at these times in seconds."""

    def write(out: Path) -> None:
        import av

        from tests.media.corpus.sources import FRAME_HEIGHT, FRAME_WIDTH, photo

        with av.open(str(out), "w", format=form) as sink:
            stream = sink.add_stream(codec, rate=1000)
            stream.width, stream.height, stream.pix_fmt = FRAME_WIDTH, FRAME_HEIGHT, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            for number, time in enumerate(times):
                pixels = (photo(FRAME_WIDTH, FRAME_HEIGHT, number) * 255).astype(np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
                sink.mux(stream.encode(frame))
            sink.mux(stream.encode(None))

    return write


def by_pillow(mode: str = "RGB", form: str = "", source: str = "photo.png", **options: Any) -> Writer:
    """A picture that Pillow writes."""

    def write(out: Path) -> None:
        from PIL import Image

        with Image.open(out.with_name(source)) as image:
            image.convert(mode).save(out, form or None, **options)

    return write


def animated_by_pillow(**options: Any) -> Writer:
    """An animation of three pictures that Pillow writes."""

    def write(out: Path) -> None:
        from PIL import Image

        first, *more = (Image.open(out.with_name(f"moving{number}.png")) for number in range(3))
        first.save(out, save_all=True, append_images=more, **options)

    return write


def changed(line: str, change: Callable[[bytes], bytes]) -> Writer:
    """The file that a command writes, with its bytes changed."""

    def write(out: Path) -> None:
        command(line, out)
        out.write_bytes(change(out.read_bytes()))

    return write


def wav_length(length: int) -> Callable[[bytes], bytes]:
    """Sets the declared length of the sound of a WAV file, and of the file."""

    def change(file: bytes) -> bytes:
        start = file.index(b"data") + 4
        whole = min(length + start - 4, 2**32 - 1) if length else 0
        front = file[:4] + struct.pack("<I", whole) + file[8:start]
        return front + struct.pack("<I", length) + file[start + 4 :]

    return change


def with_chunk_behind(file: bytes) -> bytes:
    """A WAV file with a chunk of tags behind its sound."""
    chunk = b"LIST" + struct.pack("<I", 18) + b"INFOISFT" + struct.pack("<I", 6) + b"test\0\0"
    return file[:4] + struct.pack("<I", len(file) - 8 + len(chunk)) + file[8:] + chunk


def with_tags_in_front(file: bytes) -> bytes:
    """The file behind an ID3v2 tag with a padding of 200 bytes."""
    return b"ID3\x03\0\0\0\0\x01\x48" + bytes(200) + file


def with_ape_tags(file: bytes) -> bytes:
    """The file before an APEv2 tag, and that before an ID3v1 tag."""
    item = struct.pack("<II", 5, 0) + b"Title\0" + b"sound"
    fields = struct.pack("<IIII8x", 2000, len(item) + 32, 1, 1 << 31)
    ape = b"APETAGEX" + fields[:12] + struct.pack("<I", 0xA0000000) + bytes(8) + item
    ape += b"APETAGEX" + fields[:12] + struct.pack("<I", 0x80000000) + bytes(8)
    return file + ape + b"TAG" + b"sound".ljust(125, b"\0")


# a, b, c, d of the display matrix of MP4 (ISO/IEC 14496-12, 8.3.2), by the orientation of Exif.
_MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}


def displayed(orientation: int, width: int, height: int) -> Callable[[bytes], bytes]:
    """Sets the display matrix of the track of an MP4 file, as phones do that are held that way."""
    a, b, c, d = _MATRICES[orientation]
    x = -min(0, a * width + c * height, a * width, c * height)
    y = -min(0, b * width + d * height, b * width, d * height)
    one, whole = 1 << 16, 1 << 30
    matrix = (a * one, b * one, 0, c * one, d * one, 0, x * one, y * one, whole)

    def change(file: bytes) -> bytes:
        start = file.index(b"tkhd") + 44
        return file[:start] + struct.pack(">9i", *matrix) + file[start + 36 :]

    return change


def jpeg_with_exif(entry: bytes) -> Callable[[bytes], bytes]:
    """Puts an Exif block with one entry of 12 bytes (little-endian) into a JPEG file."""
    tiff = b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    block = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    return lambda file: file[:2] + segment + file[2:]


def png_with(kind: bytes, data: bytes) -> Callable[[bytes], bytes]:
    """Puts a chunk into a PNG file, before its pixels."""
    from tests.support.media_corpus import chunk

    def change(file: bytes) -> bytes:
        start = file.index(b"IDAT") - 4
        return file[:start] + chunk(kind, data) + file[start:]

    return change


def cut(share: float) -> Callable[[bytes], bytes]:
    """Cuts a file off."""
    return lambda file: file[: int(len(file) * share)]
