"""Lines of JSON to content types and back: samples, records, saved outputs, labels."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from eval_anything.content import (
    Contract,
    FromTurn,
    MediaPart,
    Message,
    Modality,
    Part,
    Record,
    Sample,
    TextPart,
    Turn,
    _RecordFields,
)
from eval_anything.errors import near
from eval_anything.files.mistakes import Mistakes
from eval_anything.files.places import path_inside

T = TypeVar("T")


class PartJson(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A part in a file: `text`, or the `path` of a medium, with its sha256 (hex) and MIME type."""

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


class MessageJson(Struct, forbid_unknown_fields=True):
    """A message as files hold it."""

    role: Literal["system", "user", "assistant"]
    parts: list[PartJson]


class _SampleJson(Struct, forbid_unknown_fields=True):
    id: str
    messages: list[MessageJson]
    contract: Contract | None = None
    targets: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    source_id: str | None = None


class _TurnPartJson(PartJson):
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


class RecordRow(_RecordFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of records.jsonl: a sample, the response of the model, and its scores.

    Paths of media are relative to the directory of the run.
    """

    parts: list[PartJson]
    turns: list[list[PartJson]] = []


class ReplayRow(Struct, forbid_unknown_fields=True):
    """One line of a replay file: the saved response to one sample; `turns` are the answers before it.
    Its parts still name files."""

    sample_id: str
    parts: list[PartJson]
    task: str | None = None
    repeat: int = 0
    turns: list[list[PartJson]] = []


class LabelRow(_SampleJson):
    """One line of a file of labels: a sample with one response and its label, or with two responses
    and which of them is preferred. Its parts still name files."""

    parts: list[PartJson] | None = None
    label: float | None = None
    a: list[PartJson] | None = None
    b: list[PartJson] | None = None
    preferred: Literal["a", "b", "tie"] | None = None

    def __post_init__(self) -> None:
        one = [self.parts is not None, self.label is not None]
        two = [self.a is not None, self.b is not None, self.preferred is not None]
        if not (all(one) and not any(two)) and not (all(two) and not any(one)):
            raise ValueError('a row has "parts" and "label", or "a", "b" and "preferred"')
        if self.label is not None and not math.isfinite(self.label):
            raise ValueError("the label must be a finite number")


_record_decoder = msgspec.json.Decoder(RecordRow)


def _part_from_json(data: PartJson, root: Path) -> Part:
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


def _part_from_record(data: PartJson, run: Path) -> Part:
    """A part that the engine wrote: its medium, known by its sha256, is not read again."""
    if data.text is not None:
        return TextPart(data.text)
    if data.path is None or data.sha256 is None or data.mime is None:
        raise ValueError("a medium in a record has a path, a sha256 and a mime type")
    return MediaPart(data.modality, data.sha256, data.mime, path_inside(run, data.path))


def parts_from_json(parts: Sequence[PartJson], root: Path) -> tuple[Part, ...]:
    """Parts as users write them: media are read and checked. ValueError (MediaError for a medium)
    says what is wrong."""
    return tuple(_part_from_json(part, root) for part in parts)


def sample_from_json(line: bytes, root: Path, contract: Contract | None) -> Sample:
    """One line of samples.jsonl. `contract` is the task's own, for lines without one.

    Raises msgspec.ValidationError / DecodeError for a wrong form, ValueError for wrong content.
    """
    data = msgspec.json.decode(line, type=_ScriptJson)
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
    row = msgspec.json.decode(line, type=LabelRow)
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
    return msgspec.json.encode(fields)


def parts_to_json(parts: Sequence[Part], run: Path) -> list[PartJson]:
    """Parts for a file in the folder `run`, in or below which their media lie."""
    return [
        PartJson(Modality.TEXT, text=p.text)
        if isinstance(p, TextPart)
        else PartJson(p.modality, None, p.sha256, p.mime, p.path.relative_to(run.resolve()).as_posix())
        for p in parts
    ]


def json_message(error: Exception, more: Sequence[str] = ()) -> str:
    """What is wrong with a line of samples.jsonl, or of a file whose rows have `more` keys."""
    text = str(error)
    unknown = re.search(r"unknown field `(.+?)`", text)
    if unknown:
        known = ["id", "messages", "contract", "targets", "metadata", "source_id", "turns", "fresh"]
        known += [*more, "role", "parts", "modality", "text", "path", "required", "allowed", "forbidden"]
        return f"unknown key {unknown[1]!r}: remove it.{near(unknown[1], known)}"
    if isinstance(error, msgspec.ValidationError):
        return text[:1].lower() + text[1:]
    return f"not valid JSON: {text}"


def read_lines(
    data: bytes,
    mistakes: Mistakes,
    parse: Callable[[bytes, int], T],
    explain: Callable[[Exception], str] = json_message,
    most: int = 20,
) -> Iterator[tuple[int, T]]:
    """The number (from 1) and the row of each line that `parse` takes; empty lines do not count.

    `parse` gets a line and its number. What it raises is a mistake of the line: the message of a
    ValueError as it is, of an error of decoding as `explain` puts it. After `most` mistakes no more
    lines are read.
    """
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        if len(mistakes) >= most:
            mistakes.add_line(number, "too many mistakes: the rest was not read")
            return
        try:
            row = parse(line, number)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            mistakes.add_line(number, explain(error))
        except ValueError as error:
            mistakes.add_line(number, str(error))
        else:
            yield number, row
