"""What a reward model reads: a prompt and parts of a response as token ids, and perhaps as media.

A package adds a reader for its own checkpoints as an entry point of the group
`eval_anything.reward_readers`. Of the others one with a processor reads what that takes, and any other
is a text reward model.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eval_anything import plugins
from eval_anything.content import MODALITIES, Message, Modality, Part, TextPart
from eval_anything.errors import UserError
from eval_anything.judges.asking import guard


class UnreadableError(ValueError):
    """What this judge cannot be shown; the message says why."""


class NothingShownError(UnreadableError):
    """The response has a part that shows nothing of the judge's world: it is to blame."""


class RewardQuery(NamedTuple):
    """A prompt, and the parts of a response that are judged together."""

    messages: Sequence[Message]
    parts: Sequence[Part]


_PROCESSOR = "processor_config.json"


_PARTS = {
    Modality.IMAGE: "image_processor",
    Modality.AUDIO: "feature_extractor",
    Modality.VIDEO: "video_processor",
}


class RewardModelInput(NamedTuple):
    """Token ids, and the tensors that the model takes beside them, each of one row or of media."""

    ids: list[int]
    media: Mapping[str, Any] = {}


class Reader(ABC):
    """Turns a question into what a model takes.

    Attributes:
        sees: the modalities that the model perceives.
        files: names of the checkpoint's files that decide what it reads, for the judge's fingerprint.
        exact: whether its model is so small that it runs in float32 everywhere.
        about: words for the model in messages.
    """

    sees: frozenset[Modality]
    files: tuple[str, ...]
    exact: bool = False
    about: str = "this reward model"

    @classmethod
    def from_checkpoint(cls, path: Path) -> Reader | None:
        """The reader of a checkpoint, not loaded yet; None if the checkpoint is none of its own."""
        return None

    @abstractmethod
    def load(self, path: Path) -> None:
        """Reads what it needs from the checkpoint. Any exception says that this is not possible."""

    @abstractmethod
    def read(self, question: RewardQuery) -> RewardModelInput:
        """What the model is given. UnreadableError if that is nothing."""


def reader_of(path: Path) -> Reader:
    """The reader of a checkpoint: one that a package brings for it, else by its processor."""
    for cls in plugins.load_all(plugins.REWARD_READERS).values():
        reader: Reader | None = None if isinstance(cls, UserError) else cls.from_checkpoint(path)
        if reader is not None:
            return reader
    return MediaReader(path) if media_of(path) else TextReader()


class TextReader(Reader):
    """For text reward models: prompt and response in the tokenizer's chat template."""

    sees = frozenset({Modality.TEXT})
    about = "a text reward model"
    files: tuple[str, ...] = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")

    def __init__(self) -> None:
        self.tokenizer: Any = None

    def load(self, path: Path) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)

    def read(self, question: RewardQuery) -> RewardModelInput:
        turns = [_turn(m.role, m.parts) for m in question.messages]
        turns.append(_turn("assistant", question.parts))
        if not self.tokenizer.chat_template:
            text = "\n\n".join(turn["content"] for turn in turns)
            return RewardModelInput(list(self.tokenizer(text)["input_ids"]))
        try:
            encoded = self.tokenizer.apply_chat_template(turns, return_dict=True)
        except Exception as error:  # a template may raise anything, for a role that it does not know
            raise UnreadableError(f"the chat template refuses this conversation: {error}") from None
        return RewardModelInput(list(encoded["input_ids"]))

    def save(self, folder: Path) -> None:
        """Writes what `load` reads."""
        self.tokenizer.save_pretrained(folder)


class MediaReader(Reader):
    """For checkpoints that see or hear: prompt and response through processor and chat template, as
    the evaluation asks such models; media of the response stand in the assistant's turn."""

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

    def check(self, question: RewardQuery) -> None:
        """UnreadableError for a prompt that it cannot see."""
        strange = {part.modality for turn in question.messages for part in turn.parts} - self.sees
        if strange:
            raise UnreadableError(f"the prompt has {names_of(strange)}, which this judge cannot see")

    def read(self, question: RewardQuery) -> RewardModelInput:
        self.check(question)
        turns = [*question.messages, Message("assistant", tuple(question.parts))]
        try:
            found = dict(self.family.conversation([_clean(turn) for turn in turns]))
        except Exception as error:  # a template may raise anything, and so may a processor
            raise UnreadableError(f"the processor refuses this conversation: {error}") from None
        found.pop("attention_mask")
        ids: list[int] = found.pop("input_ids")[0].tolist()
        return RewardModelInput(ids, found)

    def save(self, folder: Path) -> None:
        """Writes what `load` reads."""
        self.family.processor.save_pretrained(folder)


def media_of(path: Path) -> set[Modality]:
    """The media that the processor of a checkpoint takes; none if it has no processor."""
    file = path / _PROCESSOR
    saved = json.loads(file.read_bytes()) if file.is_file() else {}
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
    """Modalities for people, in their usual order."""
    return ", ".join(m for m in MODALITIES if m in modalities)
