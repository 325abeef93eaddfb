"""Chameleon: text and images in and out, all of them tokens of one vocabulary.

Images of responses are learned from any checkpoint, since all hold the encoder of codes. A checkpoint
that holds the decoder too draws what `--model-arg output=any` draws; any other answers with text alone,
in training as in evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from align_plugins.policies.image_tokens import ImageTokenPolicy
from eval_anything.models.hf.families.chameleon import ChameleonFamily
from eval_anything.models.hf.family import FamilySettings
from eval_anything.models.hf.source import Source


class _Family(ChameleonFamily):
    """As the evaluation asks, for text alone where the checkpoint cannot draw. Either way the model has
    the logits of codes, which the forward of transformers hides."""

    def _check_images(self) -> None:
        if not self.draws:
            self.mode = "text"


class ChameleonPolicy(ImageTokenPolicy):
    """Images are cropped to the square that all images of the checkpoint have."""

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
        """With the separator that the processor adds to prompts."""
        end = self._family.tokenizer.sep_token if open_for_answer else ""
        return super()._render(turns, open_for_answer) + end
