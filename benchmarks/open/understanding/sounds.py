"""Sounds of open/understanding: float32 samples (n,) in -1..1 at 16 kHz, speech by espeak-ng."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

RATE = 16000
LOW, MIDDLE, HIGH = 262.0, 440.0, 740.0


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * RATE), np.float32)


def tone(hertz: float, seconds: float, level: float = 0.5) -> Samples:
    """A sine with edges of 10 ms."""
    times = np.arange(int(seconds * RATE)) / RATE
    edge = np.minimum(1, np.minimum(times, seconds - times) / 0.01)
    return (level * edge * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def row(sounds: Sequence[Samples], pause: float) -> Samples:
    """Sounds after each other, with silence before, between and after them."""
    parts = [silence(pause)]
    for sound in sounds:
        parts += [sound, silence(pause)]
    return np.concatenate(parts)


def beeps(count: int) -> Samples:
    return row([tone(880, 0.18)] * count, 0.3)


def knocks(count: int, seed: int) -> Samples:
    """Knocks on wood: noise that decays fast."""
    times = np.arange(int(0.12 * RATE)) / RATE
    noise = np.random.default_rng(seed).standard_normal(len(times))
    thud = np.sin(2 * np.pi * 180 * times) + 0.4 * noise
    blow = (0.5 * np.exp(-times * 45) * thud).astype(np.float32)
    return row([blow] * count, 0.38)


def strokes(count: int) -> Samples:
    """Strokes of a bell: partials that each decay at a rate of their own."""
    times = np.arange(int(1.1 * RATE)) / RATE
    partials = ((220, 1.0, 2), (440, 0.7, 3), (528, 0.5, 4), (660, 0.4, 5), (880, 0.3, 6))
    sound = sum(a * np.exp(-d * times) * np.sin(2 * np.pi * f * times) for f, a, d in partials)
    return row([(0.25 * np.asarray(sound)).astype(np.float32)] * count, 0.15)


def keyed(pattern: str) -> Samples:
    """Long (`-`) and short (`.`) tones."""
    return row([tone(600, 0.45 if sign == "-" else 0.15) for sign in pattern], 0.18)


def melody(heights: Sequence[float], seconds: float = 0.35) -> Samples:
    """Notes between 262 and 1046 Hz; height 0..1 is two octaves."""
    return row([tone(262 * 4**height, seconds) for height in heights], 0.05)


def swelling(levels: Sequence[float]) -> Samples:
    """A tone of 330 Hz whose loudness goes from level to level, a second each."""
    count = RATE * (len(levels) - 1)
    level = np.interp(np.arange(count) / RATE, range(len(levels)), levels)
    return (level * tone(330, len(levels) - 1, 1.0)[:count]).astype(np.float32)


def speech(words: str, language: str = "en-gb") -> Samples:
    """Speech by espeak-ng, resampled to 16 kHz. FileNotFoundError if espeak-ng is not installed."""
    import soundfile
    import soxr

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "speech.wav")
        command = ["espeak-ng", "-v", language, "-s", "140", "-w", str(path), "--stdin"]
        subprocess.run(command, input=words.encode(), check=True)
        samples, rate = soundfile.read(path, dtype="float32")
    resampled: Samples = soxr.resample(samples, rate, RATE).astype(np.float32)
    return np.concatenate([silence(0.2), resampled, silence(0.2)])
