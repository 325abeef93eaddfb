"""Models in which text and images are tokens of one vocabulary, so a response can hold both.

An image of a response becomes the codes of the checkpoint's own encoder, in the layout that the
evaluation enforces for `--model-arg output=any`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from align_plugins.policies.base import Encoded, modalities_of
from align_plugins.policies.chat import ChatPolicy, request_of
from eval_anything.content import MediaPart, Message, Modality, Part, TextPart
from eval_anything.media import MediaStore
from eval_anything.models.hf.families.chameleon import ChameleonFamily
from eval_anything.models.hf.families.emu3 import Emu3Family
from eval_anything.models.hf.source import Source


class ImageTokenPolicy(ChatPolicy):
    """A response is text and images in any order, and the token that ends it; the tokens that enclose an
    image's codes count as the image's.

    Images of prompts become codes once, before training, as the model itself would make them. The
    encoder is frozen: the codes of an image must not change.
    """

    frozen: ClassVar[str] = r".*\bvqmodel\b.*"
    _family: Emu3Family | ChameleonFamily

    def __init__(self, source: Source, dtype: str = "float32") -> None:
        super().__init__(source, dtype)
        self.outputs = frozenset({Modality.TEXT, Modality.IMAGE})
        self._images: dict[str, list[int]] = {}  # tokens by sha256, since they recur
        self._last: tuple[tuple[Message, ...], list[int]] = ((), [])

    def load(self) -> None:
        super().load()
        self.freeze(self.model)

    def encode(self, messages: Sequence[Message], response: Sequence[Part]) -> Encoded:
        self._check(messages, response)
        texts = (part.text for part in response if isinstance(part, TextPart))
        first_text = next((text for text in texts if text.strip()), ".")
        frame = self._frame(messages)
        before, head = frame.prompt, frame.around(first_text, self._render, self._turns(messages)).head
        text = ""
        ids: list[int] = []
        for index, part in enumerate(response):
            if isinstance(part, TextPart):
                follows = index > 0 and isinstance(response[index - 1], TextPart)
                text += ("\n\n" if follows else "") + part.text
            else:
                ids += [*self._text_ids(text, before, head), *self._image_ids(part)]
                text = before = head = ""
        ids += [*self._text_ids(text, before, head), self._end(frame)]
        return self.with_response(Encoded(self._prompt_ids(tuple(messages)), [], []), ids)

    def with_response(self, prompt: Encoded, ids: Sequence[int]) -> Encoded:
        begin, end = self._family.marks
        kinds = modalities_of(ids, {begin: Modality.IMAGE}, {end})
        return prompt._replace(response=list(ids), modalities=kinds)

    def _image_ids(self, part: MediaPart) -> list[int]:
        if part.sha256 not in self._images:
            self._images[part.sha256] = self._family.image_ids(part.path)
        return self._images[part.sha256]

    def _prompt_ids(self, messages: tuple[Message, ...]) -> list[int]:
        """Token ids of a prompt whose image placeholders are replaced by codes. Both sides of a pair
        share it."""
        if self._last[0] != messages:
            inputs = self._family.build_inputs([self._family.prompt(request_of(messages))])
            ids = self.as_tokens(self.model.model, inputs)["input_ids"]
            self._last = (messages, ids[0].tolist())
        return self._last[1]

    def as_tokens(self, body: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
        import torch

        tensors = dict(inputs)
        if "pixel_values" in tensors:
            pixels = tensors.pop("pixel_values").to(body.device)
            sizes = [tensors.pop("image_sizes")] if "image_sizes" in tensors else []
            with torch.no_grad():
                codes = body.get_image_tokens(pixels, *sizes)
            ids = tensors["input_ids"]
            is_image = ids == body.vocabulary_mapping.image_token_id
            tensors["input_ids"] = ids.masked_scatter(is_image, codes.to(ids))
        return tensors

    def decode(self, ids: Sequence[int], store: MediaStore) -> tuple[Part, ...]:
        """Parts of a response. Images are stored with their codes, since encoding the pixels would not
        give all of these codes again."""
        pieces = list(self._family.pieces(list(ids), store))
        for part, codes in pieces:
            if isinstance(part, MediaPart):
                self._images[part.sha256] = codes
        return tuple(part for part, _ in pieces)
