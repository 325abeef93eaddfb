"""SI-SDR and SNR of a response's sound against the prompt's, by torchmetrics."""

from __future__ import annotations

from eval_anything import Modality, Response, Sample, Score
from eval_anything.media import read_audio
from eval_anything.scoring import applies, prompt_medium

RATE = 16000
LIMIT_DB = 60.0


def similarity(sample: Sample, response: Response) -> dict[str, Score]:
    """Both metrics of audio_similarity, for samples with a sound in the prompt."""
    reference = prompt_medium(sample, Modality.AUDIO)
    if reference is None or not applies(sample, response, Modality.AUDIO):
        return {}
    part = response.first(Modality.AUDIO)
    if part is None:
        reason = "no sound, which is required"
        return {
            "audio_si_sdr_db": Score(-LIMIT_DB, explanation=reason),
            "audio_snr_db": Score(-LIMIT_DB, explanation=reason),
        }
    import numpy as np  # with torchmetrics it takes seconds: not for samples without sound
    import torch
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio, signal_noise_ratio

    target = read_audio(reference.path, RATE)
    if not target.any():
        raise ValueError("the prompt's sound is silent: no ratio to it is defined")
    sound = read_audio(part.path, RATE)[: len(target)]
    sound = np.pad(sound, (0, len(target) - len(sound)))
    a, b = torch.from_numpy(sound), torch.from_numpy(target)
    # SI-SDR of silence is 0/0; torchmetrics returns 0 dB, which is better than many audible sounds get
    si_sdr = float(scale_invariant_signal_distortion_ratio(a, b)) if sound.any() else -LIMIT_DB
    return {
        "audio_si_sdr_db": Score(_bounded(si_sdr)),
        "audio_snr_db": Score(_bounded(float(signal_noise_ratio(a, b)))),
    }


def _bounded(db: float) -> float:
    return min(max(db, -LIMIT_DB), LIMIT_DB)
