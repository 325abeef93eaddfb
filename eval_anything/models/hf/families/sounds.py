"""What families that make sounds share: samples as a part, and how many codes were written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eval_anything.content import MediaPart, Modality
from eval_anything.media import MediaStore
from eval_anything.media.encode import encode_wav

if TYPE_CHECKING:
    import torch


def sound_part(samples: torch.Tensor, rate: int, store: MediaStore) -> MediaPart:
    """Samples (n,) or (channels, n) in -1..1 at `rate` Hz, as a WAV in the store.

    ValueError for samples that are no numbers, which a file could not show.
    """
    found = samples.detach().float().cpu().numpy()
    if found.size == 0:
        raise ValueError("the sound has no samples")
    if not abs(found).max() < float("inf"):
        raise ValueError("the sound has samples that are infinite or no numbers")
    return store.put(encode_wav(found.T, rate), Modality.AUDIO)


class Written:
    """A streamer of one `generate`: the new ids, known even if what comes after them fails."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.stopped_at_once = False
        self._started = False

    def put(self, ids: Any) -> None:
        if self._started:
            self.ids += ids.reshape(-1).tolist()
        self._started = True  # the first are the prompt's

    def end(self) -> None:
        self.stopped_at_once = len(self.ids) == 1
