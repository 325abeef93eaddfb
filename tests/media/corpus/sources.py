"""What the programs of the corpus encode: pictures, sounds and frames, drawn from a seed."""

from __future__ import annotations

import subprocess
import wave
from pathlib import Path

import numpy as np

SEED = 15
WIDTH, HEIGHT = 62, 46
FRAME_WIDTH, FRAME_HEIGHT = 96, 64
FRAMES = 24
FPS = 12


def write_sources(folder: Path) -> None:
    """WAV files of several rates, PNG files of several kinds, raw 16-bit pixels, and a clip as Y4M."""
    folder.mkdir(parents=True, exist_ok=True)
    write_wav(folder / "stereo.wav", sound(0.6, 44100, 2), 44100)
    write_wav(folder / "studio.wav", sound(0.6, 48000, 2), 48000)
    write_wav(folder / "voice.wav", sound(0.6, 16000, 1), 16000)
    write_wav(folder / "phone.wav", sound(0.6, 8000, 1), 8000)
    write_wav(folder / "six.wav", sound(0.4, 48000, 6), 48000)
    _write_pictures(folder)
    _write_clip(folder)


def sound(seconds: float, rate: int, channels: int) -> np.ndarray:
    """float32 (n, channels): a rising tone, another one in each channel, over a little noise."""
    chance = np.random.default_rng(SEED)
    times = np.arange(int(seconds * rate)) / rate
    rising = [
        0.4 * np.sin(2 * np.pi * (300 + 200 * channel + 400 * times) * times) * (1 - 0.5 * times)
        for channel in range(channels)
    ]
    noise = chance.normal(0, 0.01, (len(times), channels))
    return (np.stack(rising, axis=1) + noise).astype(np.float32)


def write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """A WAV file of 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def photo(width: int, height: int, number: int = 0) -> np.ndarray:
    """float64 (height, width, 3) in 0..1: colours that flow, and a light block that moves with `number`
    near the top left corner, so that no turned or mirrored one is the same."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    phase = number / 4
    red = 0.5 + 0.4 * np.sin(3 * x + 2 * y + phase)
    green = 0.2 + 0.6 * y * (1 - 0.3 * x)
    blue = 0.3 + 0.3 * np.cos(4 * y - x - phase)
    pixels = np.stack([red, green, blue], axis=2)
    left, top = 4 + 2 * number % (width // 2), 4 + number % (height // 4)
    pixels[top : top + height // 5, left : left + width // 4] += 0.3
    return pixels.clip(0, 1)


def _write_pictures(folder: Path) -> None:
    from PIL import Image

    pixels = photo(WIDTH, HEIGHT)
    eight = (pixels * 255).astype(np.uint8)
    alpha = np.linspace(0, 255, WIDTH).astype(np.uint8)[None].repeat(HEIGHT, axis=0)
    Image.fromarray(eight).save(folder / "photo.png")
    Image.fromarray(eight[..., 1]).save(folder / "grey.png")
    Image.fromarray(np.dstack([eight, alpha])).save(folder / "clear.png")
    for number in range(3):
        frame = (photo(WIDTH, HEIGHT, 3 * number) * 255).astype(np.uint8)
        Image.fromarray(frame).save(folder / f"moving{number}.png")
    (folder / "deep.rgb48").write_bytes((pixels * 65535).astype("<u2").tobytes())
    (folder / "deep.gray16").write_bytes((pixels[..., 1] * 65535).astype("<u2").tobytes())
    deep = np.dstack([pixels, alpha / 255])
    (folder / "deep.rgba64").write_bytes((deep * 65535).astype("<u2").tobytes())


def _write_clip(folder: Path) -> None:
    frames = [photo(FRAME_WIDTH, FRAME_HEIGHT, number) for number in range(FRAMES)]
    raw = b"".join((frame * 255).astype(np.uint8).tobytes() for frame in frames)
    size = f"{FRAME_WIDTH}x{FRAME_HEIGHT}"
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(FPS), "-i", "-"]
    clip = ["-pix_fmt", "yuv420p", str(folder / "film.y4m")]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *clip], input=raw, check=True)
