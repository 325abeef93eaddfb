"""Emu3: text and images in and out, all of them tokens of one vocabulary."""

from __future__ import annotations

from typing import ClassVar

from align_plugins.policies.image_tokens import ImageTokenPolicy
from eval_anything.models.hf.families.emu3 import Emu3Family
from eval_anything.models.hf.family import FamilySettings
from eval_anything.models.hf.source import Source


class Emu3Policy(ImageTokenPolicy):
    """Emu3. Images are resized to the size that its processor chooses. Its image encoder is frozen:
    batch norms would use statistics of the batch in training."""

    name: ClassVar[str] = "emu3"
    _family: Emu3Family

    def _family_of(self, source: Source, dtype: str) -> Emu3Family:
        return Emu3Family(source, FamilySettings(dtype=dtype, output="any", more=Emu3Family.options))
