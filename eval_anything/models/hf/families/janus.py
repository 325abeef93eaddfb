"""Janus and Janus-Pro: one language model with a head for text and one for images; the user chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from eval_anything.content import MediaPart, Modality, Usage
from eval_anything.media import MediaStore
from eval_anything.models.base import Request
from eval_anything.models.hf.families.pictures import (
    check_asked,
    guidance_scale,
    leave_out_check,
    picture_part,
)
from eval_anything.models.hf.family import EncodedPrompt, GeneratedAnswer, Hole
from eval_anything.models.hf.generic import GenericFamily

if TYPE_CHECKING:
    import torch


# The default of `generate` in transformers, for checkpoints without a scale.
_GUIDANCE = 5.0


class JanusFamily(GenericFamily):
    """Janus, Janus-Pro: text and images in; text, or with output=image one image of fixed size."""

    name: ClassVar[str] = "janus"
    modalities_in: ClassVar[tuple[Modality, ...]] = (Modality.TEXT, Modality.IMAGE)
    modalities_out: ClassVar[tuple[Modality, ...]] = (Modality.TEXT, Modality.IMAGE)
    modes: ClassVar[tuple[str, ...]] = ("text", "image")
    holes: ClassVar[tuple[Hole, ...]] = (
        Hole(
            "image in with output=image",
            "`generate` in image mode embeds token ids alone and would drop the image",
        ),
        Hole(
            "text and image in one answer",
            "text and the codes of images come from heads of their own, and `generate` uses one of them",
        ),
    )
    options: ClassVar[Mapping[str, int | float | str]] = {"guidance_scale": "auto"}

    def expected_inputs(self) -> tuple[Modality, ...]:
        return super().expected_inputs() if self.mode == "text" else (Modality.TEXT,)

    def load(self) -> None:
        """Loads the checkpoint and sets up `generate` for the mode, text or image."""
        check_asked(self)
        super().load()
        leave_out_check(self.processor)
        config = self.model.generation_config
        scale = guidance_scale(self.option("guidance_scale"), config.guidance_scale, _GUIDANCE)
        self._guidance = scale
        if self.mode == "text":
            from transformers import GenerationMixin

            # Janus' `generate` passes text on to this one, without guidance; in transformers 5.23 it
            # drops the logits processors, and with them the noise for sampling.
            config.guidance_scale = None
            self.model.generate = partial(GenerationMixin.generate, self.model)
            return
        self._codes = self.model.config.vision_config.num_image_tokens
        self.inputs = self.expected_inputs()
        self.processor.generation_mode = "image"
        # `from_pretrained` of transformers 5.23 drops it.
        config.generation_kwargs = {"boi_token_id": self.tokenizer.boi_token_id}
        config.guidance_scale = 1.0  # the guidance is applied by us, before the noise
        for name in ("bos_token_id", "pad_token_id"):
            if getattr(config, name) is None:
                setattr(config, name, getattr(self.tokenizer, name))

    def prompt(self, request: Request) -> EncodedPrompt:
        """The encoded prompt; with output=image its length includes the image and the guidance."""
        prompt = super().prompt(request)
        if self.mode == "text":
            return prompt
        return prompt._replace(tokens=2 * (prompt.tokens + self._codes))  # guidance adds a row

    def generate(self, inputs: Mapping[str, Any], prompts: Sequence[EncodedPrompt]) -> list[list[int]]:
        """Token ids for each prompt, or with output=image the codes of an image."""
        if self.mode == "text":
            return super().generate(inputs, prompts)
        import torch

        from eval_anything.models.local.generation import sampling_arguments

        def guided(input_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            conditional, unconditional = logits.chunk(2)
            return unconditional + (conditional - unconditional) * self._guidance

        arguments = sampling_arguments(
            [prompt.request.seed for prompt in prompts],
            prompts[0].request.sampling,
            self._codes,
            self.model.generation_config.pad_token_id,
            self.stop,
        )
        arguments["logits_processor"].insert(0, guided)
        with torch.inference_mode():
            codes = self.model.generate(**inputs, generation_mode="image", **arguments)
        return [row.tolist() for row in codes]

    def decode(
        self, output: Any, inputs: Mapping[str, Any], prompts: Sequence[EncodedPrompt], store: MediaStore
    ) -> list[GeneratedAnswer]:
        if self.mode == "text":
            return super().decode(output, inputs, prompts, store)
        read = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            GeneratedAnswer((self.picture(codes, store),), "stop", Usage(n, len(codes)))
            for codes, n in zip(output, read, strict=True)
        ]

    def picture(self, codes: list[int], store: MediaStore) -> MediaPart:
        """The image of these codes, put into the store."""
        import torch

        with torch.inference_mode():
            row = torch.tensor([codes], device=self.model.device)
            pixels = self.model.decode_image_tokens(row)[0].permute(2, 0, 1)
        return picture_part(pixels, self.processor.image_processor, store)
