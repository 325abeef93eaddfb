"""Chameleon: text and images in and out, all of them tokens of one vocabulary.

Images of responses can be learned from any checkpoint, since all contain the encoder of image codes. A
checkpoint that also contains the decoder samples what `--model-arg output=any` samples; any other
responds with text only, in training as in evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from align_plugins.policies.image_tokens import ImageTokenPolicy
from eval_anything.models.hf.families.chameleon import ChameleonFamily
from eval_anything.models.hf.family import FamilySettings
from eval_anything.models.hf.source import Source


class _Family(ChameleonFamily):
    """Prompts and generation as in the evaluation, restricted to text where the checkpoint has no
    decoder. In both cases the model keeps the logits of image codes, which the forward of transformers
    masks."""

    def _check_images(self) -> None:
        if not self.draws:
            self.mode = "text"


class ChameleonPolicy(ImageTokenPolicy):
    """Chameleon and Anole. Images are cropped to the square size that all images of the
    checkpoint have."""

    name: ClassVar[str] = "chameleon"
    _family: _Family

    def _family_of(self, source: Source, dtype: str) -> _Family:
        return _Family(source, FamilySettings(dtype=dtype, output="any", more=ChameleonFamily.options))

    def out_of_reach(self, max_new_tokens: int) -> str:
        room = self._family.room
        if not self._family.draws or max_new_tokens >= room:
            return ""
        return f"an image takes {room} tokens and max_new_tokens is {max_new_tokens}: none is drawn"

    def _render(self, turns: Sequence[Mapping[str, str]], open_for_answer: bool) -> str:
        """The rendered conversation, with the separator that the processor adds to prompts."""
        end = self._family.tokenizer.sep_token if open_for_answer else ""
        return super()._render(turns, open_for_answer) + end
