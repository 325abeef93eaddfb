"""The median pitch of a sound against a target: probabilistic YIN (Mauch & Dixon 2014) of librosa."""

from __future__ import annotations

import math

from eval_anything import Modality, Response, Sample, Score
from eval_anything.media import read_audio
from eval_anything.scoring import applies

# The range that librosa's documentation advises, C2 to C7, in Hz.
LOWEST, HIGHEST = 65.40639132514966, 2093.004522404789
RATE = 22050
LONGEST_S = 30
OCTAVE = 1200.0


def pitch(sample: Sample, response: Response) -> dict[str, Score]:
    """Both metrics of pitch, for samples with a target; see judge.yaml."""
    if "pitch_hz" not in sample.targets or not applies(sample, response, Modality.AUDIO):
        return {}
    target = float(sample.targets["pitch_hz"])
    if not LOWEST <= target <= HIGHEST:
        raise ValueError(f"targets.pitch_hz is {target}, outside {LOWEST:.1f}..{HIGHEST:.1f} Hz")
    part = response.first(Modality.AUDIO)
    if part is None:
        return _worst("no sound, which is required")
    import librosa  # takes seconds: not for samples without sound
    import numpy as np

    sound = read_audio(part.path, RATE)[: LONGEST_S * RATE]
    hertz, voiced, _ = librosa.pyin(sound, fmin=LOWEST, fmax=HIGHEST, sr=RATE)
    if not voiced.any():
        return _worst("no pitch is heard")
    median = float(np.nanmedian(hertz))
    cents = abs(OCTAVE * math.log2(median / target))
    details = {"median_hz": median, "voiced_share": float(voiced.mean())}
    return {
        "pitch_cents_error": Score(min(cents, OCTAVE), details=details),
        "pitch_within_50_cents": Score(float(cents <= 50)),
    }


def _worst(reason: str) -> dict[str, Score]:
    return {
        "pitch_cents_error": Score(OCTAVE, explanation=reason),
        "pitch_within_50_cents": Score(0.0, explanation=reason),
    }
