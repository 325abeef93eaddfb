"""What a reward model reads: a prompt and parts of a response as token ids.

A checkpoint of the micro world reads all modalities as tokens; any other is a text reward model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from eval_anything.content import MODALITIES, MediaPart, Message, Modality, Part, TextPart
from eval_anything.scorers import guard


class UnreadableError(ValueError):
    """What this judge cannot be shown; the message says why."""


class NothingShownError(UnreadableError):
    """The response has a part that shows nothing of the judge's world: it is to blame."""


class Question(NamedTuple):
    """A prompt, and the parts of a response that are judged together."""

    messages: Sequence[Message]
    parts: Sequence[Part]


class Reader(Protocol):
    """Turns a question into token ids."""

    sees: frozenset[Modality]
    files: tuple[str, ...]

    def load(self, path: Path) -> None:
        """Reads what it needs from the checkpoint. Any exception says that this is not possible."""

    def ids(self, question: Question) -> list[int]:
        """The token ids. UnreadableError if there are none."""


class MicroReader:
    """For checkpoints of the micro world: prompt, parts and <eos> in its one vocabulary."""

    sees = frozenset(MODALITIES)
    files: tuple[str, ...] = ("codec.json",)

    def load(self, path: Path) -> None:
        from eval_anything.micro.vocabulary import check_description

        check_description(path)

    def ids(self, question: Question) -> list[int]:
        from eval_anything.micro import codec

        try:
            prompt = codec.encode_prompt(question.messages)
        except ValueError as error:
            raise UnreadableError(f"the judge cannot read the prompt: {error}") from None
        try:
            return prompt + codec.encode_response(question.parts)
        except ValueError as error:
            # Where a file lies is no part of what is wrong with it, and differs from run to run.
            reason = str(error)
            for part in question.parts:
                if isinstance(part, MediaPart):
                    reason = reason.replace(str(part.path), f"the {part.modality}")
            raise NothingShownError(f"a part that shows nothing: {reason}") from None


class TextReader:
    """For text reward models: prompt and response in the tokenizer's chat template."""

    sees = frozenset({Modality.TEXT})
    files: tuple[str, ...] = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")

    def __init__(self) -> None:
        self.tokenizer: Any = None

    def load(self, path: Path) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)

    def ids(self, question: Question) -> list[int]:
        turns = [_turn(m.role, m.parts) for m in question.messages]
        turns.append(_turn("assistant", question.parts))
        if not self.tokenizer.chat_template:
            return list(self.tokenizer("\n\n".join(turn["content"] for turn in turns))["input_ids"])
        try:
            return list(self.tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"])
        except Exception as error:  # a template may raise anything, for a role that it does not know
            raise UnreadableError(f"the chat template refuses this conversation: {error}") from None


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
