"""Helpers of families that make sounds: samples as a part, and a counter of the written codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eval_anything.content import MediaPart, Modality
from eval_anything.media import MediaStore
from eval_anything.media.encode import encode_wav

if TYPE_CHECKING:
    import torch


def sound_part(samples: torch.Tensor, rate: int, store: MediaStore) -> MediaPart:
    """A WAV in the store with samples (n,) or (channels, n) in -1..1 at `rate` Hz.

    Raises:
        ValueError: there are no samples, or they are infinite or not numbers.
    """
    waveform = samples.detach().float().cpu().numpy()
    if waveform.size == 0:
        raise ValueError("the sound has no samples")
    if not abs(waveform).max() < float("inf"):
        raise ValueError("the sound has samples that are infinite or no numbers")
    return store.put(encode_wav(waveform.T, rate), Modality.AUDIO)


class IdStreamer:
    """A streamer of one `generate` that collects the new ids, even if a later step fails."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.stopped_at_once = False
        self._started = False

    def put(self, ids: Any) -> None:
        """Adds new ids; the first call has the ids of the prompt, which are skipped."""
        if self._started:
            self.ids += ids.reshape(-1).tolist()
        self._started = True

    def end(self) -> None:
        """Notes whether the first new id was the last one."""
        self.stopped_at_once = len(self.ids) == 1
