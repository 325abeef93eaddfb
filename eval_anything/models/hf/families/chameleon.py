"""Chameleon: text and images are tokens of one vocabulary, so an answer can hold both, in any order.

An image is `<racm3:break>`, as many codes as all images of the checkpoint have, `<eoss>`. That layout is
enforced, as in Chameleon's own code (facebookresearch/chameleon, chameleon/inference/chameleon.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from eval_anything.answer_text import answer_text
from eval_anything.content import MediaPart, Part, TextPart
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.hf.conversation import plain_template
from eval_anything.models.hf.families.image_tokens import ImageTokenFamily
from eval_anything.models.hf.families.pictures import guidance_scale, picture_part
from eval_anything.models.hf.family import EncodedPrompt, Hole
from eval_anything.models.local.thoughts import whole_text

if TYPE_CHECKING:
    import torch


# The scale of `guidance_scale_text` in Chameleon's own code, whose negative prompt is empty.
_GUIDANCE = 3.0


class ChameleonFamily(ImageTokenFamily):
    """Chameleon: text and images in; text, with output=image one image, with output=any what it writes.

    Images out need a checkpoint with the decoder of their codes (`model.vqmodel.decoder.*`). With
    output=any an image begins only where it fits into max_new_tokens, which do not count with
    output=image.

    Its checkpoints have no chat template: turns end with the separator, as in Chameleon's own code
    (the processor adds the last one).
    """

    name: ClassVar[str] = "chameleon"
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
    _tokens: _Tokens

    def _prepare_images(self) -> None:
        processor = self.processor
        self._tokens = _Tokens(
            start=processor.image_start_token_id,
            end=processor.image_end_token_id,
            placeholder=processor.image_token_id,
            codes=frozenset(self.model.model.vocabulary_mapping.image_tokens),
            length=processor.image_seq_length,
        )
        if self.mode == "text":
            return
        self._check_images()
        self._guidance = 1.0
        if self.mode == "image":
            # The codes, the end of the image, and the token that ends the answer.
            self._new = self._tokens.length + 2
            self._opening = [self._tokens.start]
            checkpoint_scale = self.model.generation_config.guidance_scale
            self._guidance = guidance_scale(self.option("guidance_scale"), checkpoint_scale, _GUIDANCE)
            # The negative prompt: an image at the beginning of a text.
            first = self.tokenizer.bos_token_id
            self._negative = self._opening if first is None else [first, *self._opening]

    def _load_weights(self, auto: Any) -> Any:
        if self.mode == "text":
            return super()._load_weights(auto)
        from eval_anything.models.hf.families.chameleon_images import ChameleonForConditionalGeneration

        return super()._load_weights(ChameleonForConditionalGeneration)

    @property
    def draws(self) -> bool:
        """Whether the checkpoint, loaded for images out, has the decoder from codes to pixels."""
        decoder: Any = self.model.model.vqmodel.decoder
        return decoder is not None

    @property
    def room(self) -> int:
        """The number of tokens of an image, with its start and end."""
        return self._tokens.room

    def _check_images(self) -> None:
        """Raises UserError if the checkpoint or max_new_tokens rules out the images of this mode."""
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
        """The prompt of a conversation of texts, with the separator at its end if an answer follows."""
        end = self.tokenizer.sep_token if open_for_answer else ""
        return super().chat(turns, open_for_answer) + end

    def _load_processing(self, reads_media: bool) -> Any:
        holder = super()._load_processing(reads_media)
        if holder.chat_template is None:
            holder.chat_template = plain_template(holder.image_token, holder.tokenizer.sep_token)
        return holder

    def build_inputs(self, prompts: Sequence[EncodedPrompt]) -> Mapping[str, Any]:
        """The inputs of `generate`; with output=image they end where the codes begin."""
        inputs = super().build_inputs(prompts)
        if self.mode != "image":
            return inputs
        from torch.nn.functional import pad

        opened = {"input_ids": self._tokens.start, "attention_mask": 1}
        extended = {name: pad(inputs[name], (0, 1), value=fill) for name, fill in opened.items()}
        return {**inputs, **extended}

    def _layout(self, end: int) -> _Layout:
        after = self.stop[0] if self.mode == "image" else None
        return _Layout(self._tokens, self.model, end, after)

    def pieces(self, ids: list[int], store: MediaStore) -> Iterator[tuple[Part, list[int]]]:
        """Text and images in their order, each with its tokens. ValueError for a wrong layout."""
        tokens = self._tokens
        while ids:
            start = ids.index(tokens.start) if tokens.start in ids else len(ids)
            text = answer_text(whole_text(self.tokenizer, ids[:start]))
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
        """The tokens of an image as in an answer; the processor crops it to a square."""
        import torch

        pixels = self.processed_image(path)["pixel_values"].to(self.model.device, self.model.dtype)
        with torch.inference_mode():
            codes = self.model.get_image_tokens(pixels)
        return [self._tokens.start, *codes[0].tolist(), self._tokens.end]


class _Tokens(NamedTuple):
    """Ids of the tokens of images, and the number of codes of an image."""

    start: int
    end: int
    placeholder: int
    codes: frozenset[int]
    length: int

    @property
    def of_images(self) -> frozenset[int]:
        """All ids that never occur in text."""
        return self.codes | {self.start, self.end, self.placeholder}

    @property
    def room(self) -> int:
        """The number of tokens of an image, with its start and end."""
        return self.length + 2


class _Layout:
    """The `prefix_allowed_tokens_fn` of a batch: it returns the tokens that may come next.

    Inside an image these are codes, as many as an image has, and then its end. Elsewhere it is `after`,
    or if that is None, all tokens except those of images; an image may begin if it can end before
    position `end`.
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
