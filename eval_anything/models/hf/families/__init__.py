"""The families by model_type. A new one is imported and listed here; what is not listed is generic."""

from __future__ import annotations

from eval_anything.models.hf.families.chameleon import ChameleonFamily
from eval_anything.models.hf.families.emu3 import Emu3Family
from eval_anything.models.hf.families.janus import JanusFamily
from eval_anything.models.hf.families.omni import Qwen3OmniFamily, Qwen25OmniFamily
from eval_anything.models.hf.families.text_to_audio import (
    BarkFamily,
    MusicGenFamily,
    SpeechT5Family,
    VitsFamily,
)
from eval_anything.models.hf.family import Family
from eval_anything.models.hf.generic import GenericFamily

# In the order in which `models list` shows them.
CLASSES: tuple[type[Family], ...] = (
    GenericFamily,
    ChameleonFamily,
    Emu3Family,
    JanusFamily,
    Qwen25OmniFamily,
    Qwen3OmniFamily,
    MusicGenFamily,
    VitsFamily,
    SpeechT5Family,
    BarkFamily,
)


FAMILIES: dict[str, type[Family]] = {kind: cls for cls in CLASSES for kind in cls.model_types}


def family_of(model_type: str) -> type[Family]:
    """The class that serves a config.model_type."""
    return FAMILIES.get(model_type, GenericFamily)
