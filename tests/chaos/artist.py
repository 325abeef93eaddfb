"""A model of somebody else's package: words and a picture that depend on the sample alone, at once."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from eval_anything.content import Modality, Response, TextPart
from eval_anything.media import MediaStore
from eval_anything.models.base import Model, Request

SECONDS = 0.02  # of a batch


class Artist(Model):
    """Draws noise."""

    replicable = True
    batch_size = 4
    arguments = {}
    name = "artist"

    @classmethod
    def from_spec(cls, spec: str, reference: str | Path, arguments: Mapping[str, str]) -> Artist:
        model = cls()
        model.spec = spec
        return model

    def weights(self) -> str:
        return "0" * 64

    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        time.sleep(SECONDS)
        return [
            Response((TextPart(f"answer to {r.sample_id}"), store.put(_picture(r.seed), Modality.IMAGE)))
            for r in requests
        ]


def _picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
