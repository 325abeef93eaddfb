"""Emu3: text and images are tokens of one vocabulary, so an answer can hold both, in any order.

An image is `<|image start|>H*W<|image token|>`, H rows of W codes that each end with a mark,
`<|extra_201|><|image end|>`. Models do not learn this layout reliably, so it is enforced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from eval_anything.answer_text import answer_text
from eval_anything.content import Part, TextPart
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.hf.conversation import plain_template
from eval_anything.models.hf.families.image_tokens import ImageTokenFamily
from eval_anything.models.hf.families.pictures import guidance_scale, leave_out_check, picture_part
from eval_anything.models.hf.family import Hole
from eval_anything.models.local.thoughts import whole_text

if TYPE_CHECKING:
    import torch


_SIZE = re.compile(r"([1-9]\d{0,3})\*([1-9]\d{0,3})")


# The most tokens of a written size.
_SIZE_TOKENS = 12


class Emu3Family(ImageTokenFamily):
    """Emu3: text and images in; text, with output=image one image, with output=any what it writes.

    With output=image the prompt is the text itself (a caption), as documented by transformers; a chat
    template is used if one is given. The image has the `ratio` (width:height) and about `image_area`
    pixels; max_new_tokens does not count. With output=any it does: an image that it cuts is left out.
    """

    name: ClassVar[str] = "emu3"
    holes: ClassVar[tuple[Hole, ...]] = (
        Hole("clips in or out", "processor and language model of transformers take single images"),
    )
    options: ClassVar[Mapping[str, int | float | str]] = {
        "guidance_scale": "auto",
        "negative_prompt": "",
        "ratio": "1:1",
        "image_area": 518400,
    }

    def _prepare_images(self) -> None:
        """Sets the tokens of images; with output=image, the prompt then ends where the codes begin."""
        import torch

        mapping = self.model.vocabulary_mapping
        self._tokens = _Tokens(
            start=self.tokenizer.boi_token_id,
            wrapper=self.tokenizer.image_wrapper_token_id,
            row_end=mapping.eol_token_id,
            frame_end=self.tokenizer.eof_token_id,
            end=self.tokenizer.eoi_token_id,
            codes=torch.tensor(mapping.image_tokens, device=self.model.device),
            vocabulary=self.model.get_output_embeddings().weight.shape[0],
        )
        if self.mode != "image":
            return
        assert self.template is not None
        size = self._asked_size()
        self._new = size.tokens + 3  # the layout, and the token that ends the answer
        opening = self._opening_of(size)
        self.template = self.template.removesuffix("\n") + opening
        self._opening = self.tokenizer.encode(opening, add_special_tokens=False)
        checkpoint_scale = self.model.generation_config.guidance_scale
        self._guidance = guidance_scale(self.option("guidance_scale"), checkpoint_scale, 1.0)
        negative = self.option("negative_prompt")
        if negative and self._guidance == 1:
            raise UserError(
                "--model-arg negative_prompt: the checkpoint names no guidance, and without it this has "
                "no effect: add --model-arg guidance_scale=3, say"
            )
        if negative:
            self._negative = self.processor(text=[negative + opening])["input_ids"][0]

    def _load_processing(self, reads_media: bool) -> Any:
        holder = super()._load_processing(reads_media)
        leave_out_check(self.processor)
        if self.mode == "image":
            holder.chat_template = plain_template(holder.image_token, "\n\n")
        return holder

    def _asked_size(self) -> _Size:
        ratio, area = self.option("ratio"), self.option("image_area")
        if not re.fullmatch(r"[1-9]\d{0,2}:[1-9]\d{0,2}", ratio):
            raise UserError(f"--model-arg ratio={ratio}: must be width:height, such as 16:9")
        size = _Size(
            *self.processor.calculate_generate_size(ratio, area, self.processor.downsample_ratio)
        )
        if not (size.height and size.width):
            raise UserError(f"--model-arg image_area={area}: too small for an image of {ratio}")
        return size

    def _layout(self, end: int) -> _Layout:
        return _Layout(self._tokens, self.tokenizer, self.stop[:1] if self.mode == "image" else None)

    def pieces(self, ids: list[int], store: MediaStore) -> Iterator[tuple[Part, list[int]]]:
        """Text and images in their order, each with its tokens; an image that was cut is left out.

        Raises:
            ValueError: an image that was generated without the enforced layout has another one.
        """
        while ids:
            image = _next_image(ids, self._tokens, self.tokenizer)
            before = ids if image is None else ids[: image.start]
            text = answer_text(whole_text(self.tokenizer, before))
            if text:
                yield TextPart(text), before
            if image is None:
                return
            codes = ids[image.codes : image.end]
            if len(codes) == image.size.tokens + 2:
                _check_layout(codes, image.size, self._tokens)
                yield self._picture(codes, image.size, store), ids[image.start : image.end]
            ids = ids[image.end :]

    def image_ids(self, path: Path) -> list[int]:
        """The tokens of an image as in an answer, at the size to which the processor scales it."""
        import torch

        pixels = self.processed_image(path)
        with torch.inference_mode():
            codes = self.model.model.get_image_tokens(
                pixels["pixel_values"].to(self.model.device), pixels["image_sizes"]
            )
        height, width = (int(n) // self.processor.downsample_ratio for n in pixels["image_sizes"][0])
        return [
            *self.tokenizer.encode(self._opening_of(_Size(height, width)), add_special_tokens=False),
            *codes.tolist(),
            self._tokens.frame_end,
            self._tokens.end,
        ]

    def _opening_of(self, size: _Size) -> str:
        """The text before the codes of an image."""
        return f"{self.tokenizer.boi_token}{size}{self.tokenizer.image_wrapper_token}"

    def _picture(self, codes: list[int], size: _Size, store: MediaStore) -> Part:
        import torch

        # The model ignores the three tokens after the codes.
        row = torch.tensor([[*codes, self.stop[0]]], device=self.model.device)
        with torch.inference_mode():
            pixels = self.model.decode_image_tokens(
                image_tokens=row, height=size.height, width=size.width
            )
        return picture_part(pixels[0], self.processor.image_processor, store)


class _Size(NamedTuple):
    """Height and width of an image, in codes."""

    height: int
    width: int

    @property
    def tokens(self) -> int:
        """The number of codes and of marks at the ends of rows."""
        return self.height * (self.width + 1)

    def __str__(self) -> str:
        return f"{self.height}*{self.width}"


class _Tokens(NamedTuple):
    """Ids of the tokens of images."""

    start: int
    wrapper: int
    row_end: int
    frame_end: int
    end: int
    codes: torch.Tensor
    vocabulary: int

    @property
    def of_images(self) -> list[int]:
        """All ids that never occur in text."""
        marks = [self.start, self.wrapper, self.row_end, self.frame_end, self.end]
        return [*marks, *self.codes.tolist()]


class _Image(NamedTuple):
    """The indices of an image in a row of ids: its start, its first code and its end (exclusive)."""

    start: int
    codes: int
    end: int
    size: _Size


def _next_image(ids: Sequence[int], tokens: _Tokens, tokenizer: Any) -> _Image | None:
    """The first image of a row, None if there is none."""
    if tokens.wrapper not in ids:
        return None
    wrapper = ids.index(tokens.wrapper)
    start, size = _announced(ids[:wrapper], tokens, tokenizer)
    if size is None:
        raise ValueError("an image begins without its size")
    return _Image(start, wrapper + 1, wrapper + 1 + size.tokens + 2, size)


def _announced(ids: Sequence[int], tokens: _Tokens, tokenizer: Any) -> tuple[int, _Size | None]:
    """The index of the image start near the end of the ids, and the size after it, if it is one."""
    for distance in range(1, min(_SIZE_TOKENS, len(ids)) + 1):
        if ids[-distance] == tokens.start:
            match = _SIZE.fullmatch(tokenizer.decode(ids[len(ids) - distance + 1 :]))
            return len(ids) - distance, _Size(int(match[1]), int(match[2])) if match else None
    return len(ids), None


def _check_layout(ids: Sequence[int], size: _Size, tokens: _Tokens) -> None:
    """Raises ValueError unless these are rows of codes, each with its mark, and the marks of the end."""
    import torch

    grid = torch.tensor(ids[: size.tokens]).view(size.height, size.width + 1)
    codes = torch.isin(grid[:, :-1], tokens.codes.cpu()).all()
    marks = (grid[:, -1] == tokens.row_end).all() and ids[size.tokens :] == [
        tokens.frame_end,
        tokens.end,
    ]
    if not (codes and marks):
        raise ValueError(f"an image of {size} codes is not laid out as one")


class _Layout:
    """The `prefix_allowed_tokens_fn` of a batch: it returns the tokens that may come next.

    Inside an image its layout decides. Elsewhere it is `after`, or if that is None, all tokens except
    those that only images have; the codes of an image may begin after its size.
    """

    def __init__(self, tokens: _Tokens, tokenizer: Any, after: list[int] | None) -> None:
        import torch

        self._tokens = tokens
        self._tokenizer = tokenizer
        self._begins = after is None
        device = tokens.codes.device
        if after is None:
            free = torch.ones(tokens.vocabulary, dtype=torch.bool, device=device)
            free[tokens.of_images] = False
            free[tokens.start] = True
            self._free = free.nonzero()[:, 0]
        else:
            self._free = torch.tensor(after, device=device)
        self._sizes: dict[tuple[int, int], _Size] = {}

    def __call__(self, row: int, ids: torch.Tensor) -> torch.Tensor | list[int]:
        wrappers = (ids == self._tokens.wrapper).nonzero()
        if len(wrappers):
            wrapper = int(wrappers[-1])
            size = self._size(row, wrapper, ids)
            offset = len(ids) - wrapper
            if offset <= size.tokens + 2:
                return self._inside(size, offset)
        if self._begins:
            _, announced = _announced(ids[-_SIZE_TOKENS:].tolist(), self._tokens, self._tokenizer)
            if announced is not None:
                return [*self._free.tolist(), self._tokens.wrapper]
        return self._free

    def _inside(self, size: _Size, offset: int) -> torch.Tensor | list[int]:
        """The tokens that may come `offset` positions after the one before the first code."""
        if offset == size.tokens + 2:
            return [self._tokens.end]
        if offset == size.tokens + 1:
            return [self._tokens.frame_end]
        if offset % (size.width + 1) == 0:
            return [self._tokens.row_end]
        return self._tokens.codes

    def _size(self, row: int, wrapper: int, ids: torch.Tensor) -> _Size:
        if (row, wrapper) not in self._sizes:
            before = ids[max(0, wrapper - _SIZE_TOKENS) : wrapper].tolist()
            _, size = _announced(before, self._tokens, self._tokenizer)
            assert size is not None, "the processor and the layout let no image begin without its size"
            self._sizes[row, wrapper] = size
        return self._sizes[row, wrapper]
