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
    check_scores,
)
from eval_anything.errors import near
from eval_anything.files.json_text import TooDeepError, decode_json, decode_strict, utf8_lines
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
            raise ValueError('a part has "text" if its modality is text, and a "path" if not')


class MessageJson(Struct, forbid_unknown_fields=True):
    """A message in a file."""

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
            raise ValueError('a part has either "from_turn" or its own content: keep one')


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

    def __post_init__(self) -> None:
        check_scores(self.scores)


class ReplayRow(Struct, forbid_unknown_fields=True):
    """One line of a replay file: the saved response to one sample; `turns` are the answers before it.
    Its parts are not read yet."""

    sample_id: str
    parts: list[PartJson]
    task: str | None = None
    repeat: int = 0
    turns: list[list[PartJson]] = []


class LabelRow(_SampleJson):
    """One line of a file of labels: a sample with one response and its label, or with two responses
    and the preferred one. The parts of the responses are not read yet."""

    parts: list[PartJson] | None = None
    label: float | None = None
    a: list[PartJson] | None = None
    b: list[PartJson] | None = None
    preferred: Literal["a", "b", "tie"] | None = None

    def __post_init__(self) -> None:
        grade_fields = [self.parts is not None, self.label is not None]
        pair_fields = [self.a is not None, self.b is not None, self.preferred is not None]
        if not (all(grade_fields) and not any(pair_fields)) and not (
            all(pair_fields) and not any(grade_fields)
        ):
            raise ValueError('a row has "parts" and "label", or "a", "b" and "preferred"')
        if self.label is not None and not math.isfinite(self.label):
            raise ValueError("the label must be a finite number")


class Example(Struct, frozen=True):
    """A question with its answer, in front of the questions of a task."""

    id: str
    messages: tuple[Message, ...]
    response: tuple[Part, ...]
    metadata: dict[str, Any] = {}


class _ExampleJson(Struct, forbid_unknown_fields=True):
    id: str
    messages: list[MessageJson]
    response: str | list[PartJson]
    metadata: dict[str, Any] = {}


def example_from_json(line: bytes, root: Path) -> Example:
    """Example of one line of a file of them. Arguments and errors: `sample_from_json`."""
    row: _ExampleJson = decode_json(line, _ExampleJson)
    if not row.messages or row.messages[-1].role != "user":
        raise ValueError("messages must end with one of the user")
    if any(message.role == "system" for message in row.messages):
        raise ValueError("an example has no system message: it stands behind that of the question")
    if not row.response:
        raise ValueError("the response is empty")
    if isinstance(row.response, str):
        response: tuple[Part, ...] = (TextPart(row.response),)
    else:
        response = parts_from_json(row.response, root)
    messages = tuple(Message(m.role, parts_from_json(m.parts, root)) for m in row.messages)
    return Example(row.id, messages, response, row.metadata)


_KEYS = (
    *("id", "messages", "contract", "targets", "metadata", "source_id", "turns", "fresh", "role"),
    *("parts", "modality", "text", "path", "required", "allowed", "forbidden"),
)


def _part_from_json(part: PartJson, root: Path) -> Part:
    from eval_anything.media import MediaError, media_part

    if part.text is not None:
        return TextPart(part.text)
    assert part.path is not None
    medium = media_part(path_inside(root, part.path), part.modality)
    for name, claimed, actual in (
        ("sha256", part.sha256, medium.sha256),
        ("mime", part.mime, medium.mime),
    ):
        if claimed not in (None, actual):
            raise MediaError(f"{medium.path} has the {name} {actual}, not {claimed}")
    return medium


def _part_from_record(part: PartJson, run: Path) -> Part:
    """A part that the engine wrote. The file of a medium is not read, since its sha256 is on record."""
    if part.text is not None:
        return TextPart(part.text)
    if part.path is None or part.sha256 is None or part.mime is None:
        raise ValueError("a medium in a record has a path, a sha256 and a mime type")
    return MediaPart(part.modality, part.sha256, part.mime, path_inside(run, part.path))


def parts_from_json(parts: Sequence[PartJson], root: Path) -> tuple[Part, ...]:
    """Parts that a user wrote, with paths relative to `root`; media are read and checked.

    Raises:
        ValueError: for a path outside of `root` (MediaError for a medium that cannot be used).
    """
    return tuple(_part_from_json(part, root) for part in parts)


def sample_from_json(line: bytes, root: Path, contract: Contract | None) -> Sample:
    """Sample of one line of samples.jsonl.

    Args:
        line: the JSON text.
        root: folder that paths of media are relative to.
        contract: contract of the task, for a line without its own.

    Raises:
        msgspec.DecodeError: for invalid or deep JSON (its subclass ValidationError for unknown or wrong
            keys).
        ValueError: for wrong content, such as a missing contract or medium.

    Example:
        >>> parts = [{"modality": "text", "text": "Name a primary colour."}]
        >>> line = {"id": "colours-1", "messages": [{"role": "user", "parts": parts}]}
        >>> contract = Contract(required=(Modality.TEXT,))
        >>> sample_from_json(msgspec.json.encode(line), Path("."), contract).source_id
        'colours-1'
    """
    row: _ScriptJson = decode_json(line, _ScriptJson)
    sample = _sample(row, root, contract)
    turns = tuple(_turn(turn, number, root) for number, turn in enumerate(row.turns, start=2))
    return msgspec.structs.replace(sample, turns=turns) if turns else sample


def _turn(turn: _TurnJson, number: int, root: Path) -> Turn:
    """The question of turn `number`, 2 being the first one after the messages of the sample."""
    if not turn.parts:
        raise ValueError(f"turn {number} is empty: give it parts")
    parts: list[Part | FromTurn] = []
    for part in turn.parts:
        if part.from_turn is None:
            parts.append(_part_from_json(part, root))
        elif 1 <= part.from_turn < number:
            parts.append(FromTurn(part.modality, part.from_turn))
        else:
            before = "1" if number == 2 else f"1 to {number - 1}"
            raise ValueError(f"from_turn must be {before} in turn {number}, not {part.from_turn}")
    return Turn(tuple(parts), turn.fresh)


def label_row_from_json(line: bytes, root: Path, contract: Contract) -> tuple[LabelRow, Sample]:
    """Row of one line of a file of labels, and its sample. Arguments and errors: `sample_from_json`."""
    row: LabelRow = decode_json(line, LabelRow)
    return row, _sample(row, root, contract)


def _sample(row: _SampleJson, root: Path, default: Contract | None) -> Sample:
    if not row.id:
        raise ValueError("the id is empty")
    if not row.messages or row.messages[-1].role != "user":
        raise ValueError("messages must end with one of the user")
    sample_contract = row.contract or default
    if sample_contract is None:
        raise ValueError("no contract, and task.yaml has none either")
    messages = tuple(Message(m.role, parts_from_json(m.parts, root)) for m in row.messages)
    return Sample(row.id, messages, sample_contract, row.targets, row.metadata, row.source_id or row.id)


def record_from_json(line: bytes, run: Path) -> Record:
    """Record of one line of records.jsonl in the run directory `run`."""
    row = decode_strict(line, RecordRow)
    fields = {name: getattr(row, name) for name in _RecordFields.__struct_fields__}
    parts, *turns = (
        tuple(_part_from_record(part, run) for part in answer) for answer in (row.parts, *row.turns)
    )
    return Record(**fields, parts=parts, turns=tuple(turns))


def record_to_json(record: Record, run: Path) -> bytes:
    """Line of records.jsonl without its newline; `record_from_json` reads it back to an equal record."""
    fields = msgspec.structs.asdict(record) | {"parts": parts_to_json(record.parts, run)}
    if not record.judged:
        del fields["judged"]
    del fields["turns"]
    if record.turns:
        fields["turns"] = [parts_to_json(parts, run) for parts in record.turns]
    return msgspec.json.encode(fields)


def parts_to_json(parts: Sequence[Part], run: Path) -> list[PartJson]:
    """Parts for a file in the folder `run`, which must contain their media."""
    return [
        PartJson(Modality.TEXT, text=p.text)
        if isinstance(p, TextPart)
        else PartJson(p.modality, None, p.sha256, p.mime, p.path.relative_to(run.resolve()).as_posix())
        for p in parts
    ]


def json_message(error: Exception, extra_keys: Sequence[str] = ()) -> str:
    """Message for a decoding error of a line of samples.jsonl, or of a file with further keys."""
    text = str(error)
    unknown = re.search(r"unknown field `(.+?)`", text)
    if unknown:
        return f"unknown key {unknown[1]!r}: remove it.{near(unknown[1], (*_KEYS, *extra_keys))}"
    if isinstance(error, msgspec.ValidationError | TooDeepError):
        return text[:1].lower() + text[1:]
    return f"not valid JSON: {text}"


def read_lines(
    path: Path,
    mistakes: Mistakes,
    parse: Callable[[bytes, int], T],
    explain: Callable[[Exception], str] = json_message,
    most: int = 20,
) -> Iterator[tuple[int, T]]:
    """Line number (from 1) and row of each line that is valid; empty lines are skipped.

    Args:
        path: the file.
        mistakes: list to which a mistake is added for each line that is not valid.
        parse: makes a row from a line and its number. It raises ValueError, whose message is the
            mistake, or an error of decoding.
        explain: makes a message from an error of decoding.
        most: number of mistakes after which no more lines are read.
    """
    for number, line in numbered_lines(path, mistakes):
        if len(mistakes) >= most:
            mistakes.add_line(number, "too many mistakes: the lines after this one were not read")
            return
        try:
            row = parse(line, number)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            mistakes.add_line(number, explain(error))
        except ValueError as error:
            mistakes.add_line(number, str(error))
        else:
            yield number, row


def numbered_lines(path: Path, mistakes: Mistakes) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not empty, after their numbers (from 1). A mistake is added if they
    cannot be read to their end."""
    try:
        for number, line in enumerate(utf8_lines(path), start=1):
            if line.strip():
                yield number, line
    except OSError as error:
        mistakes.add(f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        mistakes.add(f"cannot be read: {error}")
