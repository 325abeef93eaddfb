"""The base of families whose text and images are tokens of one vocabulary: an answer can have both."""

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

    The layout of images is enforced. With output=image, prompts end where the codes begin, and
    max_new_tokens does not count. `_prepare_images` sets the attributes with an underscore.

    Attributes:
        _tokens: ids of the tokens of images; `of_images` are those that never occur in text.
        _opening: the tokens at the end of prompts for images.
        _new: the number of new tokens for an answer of one image.
        _guidance: scale of classifier-free guidance; None leaves it to the checkpoint.
        _negative: the negative prompt of the guidance, as token ids.
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
        """Loads the checkpoint and looks up the tokens of images, which text may not have."""
        check_asked(self)
        super().load()
        self._prepare_images()
        if self.mode == "text":
            self._suppressed = sorted({*self._suppressed, *self._tokens.of_images})

    @property
    def marks(self) -> tuple[int, int]:
        """The tokens with which an image begins and ends; only set after `load`."""
        return self._tokens.start, self._tokens.end

    @abstractmethod
    def _prepare_images(self) -> None:
        """Looks up the tokens of images. Raises UserError if the mode needs images it cannot make."""

    @abstractmethod
    def _layout(self, end: int) -> Any:
        """The `prefix_allowed_tokens_fn` that enforces the layout; rows end before position `end`."""

    @abstractmethod
    def pieces(self, ids: list[int], store: MediaStore) -> Iterator[tuple[Part, list[int]]]:
        """Text and images in their order, each with its tokens; an image that was cut is left out.

        Raises:
            ValueError: an image that was generated without the enforced layout has another one.
        """

    def prompt(self, request: Request) -> EncodedPrompt:
        """The encoded prompt; with output=image its length includes the image and the guidance."""
        prompt = super().prompt(request)
        if self.mode != "image":
            return prompt
        guided = self._guidance not in (None, 1)  # guidance adds a row without the prompt
        return prompt._replace(tokens=(prompt.tokens + self._new) * (1 + guided))

    def generate(self, inputs: Mapping[str, Any], prompts: Sequence[EncodedPrompt]) -> list[list[int]]:
        """New token ids for each prompt, with the layout of images enforced unless output=text."""
        if self.mode == "text":
            return super().generate(inputs, prompts)
        import torch

        new = self._new if self.mode == "image" else self.new_tokens(prompts)
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
        """The image processor's tensors for an image file."""
        from PIL import Image

        return self.processor.image_processor([Image.fromarray(read_image(path))], return_tensors="pt")
