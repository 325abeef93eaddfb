"""Readers of reward models: prompt and response as token ids and tensors of media.

A package adds a reader for its own checkpoints as an entry point of the group
`eval_anything.reward_readers`. Other checkpoints are read by their processor if they have one, and else
as text reward models.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eval_anything import plugins
from eval_anything.content import MODALITIES, Message, Modality, Part, TextPart
from eval_anything.errors import UserError
from eval_anything.files.json_text import read_json
from eval_anything.judges.asking import guard


class UnreadableError(ValueError):
    """The model cannot read the query, for the reason in the message: the response stays unscored."""


class NothingShownError(UnreadableError):
    """The response has a part without content for this model, which is the response's fault: it scores
    the worst value."""


class RewardQuery(NamedTuple):
    """A prompt, and the parts of a response to score together."""

    messages: Sequence[Message]
    parts: Sequence[Part]


_PROCESSOR = "processor_config.json"


_PARTS = {
    Modality.IMAGE: "image_processor",
    Modality.AUDIO: "feature_extractor",
    Modality.VIDEO: "video_processor",
}


class RewardModelInput(NamedTuple):
    """Token ids of one sequence, and further input tensors by name, each of one row or of media."""

    ids: list[int]
    media: Mapping[str, Any] = {}


class Reader(ABC):
    """Converts queries to inputs of a reward model.

    Attributes:
        sees: the modalities that the model perceives.
        files: names of the checkpoint's files that determine its inputs, for the judge's fingerprint.
        exact: whether the model is small enough to run in float32 on every device.
        about: the model in words, for messages.
    """

    sees: frozenset[Modality]
    files: tuple[str, ...]
    exact: bool = False
    about: str = "this reward model"

    @classmethod
    def from_checkpoint(cls, path: Path) -> Reader | None:
        """A reader for a checkpoint, not loaded yet; None if this class does not support it."""
        return None

    @abstractmethod
    def load(self, path: Path) -> None:
        """Loads tokenizer or processor from the checkpoint. It may raise any exception."""

    @abstractmethod
    def read(self, query: RewardQuery) -> RewardModelInput:
        """Input of the model for a query. UnreadableError if the model cannot read it."""


def reader_of(path: Path) -> Reader:
    """Reader of a checkpoint: one of an installed package, else by the checkpoint's processor."""
    for cls in plugins.load_all(plugins.REWARD_READERS).values():
        reader: Reader | None = None if isinstance(cls, UserError) else cls.from_checkpoint(path)
        if reader is not None:
            return reader
    return MediaReader(path) if media_of(path) else TextReader()


class TextReader(Reader):
    """Reader for text reward models: prompt and response in the tokenizer's chat template."""

    sees = frozenset({Modality.TEXT})
    about = "a text reward model"
    files: tuple[str, ...] = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")

    def __init__(self) -> None:
        self.tokenizer: Any = None

    def load(self, path: Path) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)

    def read(self, query: RewardQuery) -> RewardModelInput:
        turns = [_turn(m.role, m.parts) for m in query.messages]
        turns.append(_turn("assistant", query.parts))
        if not self.tokenizer.chat_template:
            text = "\n\n".join(turn["content"] for turn in turns)
            return RewardModelInput(list(self.tokenizer(text)["input_ids"]))
        try:
            encoded = self.tokenizer.apply_chat_template(turns, return_dict=True)
        except Exception as error:  # a template may raise anything, for a role that it does not know
            raise UnreadableError(f"the chat template refuses this conversation: {error}") from None
        return RewardModelInput(list(encoded["input_ids"]))

    def save(self, folder: Path) -> None:
        """Writes the files that `load` reads."""
        self.tokenizer.save_pretrained(folder)


class MediaReader(Reader):
    """Reader for checkpoints with a processor: prompt and response through processor and chat template,
    as in an evaluation of such models, with the media of the response in the assistant's turn."""

    files: tuple[str, ...] = (*TextReader.files, _PROCESSOR)

    def __init__(self, path: Path) -> None:
        self.sees = frozenset({Modality.TEXT, *media_of(path)})
        self.family: Any = None
        self.tokenizer: Any = None

    def load(self, path: Path) -> None:
        from eval_anything.models.hf.families import family_of
        from eval_anything.models.hf.family import FamilySettings
        from eval_anything.models.hf.source import find_source

        source = find_source(path, "", "")
        cls = family_of(source.model_type)
        family: Any = cls(source, FamilySettings(more=cls.options))
        family.load_processing(reads_media=True)
        self.family, self.tokenizer = family, family.tokenizer
        self.sees = frozenset(family.inputs)

    def check(self, query: RewardQuery) -> None:
        """Raises UnreadableError for a prompt with modalities that the model does not see."""
        unseen = {part.modality for turn in query.messages for part in turn.parts} - self.sees
        if unseen:
            raise UnreadableError(f"the prompt has {names_of(unseen)}, which this judge cannot see")

    def read(self, query: RewardQuery) -> RewardModelInput:
        self.check(query)
        turns = [*query.messages, Message("assistant", tuple(query.parts))]
        try:
            tensors = dict(self.family.conversation([_clean(turn) for turn in turns]))
        except Exception as error:  # a template may raise anything, and so may a processor
            raise UnreadableError(f"the processor refuses this conversation: {error}") from None
        tensors.pop("attention_mask")
        ids: list[int] = tensors.pop("input_ids")[0].tolist()
        return RewardModelInput(ids, tensors)

    def save(self, folder: Path) -> None:
        """Writes the files that `load` reads."""
        self.family.processor.save_pretrained(folder)


def media_of(path: Path) -> set[Modality]:
    """Modalities of media that the processor of a checkpoint takes; empty without a processor."""
    file = path / _PROCESSOR
    saved = read_json(file) if file.is_file() else {}
    return {modality for modality, part in _PARTS.items() if saved.get(part)}


def _clean(turn: Message) -> Message:
    parts = (TextPart(guard.clean_text(p.text)) if isinstance(p, TextPart) else p for p in turn.parts)
    return Message(turn.role, tuple(parts))


def _turn(role: str, parts: Sequence[Part]) -> dict[str, str]:
    media = {part.modality for part in parts if not isinstance(part, TextPart)}
    if media:
        names = names_of(media)
        raise UnreadableError(f"the prompt has {names}, which a text reward model cannot see")
    text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
    return {"role": role, "content": guard.clean_text(text)}


def names_of(modalities: set[Modality]) -> str:
    """Names of modalities for messages, in the order of `Modality`.

    Example:
        >>> names_of({Modality.AUDIO, Modality.TEXT})
        'text, audio'
    """
    return ", ".join(m for m in MODALITIES if m in modalities)
