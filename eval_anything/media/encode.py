"""Pixels and samples as files: plain PNG, WAV and MP4 without any metadata, the same bytes each time."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]


def encode_png(pixels: Pixels) -> bytes:
    """uint8 (height, width, 3) -> PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def encode_wav(samples: NDArray[np.floating], rate: int) -> bytes:
    """Samples (n,) or (n, channels) in -1..1 at `rate` Hz -> 16-bit WAV; what is louder is clipped."""
    data = (samples.clip(-1, 1) * 32767).astype("<i2").tobytes()
    return pack_wav(data, rate, 1 if samples.ndim == 1 else samples.shape[1], 2)


def pack_wav(data: bytes, rate: int, channels: int, width: int) -> bytes:
    """Samples of `width` bytes, those of all channels together, with the header of a WAV before them."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return buffer.getvalue()


def encode_mp4(
    frames: Iterable[Pixels], fps: int | Fraction, crf: int = 18, exact: bool = False
) -> bytes:
    """Frames uint8 (height, width, 3) -> H.264 in MP4; `crf` is the quality, 0 (best) to 51.

    `exact` makes the bytes the same on every run for any content: x264's fast paths are not (measured:
    1 clip of moving shapes in 6 differs). Clips of flat shapes alone are the same without it.
    """
    import av
    import numpy as np

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        # One thread, so that the same frames give the same bytes.
        options = {"crf": str(crf), "threads": "1"}
        if exact:
            options["x264-params"] = "cpu-independent=1"
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        stream.pix_fmt = "yuv420p"
        for number, pixels in enumerate(frames):
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"))
            )
        container.mux(stream.encode(None))
    return buffer.getvalue()
