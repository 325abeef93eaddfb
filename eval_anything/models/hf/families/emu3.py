"""Emu3: text and images are tokens of one vocabulary, so an answer can hold both, in any order.

An image is `<|image start|>H*W<|image token|>`, H rows of W codes that each end with a mark,
`<|extra_201|><|image end|>`. The layout is not learnt to the last token, but enforced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from eval_anything.content import Part, TextPart
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.hf.conversation import plain_template
from eval_anything.models.hf.families.image_tokens import ImageTokenFamily
from eval_anything.models.hf.families.pictures import guidance_scale, leave_out_check, picture_part
from eval_anything.models.hf.family import Hole

if TYPE_CHECKING:
    import torch


_SIZE = re.compile(r"([1-9]\d{0,3})\*([1-9]\d{0,3})")


# Tokens within which a size is written out.
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
        """With output=image the prompt ends where the codes begin."""
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
        own = self.model.generation_config.guidance_scale
        self._guidance = guidance_scale(self.option("guidance_scale"), own, 1.0)
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
        """Text and images in their order, each with its tokens, without what leads over; an image that
        was cut is left out. ValueError for an image whose layout was not enforced and is none."""
        while ids:
            found = _next_image(ids, self._tokens, self.tokenizer)
            before = ids if found is None else ids[: found.start]
            text = self.tokenizer.decode(before, skip_special_tokens=True).strip()
            if text:
                yield TextPart(text), before
            if found is None:
                return
            codes = ids[found.codes : found.end]
            if len(codes) == found.size.tokens + 2:
                _check_layout(codes, found.size, self._tokens)
                yield self._picture(codes, found.size, store), ids[found.start : found.end]
            ids = ids[found.end :]

    def image_ids(self, path: Path) -> list[int]:
        """The tokens of an image as an answer holds it, at the size that the processor gives it."""
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
        """What stands before the codes of an image."""
        return f"{self.tokenizer.boi_token}{size}{self.tokenizer.image_wrapper_token}"

    def _picture(self, codes: list[int], size: _Size, store: MediaStore) -> Part:
        import torch

        # The three tokens after the codes are not looked at.
        row = torch.tensor([[*codes, self.stop[0]]], device=self.model.device)
        with torch.inference_mode():
            pixels = self.model.decode_image_tokens(
                image_tokens=row, height=size.height, width=size.width
            )
        return picture_part(pixels[0], self.processor.image_processor, store)


class _Size(NamedTuple):
    """Of an image, in codes."""

    height: int
    width: int

    @property
    def tokens(self) -> int:
        """Codes and the marks of ends of rows."""
        return self.height * (self.width + 1)

    def __str__(self) -> str:
        return f"{self.height}*{self.width}"


class _Tokens(NamedTuple):
    """Ids of the tokens that images are made of."""

    start: int
    wrapper: int
    row_end: int
    frame_end: int
    end: int
    codes: torch.Tensor
    vocabulary: int

    @property
    def of_images(self) -> list[int]:
        """What no text has."""
        marks = [self.start, self.wrapper, self.row_end, self.frame_end, self.end]
        return [*marks, *self.codes.tolist()]


class _Image(NamedTuple):
    """Where an image stands in a row of ids: its start, its first code, what comes after it."""

    start: int
    codes: int
    end: int
    size: _Size


def _next_image(ids: Sequence[int], tokens: _Tokens, tokenizer: Any) -> _Image | None:
    """The first image of a row."""
    if tokens.wrapper not in ids:
        return None
    wrapper = ids.index(tokens.wrapper)
    start, size = _announced(ids[:wrapper], tokens, tokenizer)
    if size is None:
        raise ValueError("an image begins without its size")
    return _Image(start, wrapper + 1, wrapper + 1 + size.tokens + 2, size)


def _announced(ids: Sequence[int], tokens: _Tokens, tokenizer: Any) -> tuple[int, _Size | None]:
    """The place of the image start that the ids end with, and the size that follows it."""
    for back in range(1, min(_SIZE_TOKENS, len(ids)) + 1):
        if ids[-back] == tokens.start:
            found = _SIZE.fullmatch(tokenizer.decode(ids[len(ids) - back + 1 :]))
            return len(ids) - back, _Size(int(found[1]), int(found[2])) if found else None
    return len(ids), None


def _check_layout(ids: Sequence[int], size: _Size, tokens: _Tokens) -> None:
    """ValueError unless these are rows of codes, each with its mark, and the marks of the end."""
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
    """Which tokens may come next: the `prefix_allowed_tokens_fn` of a batch.

    In an image, what its layout asks for. Elsewhere `after`, or where that is None everything but
    what only images have; an image begins after its size.
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
            place = int(wrappers[-1])
            size = self._size(row, place, ids)
            offset = len(ids) - place
            if offset <= size.tokens + 2:
                return self._inside(size, offset)
        if self._begins:
            _, announced = _announced(ids[-_SIZE_TOKENS:].tolist(), self._tokens, self._tokenizer)
            if announced is not None:
                return [*self._free.tolist(), self._tokens.wrapper]
        return self._free

    def _inside(self, size: _Size, offset: int) -> torch.Tensor | list[int]:
        """The token that comes `offset` after the one with which the codes begin."""
        if offset == size.tokens + 2:
            return [self._tokens.end]
        if offset == size.tokens + 1:
            return [self._tokens.frame_end]
        if offset % (size.width + 1) == 0:
            return [self._tokens.row_end]
        return self._tokens.codes

    def _size(self, row: int, place: int, ids: torch.Tensor) -> _Size:
        if (row, place) not in self._sizes:
            before = ids[max(0, place - _SIZE_TOKENS) : place].tolist()
            _, size = _announced(before, self._tokens, self._tokenizer)
            assert size is not None, "the processor and the layout let no image begin without its size"
            self._sizes[row, place] = size
        return self._sizes[row, place]
