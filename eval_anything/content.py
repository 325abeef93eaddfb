"""The content types that everything else speaks: part, message, sample, response, score, record.

All are immutable and validated when they are made. Files hold their JSON form; `sample_from_json`,
`record_from_json` and `record_to_json` are the only ways between the two. In memory a medium's
path is absolute; in a file it is relative to the folder that owns it (task folder or run).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct


class Modality(StrEnum):
    """What a part is made of. The order is the one used in every listing."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"


MODALITIES = tuple(Modality)


def _clean(value: Struct, field: str) -> None:
    """Replaces lone surrogates, which no file can hold, by U+FFFD."""
    text: str = getattr(value, field)
    if not text.isascii():
        clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        msgspec.structs.force_setattr(value, field, clean)


class TextPart(Struct, frozen=True):
    """A piece of text. Lone surrogates, which no file can hold, become U+FFFD."""

    text: str

    def __post_init__(self) -> None:
        _clean(self, "text")

    @property
    def modality(self) -> Modality:
        return Modality.TEXT

    @property
    def key(self) -> str:
        """The content that makes parts of one modality the same: the text."""
        return self.text


class MediaPart(Struct, frozen=True):
    """An image, a sound or a clip: bytes known by their sha256 (hex), in a file at `path`."""

    modality: Modality
    sha256: str
    mime: str
    path: Path

    def __post_init__(self) -> None:
        if self.modality is Modality.TEXT:
            raise ValueError("text is kept in a TextPart, not in a file")

    @property
    def key(self) -> str:
        """The content that makes parts of one modality the same: the sha256 (hex) of the bytes."""
        return self.sha256


Part = TextPart | MediaPart


def _text_of(parts: Sequence[Part]) -> str:
    return "\n\n".join(part.text for part in parts if isinstance(part, TextPart))


class Message(Struct, frozen=True):
    """One turn of a conversation: a role and its parts in order."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]

    @property
    def key(self) -> list[object]:
        """The content that makes messages the same, fit for `sha256_of`."""
        return [self.role, [part.key for part in self.parts]]

    @property
    def text(self) -> str:
        """All text parts, joined by blank lines."""
        return _text_of(self.parts)


class Contract(Struct, frozen=True, forbid_unknown_fields=True):
    """Which modalities a response must, may and must not have; one named nowhere is forbidden."""

    required: tuple[Modality, ...] = ()
    allowed: tuple[Modality, ...] = ()
    forbidden: tuple[Modality, ...] = ()

    def __post_init__(self) -> None:
        for one, other in (
            ("required", "forbidden"),
            ("required", "allowed"),
            ("allowed", "forbidden"),
        ):
            both = set(getattr(self, one)) & set(getattr(self, other))
            if both:
                names = ", ".join(sorted(both))
                raise ValueError(f"contract contradicts itself: {names} is both {one} and {other}")
        if not self.required and not self.allowed:
            raise ValueError("contract names no modality that a response may have")

    @property
    def sharp(self) -> bool:
        """Whether exactly one combination of modalities keeps the contract."""
        return not self.allowed


ANYTHING = Contract(allowed=MODALITIES)
"""Of a response that may have any modality."""


class FromTurn(Struct, frozen=True):
    """In a later question: what the model itself gave in an earlier turn (1 is its first answer), all of
    its text or the first medium of the modality."""

    modality: Modality
    turn: int


class Turn(Struct, frozen=True):
    """A further question of the user. In a `fresh` one the model is not shown what was said before."""

    parts: tuple[Part | FromTurn, ...]
    fresh: bool = False


class Sample(Struct, frozen=True):
    """One item of a task. Samples that share a `source_id` are one cluster: not independent.

    `turns` are asked after `messages`, one after another, each once the answer before it is there. Then
    a scorer gets the sample with the messages that the last answer was given to.
    """

    id: str
    messages: tuple[Message, ...]
    contract: Contract
    targets: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    source_id: str = ""
    turns: tuple[Turn, ...] = ()


FailureKind = Literal[
    "model_error",
    "unsupported_input",
    "empty_output",
    "invalid_output",
    "missing_output",
    "unparsable_plan",
    "refusal",
    "generator_failed",
]


class Failure(Struct, frozen=True):
    """Why the model has no usable response to a sample: the sample scores the floor."""

    kind: FailureKind
    message: str

    def __post_init__(self) -> None:
        _clean(self, "message")


class Usage(Struct, frozen=True, omit_defaults=True):
    """Tokens that answering took, as the model counts them. None, absent in files: not known."""

    input: int | None = None
    output: int | None = None

    def __add__(self, other: Usage) -> Usage:
        """Both together; what is known of one alone counts as it is."""
        return Usage(_added(self.input, other.input), _added(self.output, other.output))


NO_TOKENS = Usage(0, 0)


def _added(first: int | None, second: int | None) -> int | None:
    return second if first is None else first + (second or 0)


class Latency(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Seconds that a response took. None, absent in files: not measured.

    `total` is from the request to the last byte. A stream also has the times until its first piece
    came, of anything and of each modality; an agent, those of its planner and of each generator.
    """

    total: float | None = None
    first_token: float | None = None
    first_text: float | None = None
    first_image: float | None = None
    first_audio: float | None = None
    first_video: float | None = None
    plan: float | None = None
    image: float | None = None
    audio: float | None = None
    video: float | None = None


class Response(Struct, frozen=True):
    """What a model answered: its parts in order, and how that went.

    `order_known` is False where the source does not tell the order of parts of different modality.
    `details` is what else the record should keep, such as the prompts of generators.

    Where a sample has several turns this is the answer to the last one; `turns` holds the parts of the
    answers before it, `usage` and the total latency are of all of them.
    """

    parts: tuple[Part, ...] = ()
    order_known: bool = True
    stop_reason: str | None = None
    usage: Usage = Usage()
    latency: Latency = Latency()
    error: Failure | None = None
    details: dict[str, Any] = {}
    turns: tuple[tuple[Part, ...], ...] = ()

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The distinct modalities present, in the order of `Modality`."""
        present = {part.modality for part in self.parts}
        return tuple(m for m in MODALITIES if m in present)

    @property
    def text(self) -> str:
        """All text parts, joined by blank lines."""
        return _text_of(self.parts)

    def first(self, modality: Modality) -> MediaPart | None:
        """The first medium of that modality, if there is one."""
        return next((p for p in self.parts if isinstance(p, MediaPart) and p.modality is modality), None)


class Score(Struct, frozen=True, omit_defaults=True):
    """One number about one response. `value` is None when the judge failed: unscored, never guessed.

    A scorer sets value, explanation and details; the engine adds judge, range and direction from
    the metric's declaration.
    """

    value: float | None = msgspec.field()
    judge: str = ""
    range: tuple[float, float] = (0.0, 1.0)
    better: Literal["higher", "lower"] = "higher"
    explanation: str = ""
    details: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"a score must be a finite number or None, not {self.value}")
        if self.value is not None and type(self.value) is not float:  # of numpy, or a bool
            msgspec.structs.force_setattr(self, "value", float(self.value))
        _clean(self, "explanation")


class _RecordFields(Struct, frozen=True, kw_only=True):
    sample_id: str
    repeat: int
    item: str
    source_id: str
    order_known: bool
    stop_reason: str | None
    scores: dict[str, Score]
    error: Failure | None
    usage: Usage
    latency: Latency
    details: dict[str, Any] = {}
    groups: dict[str, str] = {}


class Record(_RecordFields, frozen=True, kw_only=True):
    """One line of a run's log: a sample, the response of the model, and its scores.

    `item` is the sha256 of messages, template and media: two runs are paired on it. `groups` are the
    sample's values of the task's `group_by` keys. `turns` are the parts of the answers before the last.
    """

    parts: tuple[Part, ...]
    turns: tuple[tuple[Part, ...], ...] = ()


class Metric(Struct, frozen=True, forbid_unknown_fields=True):
    """A number that a scorer gives: its range, which direction is good, and its floor.

    A sample that the model failed scores the floor; unless given, that is the bad end of the range.
    """

    range: tuple[float, float]
    better: Literal["higher", "lower"] = "higher"
    floor: float | None = None
    description: str = ""

    def __post_init__(self) -> None:
        low, high = self.range
        if not low < high:
            raise ValueError(f"range must rise, not [{low}, {high}]")
        if self.floor is not None and not low <= self.floor <= high:
            raise ValueError(f"floor {self.floor} is outside the range [{low}, {high}]")

    @property
    def worst(self) -> float:
        """What a failed sample scores."""
        if self.floor is not None:
            return self.floor
        return self.range[0] if self.better == "higher" else self.range[1]
