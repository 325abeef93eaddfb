"""Chameleon: text and images are tokens of one vocabulary, so an answer can hold both, in any order.

An image is `<racm3:break>`, as many codes as all images of the checkpoint have, `<eoss>`. That layout is
enforced, as in Chameleon's own code (facebookresearch/chameleon, chameleon/inference/chameleon.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from eval_anything.content import MediaPart, Modality, Part, TextPart
from eval_anything.errors import UserError
from eval_anything.media import MediaStore, read_image
from eval_anything.models.base import Request
from eval_anything.models.hf.conversation import plain_template
from eval_anything.models.hf.families.pictures import check_asked, guidance_scale, picture_part
from eval_anything.models.hf.family import Answer, Hole, Prompt
from eval_anything.models.hf.generic import GenericFamily

if TYPE_CHECKING:
    import torch


# Of Chameleon's own code, away from an image without any prompt (`guidance_scale_text`).
_GUIDANCE = 3.0


class ChameleonFamily(GenericFamily):
    """Chameleon: text and images in; text, with output=image one image, with output=any what it writes.

    Images out need a checkpoint with the decoder of their codes (`model.vqmodel.decoder.*`). With
    output=any an image begins only where it fits into max_new_tokens, which do not count with
    output=image.

    Its checkpoints have no chat template: turns end with the separator, as in Chameleon's own code
    (the processor adds the last one).
    """

    name: ClassVar[str] = "chameleon"
    modalities_in: ClassVar[tuple[Modality, ...]] = (Modality.TEXT, Modality.IMAGE)
    modalities_out: ClassVar[tuple[Modality, ...]] = (Modality.TEXT, Modality.IMAGE)
    modes: ClassVar[tuple[str, ...]] = ("text", "image", "any")
    holes: ClassVar[tuple[Hole, ...]] = (
        Hole(
            "image out, for a checkpoint without the decoder of its codes",
            "transformers saves none, so Meta's checkpoints lack it; Anole's converted ones have it",
        ),
        Hole(
            "guidance by the images of a prompt",
            "Chameleon's own code weighs them apart from its text; here the whole prompt guides",
        ),
    )
    options: ClassVar[Mapping[str, int | float | str]] = {"guidance_scale": "auto"}

    def load(self) -> None:
        check_asked(self)
        super().load()
        processor = self.processor
        self._tokens = _Tokens(
            start=processor.image_start_token_id,
            end=processor.image_end_token_id,
            placeholder=processor.image_token_id,
            codes=frozenset(self.model.model.vocabulary_mapping.image_tokens),
            length=processor.image_seq_length,
        )
        self._guidance = 1.0
        if self.mode != "text":
            self._check_images()
        if self.mode == "text":
            self._suppressed = sorted({*self._suppressed, *self._tokens.of_images})
        if self.mode == "image":
            own = self.model.generation_config.guidance_scale
            self._guidance = guidance_scale(self.option("guidance_scale"), own, _GUIDANCE)

    def _load_weights(self, auto: Any) -> Any:
        if self.mode == "text":
            return super()._load_weights(auto)
        from eval_anything.models.hf.families.chameleon_images import ChameleonForConditionalGeneration

        return super()._load_weights(ChameleonForConditionalGeneration)

    @property
    def draws(self) -> bool:
        """Whether the checkpoint, loaded for images out, has what makes pixels of codes."""
        decoder: Any = self.model.model.vqmodel.decoder
        return decoder is not None

    @property
    def room(self) -> int:
        """Tokens of a whole image."""
        return self._tokens.room

    def _check_images(self) -> None:
        """UserError where images were asked for and cannot be."""
        if not self.draws:
            raise UserError(
                f"--model-arg output={self.mode}: {self.source.location} holds no decoder from codes to "
                "pixels (model.vqmodel.decoder.*), so it answers with text alone: leave output out, or "
                "take a checkpoint that was converted with it, as Anole's are"
            )
        most = self.settings.max_new_tokens
        if self.mode == "any" and most < self._tokens.room:
            raise UserError(
                f"--model-arg output=any: an image takes {self._tokens.room} tokens and max_new_tokens "
                f"is {most}, so none would ever begin: add --model-arg max_new_tokens="
                f"{2 * self._tokens.room}"
            )

    def chat(self, turns: Sequence[Mapping[str, str]], open_for_answer: bool) -> str:
        end = self.tokenizer.sep_token if open_for_answer else ""
        return super().chat(turns, open_for_answer) + end

    def _load_processing(self, reads_media: bool) -> Any:
        holder = super()._load_processing(reads_media)
        if holder.chat_template is None:
            holder.chat_template = plain_template(holder.image_token, holder.tokenizer.sep_token)
        return holder

    def prompt(self, request: Request) -> Prompt:
        prompt = super().prompt(request)
        if self.mode != "image":
            return prompt
        guided = self._guidance != 1  # once more, without the prompt
        return prompt._replace(tokens=(prompt.tokens + self._tokens.room) * (1 + guided))

    def build_inputs(self, prompts: Sequence[Prompt]) -> Mapping[str, Any]:
        """With output=image prompts end where the codes begin."""
        inputs = super().build_inputs(prompts)
        if self.mode != "image":
            return inputs
        from torch.nn.functional import pad

        opened = {"input_ids": self._tokens.start, "attention_mask": 1}
        more = {name: pad(inputs[name], (0, 1), value=value) for name, value in opened.items()}
        return {**inputs, **more}

    def generate(self, inputs: Mapping[str, Any], prompts: Sequence[Prompt]) -> list[list[int]]:
        if self.mode == "text":
            return super().generate(inputs, prompts)
        drawn = self.mode == "image"
        # The codes, the end of the image, and the token that ends the answer.
        new = self._tokens.length + 2 if drawn else self.settings.max_new_tokens
        end = inputs["input_ids"].shape[1] + new
        layout = _Layout(self._tokens, self.model, end, after=self._stop[0] if drawn else None)
        more = self._unguided(len(prompts)) if drawn else {}
        with self._guided():
            return self._new_ids(inputs, prompts, new, prefix_allowed_tokens_fn=layout, **more)

    @contextlib.contextmanager
    def _guided(self) -> Iterator[None]:
        """The model's `generate` guides as it is asked to, whatever the checkpoint says."""
        config = self.model.generation_config
        own, config.guidance_scale = config.guidance_scale, self._guidance
        try:
            yield
        finally:
            config.guidance_scale = own

    def _unguided(self, rows: int) -> dict[str, Any]:
        """What guidance leads away from: an image that begins a text."""
        import torch

        first = self.tokenizer.bos_token_id
        alone = [self._tokens.start] if first is None else [first, self._tokens.start]
        ids = torch.tensor([alone], device=self.model.device).repeat(rows, 1)
        return {"negative_prompt_ids": ids, "negative_prompt_attention_mask": torch.ones_like(ids)}

    def decode(
        self, output: Any, inputs: Mapping[str, Any], prompts: Sequence[Prompt], store: MediaStore
    ) -> list[Answer]:
        answers = super().decode(output, inputs, prompts, store)
        if self.mode == "text":
            return answers
        opening = [self._tokens.start] if self.mode == "image" else []
        return [
            answer._replace(parts=tuple(part for part, _ in self.pieces([*opening, *ids], store)))
            for answer, ids in zip(answers, output, strict=True)
        ]

    def pieces(self, ids: list[int], store: MediaStore) -> Iterator[tuple[Part, list[int]]]:
        """Text and images in their order, each with its tokens; an image that was cut is left out.
        ValueError for an image whose layout was not enforced and is none."""
        tokens = self._tokens
        while ids:
            start = ids.index(tokens.start) if tokens.start in ids else len(ids)
            text = self.tokenizer.decode(ids[:start], skip_special_tokens=True).strip()
            if text:
                yield TextPart(text), ids[:start]
            image, ids = ids[start : start + tokens.room], ids[start + tokens.room :]
            if len(image) == tokens.room:
                codes = image[1:-1]
                if not tokens.codes.issuperset(codes) or image[-1] != tokens.end:
                    raise ValueError(f"an image of {tokens.length} codes is not laid out as one")
                yield self._picture(codes, store), image

    def _picture(self, codes: Sequence[int], store: MediaStore) -> MediaPart:
        import torch

        with torch.inference_mode():
            pixels = self.model.decode_image_tokens(codes)
        return picture_part(pixels, self.processor.image_processor, store)

    def image_ids(self, path: Path) -> list[int]:
        """The tokens of an image as an answer holds it, cropped by the processor to a square."""
        import torch
        from PIL import Image

        images = self.processor.image_processor([Image.fromarray(read_image(path))], return_tensors="pt")
        pixels = images["pixel_values"].to(self.model.device, self.model.dtype)
        with torch.inference_mode():
            codes = self.model.get_image_tokens(pixels)
        return [self._tokens.start, *codes[0].tolist(), self._tokens.end]


class _Tokens(NamedTuple):
    """Ids of the tokens that images are made of, and how many codes each has."""

    start: int
    end: int
    placeholder: int
    codes: frozenset[int]
    length: int

    @property
    def of_images(self) -> frozenset[int]:
        """What no text has."""
        return self.codes | {self.start, self.end, self.placeholder}

    @property
    def room(self) -> int:
        """Tokens of a whole image."""
        return self.length + 2


class _Layout:
    """Which tokens may come next: the `prefix_allowed_tokens_fn` of a batch.

    In an image as many codes as it has, then its end. Elsewhere `after`, or where that is None all
    tokens but those of images; an image begins where it can end before the place `end`.
    """

    def __init__(self, tokens: _Tokens, model: Any, end: int, after: int | None) -> None:
        import torch

        vocabulary, device = len(model.get_output_embeddings().weight), model.device
        self._tokens = tokens
        self._end = end
        free = torch.ones(vocabulary, dtype=torch.bool, device=device)
        free[sorted(tokens.of_images)] = False
        self._text = free.nonzero()[:, 0]
        if after is not None:
            self._text = torch.tensor([after], device=device)
        start = torch.tensor([tokens.start], device=device)
        self._text_or_image = torch.cat([self._text, start]) if after is None else self._text
        self._codes = torch.tensor(sorted(tokens.codes), device=device)

    def __call__(self, row: int, ids: torch.Tensor) -> torch.Tensor | list[int]:
        begun = (ids == self._tokens.start).nonzero()
        if len(begun):
            codes = len(ids) - 1 - int(begun[-1])
            if codes < self._tokens.length:
                return self._codes
            if codes == self._tokens.length:
                return [self._tokens.end]
        fits = len(ids) + self._tokens.room <= self._end
        return self._text_or_image if fits else self._text
