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


class MediaPart(Struct, frozen=True):
    """An image, a sound or a clip: bytes known by their sha256 (hex), in a file at `path`."""

    modality: Modality
    sha256: str
    mime: str
    path: Path

    def __post_init__(self) -> None:
        if self.modality is Modality.TEXT:
            raise ValueError("text is kept in a TextPart, not in a file")


Part = TextPart | MediaPart


class Message(Struct, frozen=True):
    """One turn of a conversation: a role and its parts in order."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]


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


class Response(Struct, frozen=True):
    """What a model answered: its parts in order, and how that went.

    `order_known` is False where the source does not tell the order of parts of different modality.
    `usage` counts tokens (`input`, `output`); `latency` is in seconds (`total`, `first_token`,
    `first_<modality>` of a stream, or a modality). `details` is what else the record should keep, such
    as the prompts of generators.

    Where a sample has several turns this is the answer to the last one; `turns` holds the parts of the
    answers before it, `usage` and the total latency are of all of them.
    """

    parts: tuple[Part, ...] = ()
    order_known: bool = True
    stop_reason: str | None = None
    usage: dict[str, int] = {}
    latency: dict[str, float] = {}
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
        return "\n\n".join(p.text for p in self.parts if isinstance(p, TextPart))

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
    usage: dict[str, int]
    latency: dict[str, float]
    details: dict[str, Any] = {}
    groups: dict[str, str] = {}


class Record(_RecordFields, frozen=True, kw_only=True):
    """One line of a run's log: a sample, the response of the model, and its scores.

    `item` is the sha256 of messages, template and media: two runs are paired on it. `groups` are the
    sample's values of the task's `group_by` keys. `turns` are the parts of the answers before the last.
    """

    parts: tuple[Part, ...]
    turns: tuple[tuple[Part, ...], ...] = ()


# --- between files and types -------------------------------------------------------------------


class _PartJson(Struct, omit_defaults=True, forbid_unknown_fields=True):
    modality: Modality
    text: str | None = None
    sha256: str | None = None
    mime: str | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        if (self.modality is Modality.TEXT) != (self.text is not None) or (
            (self.path is None) == (self.text is None)
        ):
            raise ValueError('a part holds "text" if its modality is text, and a "path" if not')


class _MessageJson(Struct, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant"]
    parts: list[_PartJson]


PartJson = _PartJson
"""A part as files hold it, for other kinds of rows than samples."""
MessageJson = _MessageJson
"""A message as files hold it."""


class _SampleJson(Struct, forbid_unknown_fields=True):
    id: str
    messages: list[_MessageJson]
    contract: Contract | None = None
    targets: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    source_id: str | None = None


class _TurnPartJson(_PartJson):
    from_turn: int | None = None

    def __post_init__(self) -> None:
        if self.from_turn is None:
            super().__post_init__()
        elif (self.text, self.path) != (None, None):
            raise ValueError('a part holds "from_turn", or content of its own: keep one')


class _TurnJson(Struct, forbid_unknown_fields=True):
    parts: list[_TurnPartJson]
    fresh: bool = False


class _ScriptJson(_SampleJson):
    turns: list[_TurnJson] = []


class _RecordJson(_RecordFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    parts: list[_PartJson]
    turns: list[list[_PartJson]] = []


class ReplayRow(Struct, forbid_unknown_fields=True):
    """One line of a replay file: the saved response to one sample; `turns` are the answers before it."""

    sample_id: str
    parts: list[_PartJson]
    task: str | None = None
    repeat: int = 0
    turns: list[list[_PartJson]] = []


class LabelRow(_SampleJson):
    """One line of a file of labels: a sample with one response and its label, or with two responses
    and which of them is preferred. Its parts still name files."""

    parts: list[_PartJson] | None = None
    label: float | None = None
    a: list[_PartJson] | None = None
    b: list[_PartJson] | None = None
    preferred: Literal["a", "b", "tie"] | None = None

    def __post_init__(self) -> None:
        one = [self.parts is not None, self.label is not None]
        two = [self.a is not None, self.b is not None, self.preferred is not None]
        if not (all(one) and not any(two)) and not (all(two) and not any(one)):
            raise ValueError('a row has "parts" and "label", or "a", "b" and "preferred"')
        if self.label is not None and not math.isfinite(self.label):
            raise ValueError("the label must be a finite number")


_sample_decoder = msgspec.json.Decoder(_ScriptJson)
_record_decoder = msgspec.json.Decoder(_RecordJson)
_replay_decoder = msgspec.json.Decoder(ReplayRow)
_label_decoder = msgspec.json.Decoder(LabelRow)
_encoder = msgspec.json.Encoder()


def path_inside(root: Path, relative: str) -> Path:
    """The absolute path of `relative` in `root`. ValueError if it leads outside, by links too."""
    base = root.resolve()
    try:
        path = (base / relative).resolve()
    except (OSError, RuntimeError) as error:  # a ring of links
        raise ValueError(f"path {relative!r} cannot be followed: {error}") from None
    if not path.is_relative_to(base):
        raise ValueError(f"path {relative!r} leads outside its folder {root}")
    return path


def _part_from_json(data: _PartJson, root: Path) -> Part:
    from eval_anything.media import MediaError, media_part

    if data.text is not None:
        return TextPart(data.text)
    assert data.path is not None
    part = media_part(path_inside(root, data.path), data.modality)
    for name, claimed, found in (
        ("sha256", data.sha256, part.sha256),
        ("mime", data.mime, part.mime),
    ):
        if claimed not in (None, found):
            raise MediaError(f"{part.path} has the {name} {found}, not {claimed}")
    return part


def _part_from_record(data: _PartJson, run: Path) -> Part:
    """A part that the engine wrote: its medium, known by its sha256, is not read again."""
    if data.text is not None:
        return TextPart(data.text)
    if data.path is None or data.sha256 is None or data.mime is None:
        raise ValueError("a medium in a record has a path, a sha256 and a mime type")
    return MediaPart(data.modality, data.sha256, data.mime, path_inside(run, data.path))


def parts_from_json(parts: Sequence[_PartJson], root: Path) -> tuple[Part, ...]:
    """Parts as users write them: media are read and checked. ValueError (MediaError for a medium)
    says what is wrong."""
    return tuple(_part_from_json(part, root) for part in parts)


def sample_from_json(line: bytes, root: Path, contract: Contract | None) -> Sample:
    """One line of samples.jsonl. `contract` is the task's own, for lines without one.

    Raises msgspec.ValidationError / DecodeError for a wrong form, ValueError for wrong content.
    """
    data = _sample_decoder.decode(line)
    sample = _sample(data, root, contract)
    turns = tuple(_turn(turn, number, root) for number, turn in enumerate(data.turns, start=2))
    return msgspec.structs.replace(sample, turns=turns) if turns else sample


def _turn(data: _TurnJson, number: int, root: Path) -> Turn:
    """The question that the answer `number` is given to."""
    if not data.parts:
        raise ValueError(f"turn {number} is empty: give it parts")
    parts: list[Part | FromTurn] = []
    for part in data.parts:
        if part.from_turn is None:
            parts.append(_part_from_json(part, root))
        elif 1 <= part.from_turn < number:
            parts.append(FromTurn(part.modality, part.from_turn))
        else:
            before = "1" if number == 2 else f"1 to {number - 1}"
            raise ValueError(f"from_turn must be {before} in turn {number}, not {part.from_turn}")
    return Turn(tuple(parts), data.fresh)


def label_row_from_json(line: bytes, root: Path, contract: Contract) -> tuple[LabelRow, Sample]:
    """One line of a file of labels, and its sample; as `sample_from_json`."""
    row = _label_decoder.decode(line)
    return row, _sample(row, root, contract)


def _sample(data: _SampleJson, root: Path, contract: Contract | None) -> Sample:
    if not data.id:
        raise ValueError("the id is empty")
    if not data.messages or data.messages[-1].role != "user":
        raise ValueError("messages must end with one of the user")
    own = data.contract or contract
    if own is None:
        raise ValueError("no contract, and task.yaml has none either")
    messages = tuple(Message(m.role, parts_from_json(m.parts, root)) for m in data.messages)
    return Sample(data.id, messages, own, data.targets, data.metadata, data.source_id or data.id)


def replay_row_from_json(line: bytes) -> ReplayRow:
    """One line of a replay file; its parts still name files."""
    return _replay_decoder.decode(line)


def record_from_json(line: bytes, run: Path) -> Record:
    """One line of records.jsonl in the run directory `run`."""
    data = _record_decoder.decode(line)
    fields = {name: getattr(data, name) for name in _RecordFields.__struct_fields__}
    parts, *turns = (
        tuple(_part_from_record(part, run) for part in given) for given in (data.parts, *data.turns)
    )
    return Record(**fields, parts=parts, turns=tuple(turns))


def record_to_json(record: Record, run: Path) -> bytes:
    """The line (without its end) that `record_from_json` reads back to an equal record."""
    fields = msgspec.structs.asdict(record) | {"parts": parts_to_json(record.parts, run)}
    del fields["turns"]
    if record.turns:
        fields["turns"] = [parts_to_json(parts, run) for parts in record.turns]
    return _encoder.encode(fields)


def parts_to_json(parts: Sequence[Part], run: Path) -> list[_PartJson]:
    """Parts for a file in the folder `run`, in or below which their media lie."""
    return [
        _PartJson(Modality.TEXT, text=p.text)
        if isinstance(p, TextPart)
        else _PartJson(p.modality, None, p.sha256, p.mime, p.path.relative_to(run.resolve()).as_posix())
        for p in parts
    ]
