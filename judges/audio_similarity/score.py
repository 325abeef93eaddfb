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

    wanted = read_audio(reference.path, RATE)
    if not wanted.any():
        raise ValueError("the prompt's sound is silent: no ratio to it is defined")
    found = read_audio(part.path, RATE)[: len(wanted)]
    found = np.pad(found, (0, len(wanted) - len(found)))
    a, b = torch.from_numpy(found), torch.from_numpy(wanted)
    # of silence SI-SDR is 0/0, which torchmetrics takes for 0 dB: better than much that is audible
    si_sdr = float(scale_invariant_signal_distortion_ratio(a, b)) if found.any() else -LIMIT_DB
    return {
        "audio_si_sdr_db": Score(_bounded(si_sdr)),
        "audio_snr_db": Score(_bounded(float(signal_noise_ratio(a, b)))),
    }


def _bounded(db: float) -> float:
    return min(max(db, -LIMIT_DB), LIMIT_DB)
