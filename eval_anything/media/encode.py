"""Encoders of pixels and samples: plain files without metadata, the same bytes each time."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]


_TICK = Fraction(1, 90_000)  # unit of the times of a clip with a variable rate, in seconds


def encode_png(pixels: Pixels) -> bytes:
    """A PNG file of the pixels, uint8 (height, width, 3)."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def encode_jpeg(pixels: Pixels) -> bytes:
    """A JPEG file of the pixels, uint8 (height, width, 3), with colours in full resolution."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def encode_wav(samples: NDArray[np.floating], rate: int) -> bytes:
    """A 16-bit WAV file of samples (n,) or (n, channels) at `rate` Hz, clipped to -1..1."""
    pcm = (samples.clip(-1, 1) * 32767).astype("<i2").tobytes()
    return pack_wav(pcm, rate, 1 if samples.ndim == 1 else samples.shape[1], 2)


def pack_wav(pcm: bytes, rate: int, channels: int, width: int) -> bytes:
    """A WAV file of encoded samples, `width` bytes each, channels interleaved, at `rate` Hz."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(pcm)
    return buffer.getvalue()


def encode_mp4(
    frames: Iterable[Pixels],
    fps: int | Fraction,
    crf: int = 18,
    exact: bool = False,
    times: Sequence[float] | None = None,
) -> bytes:
    """An MP4 file (H.264) of frames, uint8 (height, width, 3).

    Args:
        frames: frames of one size.
        fps: frames a second.
        crf: quality, 0 (best) to 51.
        exact: whether the bytes are the same on every run for any content. x264's fast paths do not
            ensure that (measured: 1 clip of moving shapes in 6 differs); still clips of flat shapes are
            the same without it.
        times: seconds at which the frames are shown, rising, for a variable rate; `fps` is the mean one.
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
        if times is not None:
            stream.codec_context.time_base = _TICK
        for number, pixels in enumerate(frames):
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round((times[number] - times[0]) / _TICK), _TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
