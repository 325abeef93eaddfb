"""Turns of conversations as other projects write them.

Turns are objects with `role` and `content` (chat completions, TRL) or `from` and `value` (ShareGPT,
LLaVA); transcripts are texts with "Human:" and "Assistant:" (HH-RLHF). Content is text, or a list of
blocks: texts, and marks of media, which name their medium themselves or stand for the next one of the
row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from eval_anything.content import Modality, TextPart

MEDIA = (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)
"""Modalities of media, in the order in which those of a prompt are put before its text."""


class Mark(NamedTuple):
    """The place of a medium in a turn. `source` is its bytes, path or data URI; None for the next one of
    the row's media."""

    modality: Modality
    source: str | bytes | None = None


class ForeignTurn(NamedTuple):
    """One turn: `system`, `user` or `assistant`, and its texts and places of media in order."""

    role: str
    pieces: tuple[TextPart | Mark, ...]

    @property
    def text(self) -> str:
        """The texts of the turn."""
        return "\n".join(piece.text for piece in self.pieces if isinstance(piece, TextPart))


_ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "chatgpt", "bot", "bing", "bard"), "assistant"),
}


_TEXT_BLOCKS = ("text", "input_text", "output_text")


_MEDIA_BLOCK = re.compile(r"(?:input_|output_)?(?P<modality>image|audio|video)(?:_url|_path)?")


_LOST = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking", "audio", "images")
"""Keys of a turn whose content would be lost."""


SAME_SIDES = "chosen and rejected are the same: nothing can be learned from such a pair"
"""The reason why a pair of equal sides is left out."""


_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


def words_for(value: Any) -> str:
    """The kind of a JSON value, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    kinds = {str: "text", int: "a number", float: "a number", bytes: "bytes"}
    return next(
        (name for kind, name in kinds.items() if isinstance(value, kind)),
        "a list" if isinstance(value, list | tuple) else "an object",
    )


def turns_of(conversation: Any, field: str) -> list[ForeignTurn]:
    """The turns of a conversation, or of one turn alone.

    Args:
        conversation: the value of a field.
        field: its name, for messages.

    Raises:
        ValueError: it is no conversation, or has content that training rows have no place for.
    """
    turns = [conversation] if isinstance(conversation, Mapping) else conversation
    if not isinstance(turns, list | tuple):
        raise ValueError(f"{field} must be text or a list of turns, not {words_for(conversation)}")
    if not turns:
        raise ValueError(f"{field} is empty")
    return [_turn(turn, f"{field}[{index}]") for index, turn in enumerate(turns)]


def user_turn(text: str) -> ForeignTurn:
    """A turn of the user that is text."""
    return ForeignTurn("user", (TextPart(text),))


def assistant_turn(text: str) -> ForeignTurn:
    """A turn of the assistant that is text."""
    return ForeignTurn("assistant", (TextPart(text),))


def is_transcript(content: Any) -> bool:
    """Whether a text is a transcript with "Human:" and "Assistant:"."""
    return isinstance(content, str) and content.lstrip().startswith("Human:")


def transcript_turns(transcript: str) -> list[ForeignTurn]:
    """The turns of a transcript.

    Example:
        >>> [turn.role for turn in transcript_turns("Human: Why?\\n\\nAssistant: So.")]
        ['user', 'assistant']
    """
    _, *pieces = _SPEAKER.split("\n\n" + transcript.lstrip())
    return [
        (user_turn if speaker == "Human" else assistant_turn)(text.strip())
        for speaker, text in zip(pieces[::2], pieces[1::2], strict=True)
    ]


def common_turns(
    chosen: Sequence[ForeignTurn], rejected: Sequence[ForeignTurn]
) -> tuple[list[ForeignTurn], list[ForeignTurn], list[ForeignTurn]]:
    """The turns that two conversations begin with, and the answer of each, one turn.

    Raises:
        ValueError: they are the same, or do not differ in one answer alone.
    """
    if list(chosen) == list(rejected):
        raise ValueError(SAME_SIDES)
    count = 0
    for chosen_turn, rejected_turn in zip(chosen, rejected, strict=False):
        if chosen_turn != rejected_turn:
            break
        count += 1
    prompt, answers = list(chosen[:count]), [list(chosen[count:]), list(rejected[count:])]
    for name, answer in zip(("chosen", "rejected"), answers, strict=True):
        only_answer(answer, name, "after the turns that chosen and rejected begin with")
    return prompt, answers[0], answers[1]


def only_answer(turns: Sequence[ForeignTurn], field: str, where: str) -> None:
    """ValueError unless the turns are one, of the assistant."""
    if [turn.role for turn in turns] != ["assistant"]:
        roles = ", ".join(turn.role for turn in turns) or "none"
        raise ValueError(
            f"{where} {field} must have exactly one turn, of the assistant; there are: {roles}"
        )


def _turn(turn: Any, where: str) -> ForeignTurn:
    if not isinstance(turn, Mapping):
        raise ValueError(f"{where} must be a turn with role and content, not {words_for(turn)}")
    named_role = turn.get("role") if turn.get("role") is not None else turn.get("from")
    if named_role is None:
        raise ValueError(f"{where} has no role")
    role = _ROLES.get(named_role) if isinstance(named_role, str) else None
    if role is None:
        role_words = repr(named_role[:40]) if isinstance(named_role, str) else words_for(named_role)
        raise ValueError(f"{where}: the role {role_words} is none of system, user, assistant")
    lost = next((key for key in _LOST if turn.get(key)), None)
    if lost is not None:
        raise ValueError(f"{where} has {lost}, which training rows have no place for")
    content = turn.get("content") if turn.get("content") is not None else turn.get("value")
    return ForeignTurn(role, tuple(_pieces(content, where)))


def _pieces(content: Any, where: str) -> list[TextPart | Mark]:
    if isinstance(content, str):
        return [TextPart(content)]
    blocks = [content] if isinstance(content, Mapping) else content
    if not isinstance(blocks, list | tuple):
        raise ValueError(f"{where}: its content must be text or blocks, not {words_for(content)}")
    return [_piece(block, f"{where}: block {number}") for number, block in enumerate(blocks, start=1)]


def _piece(block: Any, where: str) -> TextPart | Mark:
    if isinstance(block, str):
        return TextPart(block)
    if not isinstance(block, Mapping):
        raise ValueError(f"{where} must be text or an object with a type, not {words_for(block)}")
    kind = block.get("type")
    if kind is None and isinstance(block.get("text"), str):
        kind = "text"
    text = block.get("text")
    if kind in _TEXT_BLOCKS:
        if not isinstance(text, str):
            raise ValueError(f"{where}: its text must be text, not {words_for(text)}")
        return TextPart(text)
    match = _MEDIA_BLOCK.fullmatch(kind) if isinstance(kind, str) else None
    if match is None:
        kind_words = repr(kind[:40]) if isinstance(kind, str) else words_for(kind)
        raise ValueError(f"{where}: blocks of type {kind_words} are not read")
    if text:
        raise ValueError(f"{where}: a block of type {kind!r} has a text too, which would be lost")
    modality = Modality(match["modality"])
    keys = (kind, modality.value, f"{modality}_url", "url", "path", "bytes", "data")
    source = next((block[key] for key in keys if block.get(key) is not None), None)
    return Mark(modality, _source(source, modality, where))


def _source(source: Any, modality: Modality, where: str) -> str | bytes | None:
    """Bytes, path or data URI that a block names."""
    if isinstance(source, Mapping):
        if source.get("data") is not None and source.get("format") is not None:  # as OpenAI has sounds
            return f"data:{modality}/{source['format']!s:.20};base64,{source['data']}"
        keys = ("bytes", "path", "url")
        source = next((source[key] for key in keys if source.get(key) is not None), None)
    if source is None or isinstance(source, str | bytes):
        return source
    raise ValueError(f"{where}: a medium is named by bytes or a path, not by {words_for(source)}")
