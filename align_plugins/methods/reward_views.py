"""Views of a response: the inputs that a reward model reads at once, the same as those of the judge that
it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from align_plugins.policies.base import RowError, max_sequence_length, too_long
from align_plugins.policies.chat import ChatPolicy
from align_plugins.policies.micro import MicroPolicy
from eval_anything.content import MediaPart, Message, Modality, Part, TextPart
from eval_anything.judges.kinds.reward.readers import (
    MediaReader,
    RewardModelInput,
    RewardQuery,
    TextReader,
    UnreadableError,
    names_of,
)
from eval_anything.micro.world.synergy import pairs_of
from eval_anything.models.hf.architecture import auto_class

Kind = Literal["whole", "pairs"]
"""A view of the whole response, or one of each pair of its modalities."""


class View(NamedTuple):
    """Token ids that are read at once, or a query whose media are read when its batch is made. `tokens`
    is 0 where they are not counted."""

    content: RewardModelInput | RewardQuery
    tokens: int = 0


class Views:
    """Makes views for a reward model on the checkpoint of a policy."""

    def __init__(
        self, policy: MicroPolicy | ChatPolicy, model: Any, reader: Any, kind: Kind, reads_media: bool
    ) -> None:
        """`reader` is that of the judge, None for micro. With `reads_media` all media are read now, to
        count their tokens."""
        self._policy = policy
        self._model = model
        self._reader = reader
        self._kind = kind
        self._reads_media = reads_media

    def of(self, messages: Sequence[Message], parts: Sequence[Part]) -> list[View]:
        """Views of a response to a prompt. ValueError if the model cannot read one."""
        if self._kind == "whole":
            return [self._view(messages, parts)]
        by_modality = _one_each(parts)
        pairs = pairs_of(tuple(by_modality))
        if not pairs:
            raise ValueError("a response has one modality, and `views: pairs` reads two together")
        return [self._view(messages, [by_modality[m] for m in pair]) for pair in pairs]

    def _view(self, messages: Sequence[Message], parts: Sequence[Part]) -> View:
        if isinstance(self._policy, MicroPolicy):  # it remembers the codes of media
            encoded = self._policy.encode(messages, parts)
            return View(RewardModelInput(encoded.prompt + encoded.response), encoded.tokens)
        question = RewardQuery(messages, parts)
        unseen = {part.modality for part in parts} - self._reader.sees
        if unseen:
            raise ValueError(f"a response has {names_of(unseen)}, which this checkpoint cannot read")
        prompt = [part for message in messages for part in message.parts]
        media = any(isinstance(part, MediaPart) for part in (*prompt, *parts))
        if media and isinstance(self._reader, MediaReader) and not self._reads_media:
            self._reader.check(question)
            return View(question)
        reading = self.read(question)
        return View(question if media else reading, len(reading.ids))

    def read(self, question: RewardQuery) -> RewardModelInput:
        """Arguments of the model for a query, with media replaced by tokens where the model has tokens
        for them."""
        import torch

        reading: RewardModelInput = self._reader.read(question)
        if not reading.media:
            return reading
        assert isinstance(self._policy, ChatPolicy)
        inputs = {"input_ids": torch.tensor([reading.ids]), **reading.media}
        inputs = self._policy.as_tokens(self._model.base_model, inputs)
        return RewardModelInput(inputs.pop("input_ids")[0].tolist(), inputs)

    def reading(self, row: str, view: View) -> RewardModelInput:
        """Arguments of the model for a view of a row. RowError for media that cannot be read, or that
        have too many tokens."""
        if isinstance(view.content, RewardModelInput):
            return view.content
        try:
            reading = self.read(view.content)
        except UnreadableError as error:
            raise RowError(row, str(error)) from None
        positions = max_sequence_length(self._model)
        if positions is not None and len(reading.ids) > positions:
            raise RowError(row, too_long(len(reading.ids), positions))
        return reading

    def save_beside(self, folder: Path) -> None:
        """Writes the files that the judge needs beside weights and config."""
        (self._policy.save_beside if self._reader is None else self._reader.save)(folder)


def judges_reader(policy: ChatPolicy) -> MediaReader | TextReader:
    """Reader of the judge that a checkpoint becomes, loaded."""
    source = policy.source
    _, reads_media = auto_class(source.location, source.config, trusted=False)
    path = Path(source.location)
    reader = MediaReader(path) if reads_media else TextReader()
    reader.load(path)
    return reader


def _one_each(parts: Sequence[Part]) -> dict[Modality, Part]:
    """One part of each modality, as the judge takes them: all text joined, and the first medium of each
    modality."""
    by_modality: dict[Modality, Part] = {}
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    if texts:
        by_modality[Modality.TEXT] = TextPart("\n\n".join(texts))
    for part in parts:
        if isinstance(part, MediaPart):
            by_modality.setdefault(part.modality, part)
    return by_modality
