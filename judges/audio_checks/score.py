"""Loudness, silence, clipping and length of the sounds of a response (librosa.effects.split, numpy)."""

from __future__ import annotations

import math

from eval_anything import Modality, Response, Sample, Score
from eval_anything.media import read_sound
from eval_anything.scoring import applies, media_of

# The largest 16-bit sample at full scale 1: converters write it for anything louder.
FULL_SCALE = 32767 / 32768
SILENCE_DB = 60
SMALLEST_DBFS = -120.0


def checks(sample: Sample, response: Response) -> dict[str, Score]:
    """All metrics of audio_checks; several sounds are measured as if joined."""
    if not applies(sample, response, Modality.AUDIO):
        return {}
    import librosa  # takes seconds: not for samples without sound
    import numpy as np

    seconds = silent = energy = 0.0
    values = clipped = 0
    for part in media_of(response, Modality.AUDIO):
        # Not resampled or mixed: either would hide or create samples at full scale.
        samples, rate = read_sound(part.path)
        sound = samples.T
        length = sound.shape[-1]
        heard = librosa.effects.split(sound, top_db=SILENCE_DB, ref=1.0)
        seconds += length / rate
        silent += (length - sum(end - start for start, end in heard)) / rate
        values += sound.size
        clipped += int((np.abs(sound) >= FULL_SCALE).sum())
        energy += float(np.square(sound, dtype=np.float64).sum())
    if not values:
        return {
            "silence_share": Score(1.0, explanation="no sound, which is required"),
            "clipping_share": Score(1.0),
            "loudness_dbfs": Score(SMALLEST_DBFS),
            "duration_s": Score(0.0),
        }
    loudness = 10 * math.log10(energy / values) if energy else SMALLEST_DBFS
    return {
        "silence_share": Score(silent / seconds),
        "clipping_share": Score(clipped / values),
        "loudness_dbfs": Score(min(max(loudness, SMALLEST_DBFS), 0.0)),
        "duration_s": Score(seconds),
    }
