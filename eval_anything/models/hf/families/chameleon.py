"""Chameleon: reads text and images in any order, answers with text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from eval_anything.content import Modality
from eval_anything.models.hf.conversation import plain_template
from eval_anything.models.hf.family import Hole
from eval_anything.models.hf.generic import GenericFamily


class ChameleonFamily(GenericFamily):
    """Chameleon: text and images in, text out.

    Its checkpoints have no chat template: turns end with the separator, as in Chameleon's own code
    (facebookresearch/chameleon; the processor adds the last one).
    """

    name: ClassVar[str] = "chameleon"
    model_types: ClassVar[tuple[str, ...]] = ("chameleon",)
    modalities_in: ClassVar[tuple[Modality, ...]] = (Modality.TEXT, Modality.IMAGE)
    holes: ClassVar[tuple[Hole, ...]] = (
        Hole(
            "image out",
            "transformers has the encoder of its codes and no decoder, and masks their logits; the "
            "tokens around an image are never drawn either",
        ),
    )

    def load(self) -> None:
        super().load()
        self._suppressed = sorted({*self._suppressed, *self.processor.image_token_ids})

    def chat(self, turns: Sequence[Mapping[str, str]], open_for_answer: bool) -> str:
        end = self.tokenizer.sep_token if open_for_answer else ""
        return super().chat(turns, open_for_answer) + end

    def _load_processing(self, reads_media: bool) -> Any:
        holder = super()._load_processing(reads_media)
        if holder.chat_template is None:
            holder.chat_template = plain_template(holder.image_token, holder.tokenizer.sep_token)
        return holder
