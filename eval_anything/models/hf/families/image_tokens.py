"""What families share whose text and images are tokens of one vocabulary: an answer can hold both."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from eval_anything.content import Modality, Part
from eval_anything.media import MediaStore, read_image
from eval_anything.models.base import Request
from eval_anything.models.hf.families.pictures import check_asked
from eval_anything.models.hf.family import EncodedPrompt, GeneratedAnswer
from eval_anything.models.hf.generic import GenericFamily


class ImageTokenFamily(GenericFamily):
    """Text and images in; text, with output=image one image, with output=any what it writes.

    The layout of images is enforced. With output=image prompts end where the codes begin, and
    max_new_tokens does not count. `_prepare_images` sets the underscored attributes.

    Attributes:
        _tokens: ids of the tokens that images are made of; `of_images` are those that no text has.
        _opening: the tokens with which prompts of images end.
        _new: how many tokens are drawn for an answer of one image.
        _guidance: scale of the guidance by the prompt; None leaves it to the checkpoint.
        _negative: the prompt that guidance leads away from, as token ids.
    """

    modalities_in: ClassVar[tuple[Modality, ...]] = (Modality.TEXT, Modality.IMAGE)
    modalities_out: ClassVar[tuple[Modality, ...]] = (Modality.TEXT, Modality.IMAGE)
    modes: ClassVar[tuple[str, ...]] = ("text", "image", "any")
    _tokens: Any
    _new: int
    _opening: Sequence[int] = ()
    _guidance: float | None = None
    _negative: Sequence[int] | None = None

    def load(self) -> None:
        check_asked(self)
        super().load()
        self._prepare_images()
        if self.mode == "text":
            self._suppressed = sorted({*self._suppressed, *self._tokens.of_images})

    @property
    def marks(self) -> tuple[int, int]:
        """The tokens with which an image begins and ends, known after `load`."""
        return self._tokens.start, self._tokens.end

    @abstractmethod
    def _prepare_images(self) -> None:
        """Looks up the tokens of images. UserError where images were asked for and cannot be."""

    @abstractmethod
    def _layout(self, end: int) -> Any:
        """Which tokens may come next, as `prefix_allowed_tokens_fn`; rows have room up to `end`."""

    @abstractmethod
    def pieces(self, ids: list[int], store: MediaStore) -> Iterator[tuple[Part, list[int]]]:
        """Text and images in their order, each with its tokens; an image that was cut is left out.
        ValueError for an image whose layout was not enforced and is none."""

    def prompt(self, request: Request) -> EncodedPrompt:
        prompt = super().prompt(request)
        if self.mode != "image":
            return prompt
        guided = self._guidance not in (None, 1)  # once more, without the prompt
        return prompt._replace(tokens=(prompt.tokens + self._new) * (1 + guided))

    def generate(self, inputs: Mapping[str, Any], prompts: Sequence[EncodedPrompt]) -> list[list[int]]:
        if self.mode == "text":
            return super().generate(inputs, prompts)
        import torch

        new = self._new if self.mode == "image" else self.settings.max_new_tokens
        negative: dict[str, Any] = {}
        if self.mode == "image" and self._negative is not None:
            ids = torch.tensor([self._negative], device=self.model.device).repeat(len(prompts), 1)
            mask = torch.ones_like(ids)
            negative = {"negative_prompt_ids": ids, "negative_prompt_attention_mask": mask}
        layout = self._layout(inputs["input_ids"].shape[1] + new)
        return self._new_ids(
            inputs, prompts, new, guidance=self._guidance, prefix_allowed_tokens_fn=layout, **negative
        )

    def decode(
        self, output: Any, inputs: Mapping[str, Any], prompts: Sequence[EncodedPrompt], store: MediaStore
    ) -> list[GeneratedAnswer]:
        answers = super().decode(output, inputs, prompts, store)
        if self.mode == "text":
            return answers
        return [
            answer._replace(parts=tuple(part for part, _ in self.pieces([*self._opening, *ids], store)))
            for answer, ids in zip(answers, output, strict=True)
        ]

    def processed_image(self, path: Path) -> Any:
        """What the image processor makes of a file."""
        from PIL import Image

        return self.processor.image_processor([Image.fromarray(read_image(path))], return_tensors="pt")
