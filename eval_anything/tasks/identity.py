"""The content of samples as plain values, by which they are hashed, and their length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eval_anything.content import FromTurn, MediaPart, Message, Part, Sample, TextPart, Turn

_LENGTH_OF_A_MEDIUM = 100


def messages_content(messages: Sequence[Message]) -> list[Any]:
    """Roles and parts; a medium is its modality and its sha256."""
    return [[m.role, _parts_content(m.parts)] for m in messages]


def turns_content(turns: Sequence[Turn]) -> list[Any]:
    """The turns as one more value: none if there are no turns, so that other samples keep their hash."""
    return [[[turn.fresh, _parts_content(turn.parts)] for turn in turns]] if turns else []


def sample_content(sample: Sample) -> list[Any]:
    """All of a sample."""
    return [
        sample.id,
        sample.source_id,
        messages_content(sample.messages),
        sample.contract,
        sample.targets,
        sample.metadata,
        *turns_content(sample.turns),
    ]


def length_of(messages: Sequence[Message]) -> int:
    """Approximate length in characters, for batches with little padding; a medium counts as 100."""
    parts = (part for message in messages for part in message.parts)
    return sum(len(p.text) if isinstance(p, TextPart) else _LENGTH_OF_A_MEDIUM for p in parts)


def _parts_content(parts: Sequence[Part | FromTurn]) -> list[Any]:
    return [
        p.text
        if isinstance(p, TextPart)
        else [p.modality, p.sha256 if isinstance(p, MediaPart) else p.turn]
        for p in parts
    ]
