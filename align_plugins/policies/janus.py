"""Janus and Janus-Pro: text to text or images, or one image to text.

A checkpoint has two heads, one for text and one for image codes, and a request asks for either. So a
response is text or one image, trained with the prompt of `--model-arg output=text` or `output=image`,
but without the guidance of the latter: log-probabilities are those of the model with the prompt.

In a policy's token ids the image codes follow the text vocabulary: code 0 has the id that is the
vocabulary's size.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec.structs import replace

from align_plugins.losses.token_logprobs import TokenLogprobs
from align_plugins.policies.base import IGNORED, Encoded
from align_plugins.policies.chat import ChatPolicy
from eval_anything.content import MODALITIES, MediaPart, Message, Modality, Part
from eval_anything.errors import UserError
from eval_anything.media import MediaStore, read_image
from eval_anything.models.hf.families.janus import JanusFamily
from eval_anything.models.hf.family import FamilySettings
from eval_anything.models.hf.source import Source

if TYPE_CHECKING:
    from eval_anything.models.local.decoding import Continuation


_TEXT, _IMAGE = MODALITIES.index(Modality.TEXT), MODALITIES.index(Modality.IMAGE)


class _Family(JanusFamily):
    """Prompts and generation as in the evaluation, with both heads in the model's forward.

    Attributes:
        saved: the checkpoint's generation config; `load` changes that of the model.
    """

    saved: Any = None

    def _load_weights(self, auto: Any) -> Any:
        from align_plugins.policies.janus_heads import JanusForConditionalGeneration

        model = super()._load_weights(JanusForConditionalGeneration)
        self.saved = copy.deepcopy(model.generation_config)
        return model


class JanusPolicy(ChatPolicy):
    """A response is text and the token that ends it, or one image alone: as many codes as every image of
    the checkpoint has, without an end token.

    All weights are trained except those of the encoder and decoder of image codes: the codes of an image
    must not change.
    """

    name: ClassVar[str] = "janus"
    frozen: ClassVar[str] = r".*\bvqmodel\b.*"
    _family: _Family

    def __init__(self, source: Source, dtype: str = "float32") -> None:
        super().__init__(source, dtype)
        self.outputs = frozenset({Modality.TEXT, Modality.IMAGE})
        self._codes: dict[str, list[int]] = {}  # by sha256 of an image, since they recur
        self._generation: Any = None

    def _family_of(self, source: Source, dtype: str) -> _Family:
        return _Family(source, FamilySettings(dtype=dtype, more=JanusFamily.options))

    def answer_with(self, output: str) -> None:
        """Sets the modality that `respond` samples. Images are sampled without guidance, as they are
        learned."""
        if output not in ("auto", *JanusFamily.modes):
            raise UserError(f"output: {output!r}: Janus answers with {' or '.join(JanusFamily.modes)}")
        guidance = {"guidance_scale": "1"} if output == "image" else {}
        options = {**JanusFamily.options, **guidance}
        self._family = _Family(self.source, replace(self._family.settings, output=output, more=options))

    def load(self) -> None:
        super().load()
        self._family.processor.generation_mode = "text"  # as it is saved; `_asked_for` changes it
        self._generation = self.model.generation_config
        self.model.generation_config = self._family.saved
        self.freeze(self.model)

    @property
    def head(self) -> Any:
        return self.model.model.generation_head if self._draws else super().head

    @property
    def _draws(self) -> bool:
        """Whether `respond` samples images."""
        return self._family.mode == "image"

    @property
    def _words(self) -> int:
        """Size of the text vocabulary."""
        words: int = self.model.config.text_config.vocab_size
        return words

    def encode(self, messages: Sequence[Message], response: Sequence[Part]) -> Encoded:
        self._check((), response)
        image = next((part for part in response if isinstance(part, MediaPart)), None)
        if image is None:
            return super().encode(messages, response)
        if len(response) > 1:
            raise ValueError(
                "its response has an image and another part: text and the codes of an image come from "
                "heads of their own, and Janus is asked for text or for one image"
            )
        return self.with_response(self._before_image(messages), self._image_ids(image))

    def prompt(self, messages: Sequence[Message]) -> Encoded:
        return self._before_image(messages) if self._draws else super().prompt(messages)

    def _before_image(self, messages: Sequence[Message]) -> Encoded:
        """Tokens of a prompt that an image follows; its last token begins the image."""
        if any(part.modality is Modality.IMAGE for message in messages for part in message.parts):
            raise ValueError(
                "its prompt has an image, and so has its response: where Janus is asked for an image, "
                "it is shown text alone (`generate` would drop the image)"
            )
        self._check(messages, ())
        with self._asked_for("image"):
            ids, _ = self._inputs(tuple(messages))
        return Encoded(ids, [], [])

    def with_response(self, prompt: Encoded, ids: Sequence[int]) -> Encoded:
        kinds = [_IMAGE if token >= self._words else _TEXT for token in ids]
        return prompt._replace(response=list(ids), modalities=kinds)

    @contextlib.contextmanager
    def _asked_for(self, output: str) -> Iterator[None]:
        """Context in which the processor makes prompts for text or for an image."""
        processor = self._family.processor
        before, processor.generation_mode = processor.generation_mode, output
        try:
            yield
        finally:
            processor.generation_mode = before

    def _image_ids(self, part: MediaPart) -> list[int]:
        if part.sha256 not in self._codes:
            self._codes[part.sha256] = self._encoded(part.path)
        return [self._words + code for code in self._codes[part.sha256]]

    def _encoded(self, path: Path) -> list[int]:
        """Codes of an image. Its short side is resized to the encoder's size and its long side is
        cropped, as for Janus itself (arXiv 2410.13848, section 4.1).

        A code is the entry nearest to the encoder's vector after both are normalised, as in the original
        (deepseek-ai/Janus, janus/models/vq_model.py) and in the input of the decoder here; `encode` of
        transformers 5.23 does not normalise and gives other codes.
        """
        import torch
        from PIL import Image, ImageOps
        from torch.nn.functional import normalize

        coder, images = self.model.model.vqmodel, self._family.processor.image_processor
        side = coder.config.num_patches * 2 ** (len(coder.config.channel_multiplier) - 1)
        square = ImageOps.fit(Image.fromarray(read_image(path)), (side, side), Image.Resampling.BICUBIC)
        size = {"height": side, "width": side}
        pixels = images([square], size=size, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            states = coder.quant_conv(coder.encoder(pixels.to(self.model.device, self.model.dtype)))
            entries = normalize(coder.quantize.embedding.weight, dim=-1)
            codes: list[int] = (entries @ states[0].flatten(1)).argmax(dim=0).tolist()
        return codes

    def respond(
        self,
        prompts: Sequence[Sequence[Message]],
        seeds: Sequence[int],
        temperature: float,
        max_new_tokens: int,
    ) -> list[Continuation]:
        """Samples responses. `max_new_tokens` limits text; an image has a fixed number of codes."""
        model = self.model
        model.generation_config = self._generation
        try:
            with self._asked_for(self._family.mode):
                continuations = super().respond(prompts, seeds, temperature, max_new_tokens)
        finally:
            model.generation_config = self._family.saved
        if not self._draws:
            return continuations
        return [c._replace(ids=[self._words + i for i in c.ids], ended=True) for c in continuations]

    def decode(self, ids: Sequence[int], store: MediaStore) -> tuple[Part, ...]:
        """Parts of a response. An image is stored with its codes, since encoding the pixels would not
        give all of these codes again."""
        if not ids or ids[0] < self._words:
            return super().decode(ids, store)
        codes = [token - self._words for token in ids]
        image = self._family.picture(codes, store)
        self._codes[image.sha256] = codes
        return (image,)

    def logprobs(self, batch: Mapping[str, Any], model: Any = None) -> TokenLogprobs:
        """Log-probabilities of each row under the head of its response; text and images may share a
        batch."""
        import torch

        from align_plugins.policies.janus_heads import Positions
        from align_plugins.policies.logprobs import chosen_logprobs

        targets, modalities = batch["labels"][:, 1:], batch["modalities"][:, 1:]
        mask = targets != IGNORED
        draws = (targets >= self._words).any(dim=1)
        if not draws.any():
            return super().logprobs(batch, model)
        text, codes = (
            Positions(rows.nonzero()[:, 0], mask[rows].any(dim=0).nonzero()[:, 0])
            for rows in (~draws, draws)
        )
        logits = (self.model if model is None else model)(
            **batch["inputs"], text_at=text, codes_at=codes
        ).logits
        values = torch.zeros(targets.shape, device=targets.device)
        for places, head_logits, first in ((text, logits.text, 0), (codes, logits.codes, self._words)):
            if len(places.rows):
                chosen = chosen_logprobs(head_logits.float(), (places.of(targets) - first).clamp(min=0))
                values = values.index_put((places.rows[:, None], places.columns), chosen)
            else:
                # Every weight has a part in the loss: processes wait for the gradient of each.
                values = values + 0 * head_logits.sum()
        columns = mask.any(dim=0).nonzero()[:, 0]
        values = values.masked_fill(~mask, 0.0)
        return TokenLogprobs(*(tensor[:, columns] for tensor in (values, mask, modalities)))
