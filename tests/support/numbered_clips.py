"""Clips whose frames carry their numbers, in the shapes in which encoders write them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np

BITS = 10
SQUARE = 32
WIDTH, HEIGHT = BITS * SQUARE, 176
FRAMES = 90


def numbered(number: int) -> np.ndarray:
    """A picture that carries a number in white and black squares."""
    pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, WIDTH)[None]
    pixels[..., 1] = 90
    pixels[..., 2] = np.linspace(200, 0, HEIGHT)[:, None]
    for bit in range(BITS):
        pixels[:SQUARE, bit * SQUARE : (bit + 1) * SQUARE] = 255 * (number >> bit & 1)
    return pixels


def number_of(pixels: np.ndarray) -> int:
    """The number that a picture carries."""
    inner = slice(SQUARE // 4, 3 * SQUARE // 4)
    squares = (pixels[inner, bit * SQUARE :][:, inner] for bit in range(BITS))
    return sum(1 << bit for bit, square in enumerate(squares) if square.mean() > 127)


def make_clip(
    path: Path,
    codec: str = "libx264",
    uneven: bool = False,
    turned: int = 0,
    matrix: int | None = None,
    frames: int = FRAMES,
    **options: str,
) -> list[float]:
    """Writes a numbered clip, which is encoded once; the seconds at which its frames are shown."""
    shape = (codec, uneven, turned, matrix, frames)
    content, starts = _encoded(path.suffix, *shape, tuple(options.items()))
    path.write_bytes(content)
    return list(starts)


@cache
def _encoded(
    suffix: str,
    codec: str,
    uneven: bool,
    turned: int,
    matrix: int | None,
    frames: int,
    options: tuple[tuple[str, str], ...],
) -> tuple[bytes, tuple[float, ...]]:
    import av

    chance = np.random.default_rng(7)
    steps = chance.integers(10, 90, frames) if uneven else np.full(frames, 40)
    starts = [0, *np.cumsum(steps)[:-1].tolist()]
    names = {name.replace("_", "-"): value for name, value in options}
    with tempfile.TemporaryDirectory() as folder, av.open(f"{folder}/a{suffix}", "w") as container:
        stream = container.add_stream(codec, rate=25, options=names)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if not (codec == "mpeg4" or turned):
            stream.codec_context.time_base = Fraction(1, 1000)
        if turned:
            stream.set_display_rotation(turned)
        if matrix is not None:
            stream.codec_context.colorspace = matrix
        for number, start in enumerate(starts):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            if matrix is not None:
                frame = frame.reformat(format="yuv420p", dst_colorspace=matrix)
            frame.pts, frame.time_base = start, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        container.close()
        content = Path(f"{folder}/a{suffix}").read_bytes()
    return content, tuple(start / 1000 for start in starts)


def make_slow_then_fast(path: Path) -> None:
    """A numbered clip of 9 s at one frame a second, then 1 s at 30."""
    starts = [n * 1000 for n in range(9)] + [9000 + n * 1000 / 30 for n in range(30)]
    write_frames(path, [numbered(number) for number in range(39)], [round(s * 0.3) for s in starts])


def write_frames(path: Path, frames: Sequence[np.ndarray], pts: Sequence[int], rate: int = 300) -> None:
    """A clip of these frames at these times, in units of 1/`rate` s; the last one lasts 1/30 s."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if path.suffix == ".mp4" else "libvpx", rate=30)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate)
        for pixels, start in zip(frames, pts, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base, frame.duration = start, Fraction(1, rate), rate // 30
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def make_growing(path: Path) -> None:
    """A WebM of VP8 that changes from 160x96 to 320x192 pixels, as recorders of browsers write it."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for part, scale in enumerate((1, 2)):
            encoder = av.CodecContext.create("libvpx", "w")
            encoder.width, encoder.height, encoder.pix_fmt = 160 * scale, 96 * scale, "yuv420p"
            encoder.time_base = Fraction(1, 10)
            for number in range(5):
                pixels = np.zeros((96 * scale, 160 * scale, 3), np.uint8)
                pixels[:, 80 * scale :] = (250, 60 + 20 * number, 20)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = 5 * part + number, Fraction(1, 10)
                for packet in encoder.encode(frame):
                    packet.stream = stream
                    container.mux(packet)
            for packet in encoder.encode(None):
                packet.stream = stream
                container.mux(packet)
