"""Content types of all packages: part, message, contract, sample, response, score, record, metric.

All are immutable and validated when they are created. Files have their JSON form, which `jsonl.py`
reads and writes. In memory the path of a medium is absolute; in a file it is relative to the folder
that the medium belongs to (task folder or run).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct


class Modality(StrEnum):
    """Kind of content of a part. The order of the members is the order in every listing."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"


MODALITIES = tuple(Modality)


def without_surrogates(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot encode, replaced by U+FFFD; the halves of a pair
    become their character."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


LARGEST = 1e50
"""Largest absolute value of an end of a range, and the inverse of the smallest width: the fourth power
of a score, which statistics take, is still a number."""


Count = Annotated[int, Meta(ge=0, le=2**53)]
"""A number of things, as files may have it."""


Seconds = Annotated[float, Meta(ge=0, le=1e12)]
"""A duration, as files may have it."""


def check_range(low_and_high: tuple[float, float]) -> None:
    """ValueError for a range that does not rise, or with ends that no calculation can take."""
    low, high = low_and_high
    if not low < high:
        raise ValueError(f"range must rise, not [{low}, {high}]")
    if max(-low, high) > LARGEST or high - low < 1 / LARGEST:
        raise ValueError(f"range [{low}, {high}] has ends beyond {LARGEST:g}, or almost no width")


def share_of_range(
    value: float, low_and_high: tuple[float, float], better: Literal["higher", "lower"]
) -> float:
    """A score as a share of its range, 1 being the best whichever direction is good.

    Example:
        >>> share_of_range(2.5, (0.0, 10.0), "lower")
        0.75
    """
    low, high = low_and_high
    share = (value - low) / (high - low)
    return share if better == "higher" else 1 - share


def _clean(struct: Struct, field: str) -> None:
    """Replaces lone surrogates in a text field."""
    text: str = getattr(struct, field)
    if not text.isascii():
        msgspec.structs.force_setattr(struct, field, without_surrogates(text))


class TextPart(Struct, frozen=True):
    """A piece of text. Lone surrogates, which UTF-8 cannot encode, become U+FFFD.

    Example:
        >>> TextPart("a red circle").modality
        <Modality.TEXT: 'text'>
    """

    text: str

    def __post_init__(self) -> None:
        _clean(self, "text")

    @property
    def modality(self) -> Modality:
        """Always `Modality.TEXT`."""
        return Modality.TEXT

    @property
    def key(self) -> str:
        """Identity of the content among parts of one modality: the text."""
        return self.text


class MediaPart(Struct, frozen=True):
    """An image, a sound or a clip in a file.

    Attributes:
        modality: image, audio or video; ValueError for text.
        sha256: hash of the bytes of the file, in hex.
        mime: MIME type, such as image/png.
        path: the file, absolute.
    """

    modality: Modality
    sha256: str
    mime: str
    path: Path

    def __post_init__(self) -> None:
        if self.modality is Modality.TEXT:
            raise ValueError("a MediaPart cannot be text: use a TextPart")

    @property
    def key(self) -> str:
        """Identity of the content among parts of one modality: the sha256 (hex) of the bytes."""
        return self.sha256


Part = TextPart | MediaPart


def _text_of(parts: Sequence[Part]) -> str:
    return "\n\n".join(part.text for part in parts if isinstance(part, TextPart))


class Message(Struct, frozen=True):
    """One message of a conversation: the role of its author, and its parts in order.

    Example:
        >>> Message("user", (TextPart("Describe it."), TextPart("Be brief."))).text
        'Describe it.\\n\\nBe brief.'
    """

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]

    @property
    def key(self) -> list[object]:
        """Identity of the content, as a value that `sha256_of` can hash."""
        return [self.role, [part.key for part in self.parts]]

    @property
    def text(self) -> str:
        """All text parts, joined by blank lines."""
        return _text_of(self.parts)


class Contract(Struct, frozen=True, forbid_unknown_fields=True):
    """Modalities that a response must, may and must not have; one in none of the lists is forbidden.

    ValueError if a modality is in two lists, or a response may have none.

    Example:
        >>> contract = Contract(required=(Modality.TEXT,), allowed=(Modality.IMAGE,))
        >>> contract.sharp
        False
    """

    required: tuple[Modality, ...] = ()
    allowed: tuple[Modality, ...] = ()
    forbidden: tuple[Modality, ...] = ()

    def __post_init__(self) -> None:
        for first, second in (
            ("required", "forbidden"),
            ("required", "allowed"),
            ("allowed", "forbidden"),
        ):
            overlap = set(getattr(self, first)) & set(getattr(self, second))
            if overlap:
                names = ", ".join(sorted(overlap))
                raise ValueError(f"contract contradicts itself: {names} is both {first} and {second}")
        if not self.required and not self.allowed:
            raise ValueError("contract names no modality that a response may have")

    @property
    def sharp(self) -> bool:
        """Whether exactly one combination of modalities satisfies the contract."""
        return not self.allowed


ANYTHING = Contract(allowed=MODALITIES)
"""Contract that every non-empty response satisfies."""


class FromTurn(Struct, frozen=True):
    """Placeholder in a later question for the model's own answer in an earlier turn (1 is its first
    answer): all of its text, or its first medium of the modality."""

    modality: Modality
    turn: int


class Turn(Struct, frozen=True):
    """A further question of the user. If `fresh`, it is asked without the conversation before it."""

    parts: tuple[Part | FromTurn, ...]
    fresh: bool = False


class Sample(Struct, frozen=True):
    """One item of a task.

    Attributes:
        id: unique in its task.
        messages: the conversation up to the answer; the last message is the user's.
        contract: the modalities that a response must, may and must not have.
        targets: reference answers and other data for scorers, never shown to the model.
        metadata: properties of the sample for the task's template, groups and controls.
        source_id: samples that share it form one cluster: they are not independent.
        turns: further questions after `messages`, each asked after the answer to the one before it. A
            scorer gets such a sample with the messages that the last answer was given to.

    Example:
        >>> question = Message("user", (TextPart("Name a primary colour."),))
        >>> contract = Contract(required=(Modality.TEXT,))
        >>> sample = Sample("colours-1", (question,), contract, targets={"answer": ["red", "blue"]})
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
    "unreadable_input",
    "empty_output",
    "invalid_output",
    "missing_output",
    "unparsable_plan",
    "refusal",
    "generator_failed",
    "skipped",
]


FAILURE_KINDS: tuple[str, ...] = get_args(FailureKind)


class Failure(Struct, frozen=True):
    """Reason why there is no usable response to a sample.

    If the model failed, the sample scores the floor of each metric. Two kinds are no failures of the
    model. `skipped`: a server failed, and the user gave up on the sample (`--skip-failing`): it has no
    scores. `unreadable_input`: a medium of the question cannot be read here; no record has this kind,
    since the sample stays pending.
    """

    kind: FailureKind
    message: str

    def __post_init__(self) -> None:
        _clean(self, "message")

    @property
    def of_model(self) -> bool:
        """Whether the model failed."""
        return self.kind not in ("skipped", "unreadable_input")


class Usage(Struct, frozen=True, omit_defaults=True, repr_omit_defaults=True):
    """Numbers of tokens that a response took, as the model counts them. None (absent in files): unknown.

    `estimated` says that a server reported none, so that they are estimated from texts and media.

    Example:
        >>> Usage(100, 20) + Usage(50)
        Usage(input=150, output=20)
    """

    input: Count | None = None
    output: Count | None = None
    estimated: bool = False

    def __add__(self, other: Usage) -> Usage:
        """Sum of both; a number that only one of them has is that number."""
        return Usage(
            _added(self.input, other.input),
            _added(self.output, other.output),
            self.estimated or other.estimated,
        )


NO_TOKENS = Usage(0, 0)


def _added(first: int | None, second: int | None) -> int | None:
    return second if first is None else first + (second or 0)


class Latency(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Durations of a response in seconds. None (absent in files): not measured.

    `total` is from the request to the last byte. A stream also has the times to its first token and to
    the first piece of each modality; an agent has those of its planner (`plan`) and its generators.
    """

    total: Seconds | None = None
    first_token: Seconds | None = None
    first_text: Seconds | None = None
    first_image: Seconds | None = None
    first_audio: Seconds | None = None
    first_video: Seconds | None = None
    plan: Seconds | None = None
    image: Seconds | None = None
    audio: Seconds | None = None
    video: Seconds | None = None


class Response(Struct, frozen=True):
    """Answer of a model to one sample, with its costs and its failure, if any.

    For a sample with several turns it is the answer to the last one; `usage` and the total latency are
    sums over all of them.

    Attributes:
        parts: the content in order.
        order_known: False if the order of parts of different modality is not known.
        stop_reason: the model's reason for ending the answer, such as "length".
        error: the failure, if there is no usable answer.
        details: further data for the record, such as the prompts of generators.
        turns: the parts of the answers before the last one.

    Example:
        >>> response = Response((TextPart("A red circle."),))
        >>> response.modalities, response.text, response.first(Modality.IMAGE)
        ((<Modality.TEXT: 'text'>,), 'A red circle.', None)
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
        """The first medium of a modality, None if there is none."""
        return next((p for p in self.parts if isinstance(p, MediaPart) and p.modality is modality), None)


class Score(Struct, frozen=True, omit_defaults=True):
    """Value of one metric for one response.

    A scorer sets `value`, `explanation` and `details`; the engine adds the rest from the declaration of
    the metric. ValueError for a value that is not finite.

    Attributes:
        value: the score, or None if it could not be computed, such as when a judge model failed.
        judge: name of the judge.
        range: lowest and highest possible value.
        better: whether higher or lower values are better.
        explanation: a sentence for readers of the record.
        details: further data for the record.

    Example:
        >>> Score(0.5, explanation="one of two objects is there").value
        0.5
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
        if self.value is not None and type(self.value) is not float:  # a number of numpy, or a bool
            msgspec.structs.force_setattr(self, "value", float(self.value))
        _clean(self, "explanation")


def check_scores(scores: Mapping[str, Score]) -> None:
    """ValueError for a score on record that is outside of its range, or whose range is none."""
    for name, score in scores.items():
        check_range(score.range)
        low, high = score.range
        slack = 1e-9 * (high - low)
        if score.value is not None and not low - slack <= score.value <= high + slack:
            raise ValueError(f"the score {score.value} of {name} is outside of {low}..{high}")


class _RecordFields(Struct, frozen=True, kw_only=True):
    sample_id: str
    repeat: Count
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
    inputs: tuple[Modality, ...] = ()
    outputs: tuple[Modality, ...] = ()
    judged: tuple[str, ...] = ()


class Record(_RecordFields, frozen=True, kw_only=True):
    """One line of a run's log: the id of a sample, the response of the model, and its scores.

    Attributes:
        repeat: index of the answer, from 0, where a run asks for several per sample.
        item: sha256 of messages, template and media; two runs are paired by it.
        source_id: cluster of the sample.
        scores: by metric.
        groups: values of the sample for the keys in the task's `group_by`.
        inputs: modalities of the question. Empty in records of older versions.
        outputs: modalities that the answer must have.
        judged: the judges that scored the answer of an earlier record; all else is as it was there.
            Empty for an answer that is new.
        parts: the answer.
        turns: the parts of the answers before the last one.
    """

    parts: tuple[Part, ...]
    turns: tuple[tuple[Part, ...], ...] = ()


class Metric(Struct, frozen=True, forbid_unknown_fields=True):
    """Declaration of a metric. ValueError for an empty range or a floor outside of it.

    Attributes:
        range: lowest and highest possible value.
        better: whether higher or lower values are better.
        floor: score of a sample that the model failed; the worst value in the range if None.
        description: a sentence for listings.

    Example:
        >>> Metric(range=(0.0, 1.0), floor=0.25).worst
        0.25
        >>> Metric(range=(0.0, 2.0), better="lower").worst
        2.0
    """

    range: tuple[float, float]
    better: Literal["higher", "lower"] = "higher"
    floor: float | None = None
    description: str = ""

    def __post_init__(self) -> None:
        check_range(self.range)
        low, high = self.range
        if self.floor is not None and not low <= self.floor <= high:
            raise ValueError(f"floor {self.floor} is outside the range [{low}, {high}]")

    @property
    def worst(self) -> float:
        """Score of a failed sample."""
        if self.floor is not None:
            return self.floor
        return self.range[0] if self.better == "higher" else self.range[1]
