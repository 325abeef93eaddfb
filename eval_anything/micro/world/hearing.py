"""Recognises the tones of a sound of the micro world."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from eval_anything.micro.world.raster import (
    AUDIO_FRAMES,
    FRAME_SAMPLES,
    RATE,
    SILENCE,
    TONES_HZ,
    contour_of_steps,
)
from eval_anything.micro.world.scenes import COUNTS, PITCHES

MAX_OFF_PITCH = 25.0  # Hz; neighbouring tones are at least 100 Hz apart


MIN_PURITY = 0.7  # share of a frame's energy near its peak; below it is noise


QUIET = 0.25  # of the loudest frame's amplitude; below it a frame is silent


SILENT_PEAK = 1e-3  # of full scale; below it there is nothing to hear


MAX_LEAD = 0.12  # seconds of silence before the first tone (codecs pad)


SECONDS = (0.40, 0.62)  # accepted length from the first tone on; codecs pad or cut the end


_ZOOM = 8  # zero padding of the spectrum: 25 Hz / 8


def hear(wave: NDArray[np.float32]) -> dict[str, str | None]:
    """Pitch, count and contour of mono samples (n,) at 8 kHz; None for one that differs between tones.

    Raises ValueError if it is no sound of this world: silent, noise, wrong length, foreign tones.
    """
    codes = hear_codes(wave)
    runs = _runs(codes)
    steps = [((code - 1) // 3, (code - 1) % 3) for run in runs for code in run]
    pitches = {pitch for pitch, _ in steps}
    well_formed = len(runs) <= len(COUNTS) and all(len(run) == 2 for run in runs)
    contours = (
        {contour_of_steps(*((code - 1) % 3 for code in run)) for run in runs} if well_formed else set()
    )
    return {
        "pitch": PITCHES[pitches.pop()] if len(pitches) == 1 else None,
        "count": COUNTS[len(runs) - 1] if well_formed else None,
        "contour": contours.pop() if len(contours) == 1 else None,
    }


def hear_codes(wave: NDArray[np.float32]) -> tuple[int, ...]:
    """The twelve audio codes of mono samples (n,) at 8 kHz. Raises ValueError as `hear`."""
    frames = _frames(wave)
    window = np.hanning(frames.shape[1])
    spectra = np.abs(np.fft.rfft(frames * window, FRAME_SAMPLES * _ZOOM, axis=1)) ** 2
    amplitudes = np.sqrt((frames**2).mean(axis=1))
    loud = amplitudes >= QUIET * amplitudes.max()
    return tuple(_code(spectrum) if on else SILENCE for spectrum, on in zip(spectra, loud, strict=True))


def _frames(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inner parts of the twelve frames, aligned to the first tone: float32 (12, 240)."""
    level = np.abs(wave)
    if level.size == 0 or level.max() < SILENT_PEAK:
        raise ValueError("silent: nothing to hear")
    # Half of the peak is reached within the first period or two of the first tone.
    onset = int(np.argmax(level > 0.25 * level.max()))
    if onset > MAX_LEAD * RATE:
        raise ValueError(f"not of this world: starts with {onset / RATE:.2f} s of silence")
    seconds = (level.size - onset) / RATE
    if not SECONDS[0] <= seconds <= SECONDS[1]:
        raise ValueError(f"not of this world: {seconds:.2f} s long")
    length = AUDIO_FRAMES * FRAME_SAMPLES
    tail = wave[onset + length :]
    if tail.size and np.abs(tail).max() > 0.25 * level.max():
        raise ValueError("not of this world: sounds on after the last frame")
    aligned = np.zeros(length, np.float32)
    body = wave[onset : onset + length]
    aligned[: body.size] = body
    margin = FRAME_SAMPLES // 8  # neighbours leak into the edges of a frame
    return aligned.reshape(AUDIO_FRAMES, FRAME_SAMPLES)[:, margin:-margin]


def _code(spectrum: NDArray[np.float64]) -> int:
    """The code of the tone with this power spectrum. Raises ValueError for noise and foreign tones."""
    peak = int(spectrum.argmax())
    width = 3 * _ZOOM  # the main lobe of the window
    near = spectrum[max(0, peak - width) : peak + width + 1].sum()
    if near < MIN_PURITY * spectrum.sum():
        raise ValueError("noise: no clear tones")
    hertz = peak * RATE / (FRAME_SAMPLES * _ZOOM)
    tone = int(np.argmin([abs(hertz - tone_hz) for tone_hz in TONES_HZ]))
    if abs(hertz - TONES_HZ[tone]) > MAX_OFF_PITCH:
        raise ValueError(f"not of this world: a tone of {hertz:.0f} Hz")
    return tone + 1


def _runs(codes: tuple[int, ...]) -> list[list[int]]:
    """The codes of each tone: runs between silences."""
    return [list(run) for sounds, run in groupby(codes, lambda code: code != SILENCE) if sounds]
