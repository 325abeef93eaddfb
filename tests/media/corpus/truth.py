"""What ffmpeg and ffprobe, the programs, read in a file of the corpus."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.media.corpus.specimen import Specimen, command


class Sound(NamedTuple):
    """Samples float32 (n, channels), and their rate in Hz."""

    samples: np.ndarray
    rate: int


class Clip(NamedTuple):
    """Upright frames uint8 (height, width, 3), their times in seconds, and the sound if there is one."""

    frames: list[np.ndarray]
    times: list[float]
    sound: Sound | None


def sound(specimen: Specimen, path: Path) -> Sound:
    """The first stream of sound."""
    path = _shown(specimen, path)
    file = _ffmpeg("-i", path, "-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "-")
    start = file.index(b"data") + 8
    channels, rate = (int.from_bytes(file[a:b], "little") for a, b in ((22, 24), (24, 28)))
    return Sound(np.frombuffer(file[start:], np.float32).reshape(-1, channels), rate)


def picture(specimen: Specimen, path: Path) -> np.ndarray:
    """Upright pixels over white, uint8 (height, width, 3)."""
    source = ["-noautorotate", "-i", _shown(specimen, path), "-frames:v", "1", "-pix_fmt", "rgba"]
    [pixels] = _images(_ffmpeg(*source, "-c:v", "pam", "-f", "image2pipe", "-"))
    alpha = pixels[..., 3:] / 255
    on_white = (pixels[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)
    return upright(on_white, specimen.orientation)


def clip(specimen: Specimen, path: Path) -> Clip:
    """The first stream of pictures that is no cover; ffmpeg turns it for display."""
    # Chroma is interpolated as PyAV does it by default.
    ways = ["-map", "0:V:0", "-vsync", "passthrough", "-sws_flags", "bilinear", "-pix_fmt", "rgba"]
    stream = _ffmpeg("-i", path, *ways, "-c:v", "pam", "-f", "image2pipe", "-")
    shown = [pixels[..., :3] for pixels in _images(stream)]
    times, streams = _times(path)
    try:
        return Clip(shown, times, sound(specimen, path) if streams > 1 else None)
    except subprocess.CalledProcessError:  # there are other streams, and none of sound
        return Clip(shown, times, None)


def _times(path: Path) -> tuple[list[float], int]:
    """Times at which frames are shown, in seconds of the file's own clock, and the number of streams."""
    program = ["ffprobe", "-v", "error", "-of", "csv=p=0", "-select_streams", "V:0"]
    entries = "frame=best_effort_timestamp_time:format=nb_streams"
    done = subprocess.run(
        [*program, "-show_entries", entries, str(path)], capture_output=True, text=True, check=True
    )
    *times, streams = [line.rstrip(",") for line in done.stdout.splitlines() if line]
    return [float(time) for time in times], int(streams)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels as they are meant to be seen, by an orientation of Exif 2.3."""
    if orientation >= 5:  # rows and columns are exchanged
        pixels = pixels.swapaxes(0, 1)
    turned_down, turned_right = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return pixels[:: -1 if turned_down else 1, :: -1 if turned_right else 1]


def _shown(specimen: Specimen, path: Path) -> Path:
    """The file that ffmpeg reads for the truth."""
    if not specimen.shown:
        return path
    command(specimen.shown, path)
    return next(path.parent.glob(f"{path.name}.shown*"))


def _ffmpeg(*arguments: str | Path) -> bytes:
    program = ["ffmpeg", "-nostdin", "-v", "error"]
    return subprocess.run([*program, *arguments], capture_output=True, check=True).stdout


def _images(stream: bytes) -> list[np.ndarray]:
    """Images of a stream of PAM files with 8 bits a value."""
    images = []
    while stream:
        head, _, stream = stream.partition(b"ENDHDR\n")
        fields = dict(line.split(b" ", 1) for line in head.splitlines()[1:])
        shape = [int(fields[key]) for key in (b"HEIGHT", b"WIDTH", b"DEPTH")]
        size = int(np.prod(shape))
        images.append(np.frombuffer(stream[:size], np.uint8).reshape(shape))
        stream = stream[size:]
    return images
