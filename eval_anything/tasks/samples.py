"""The samples of a task, which are read when they are asked for: many of them take little memory."""

from __future__ import annotations

import hashlib
import marshal
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, overload

import msgspec

from eval_anything.content import (
    Contract,
    FromTurn,
    MediaPart,
    Message,
    Modality,
    Part,
    Sample,
    TextPart,
    Turn,
)
from eval_anything.files.spool import Spool
from eval_anything.tasks.identity import length_of, sample_content
from eval_anything.tasks.where import inputs_of, outputs_of

_RECENT = 256  # samples: one is read for its question, its scores and its record


class Samples(Sequence[Sample]):
    """The samples of a task, or some of them. The facts about a sample that are needed for all of them
    at once are there without reading it."""

    @property
    @abstractmethod
    def ids(self) -> Sequence[str]:
        """The ids, in order."""

    @abstractmethod
    def read(self, number: int) -> Sample:
        """The sample at a place, from 0."""

    @abstractmethod
    def inputs(self, number: int) -> tuple[Modality, ...]:
        """Modalities of the question of a sample."""

    @abstractmethod
    def outputs(self, number: int) -> tuple[Modality, ...]:
        """Modalities that the answer to a sample must have."""

    @abstractmethod
    def length(self, number: int) -> int:
        """Approximate length of the messages of a sample, without the task's template."""

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """The place of each sample, from 0, by its id."""
        return {id_: number for number, id_ in enumerate(self.ids)}

    @cached_property
    def by_id(self) -> Mapping[str, Sample]:
        """The samples by their ids."""
        return _ById(self)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of all samples."""
        digest = _Fingerprint()
        for sample in self:
            digest.add(sample)
        return digest.hex()

    def some(self, numbers: Sequence[int]) -> Samples:
        """The samples at these places; all of them are the same object."""
        return self if len(numbers) == len(self) else _SomeSamples(self, numbers)

    @overload
    def __getitem__(self, number: int) -> Sample: ...
    @overload
    def __getitem__(self, number: slice) -> Samples: ...
    def __getitem__(self, number: int | slice) -> Sample | Samples:
        numbers = range(len(self))[number]
        return self.read(numbers) if isinstance(numbers, int) else self.some(numbers)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Sample]:
        return map(self.read, range(len(self)))

    def __deepcopy__(self, memo: object) -> Samples:
        """The same object, since samples are only read: tools copy the settings of their tasks."""
        return self


class _ById(Mapping[str, Sample]):
    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __getitem__(self, id_: str) -> Sample:
        return self._samples.read(self._samples.numbers[id_])

    def __iter__(self) -> Iterator[str]:
        return iter(self._samples.ids)

    def __len__(self) -> int:
        return len(self._samples)


class ListedSamples(Samples):
    """Samples in memory: those that are made by code, whose targets may be any objects."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = tuple(samples)
        self._ids = [sample.id for sample in self._samples]

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def read(self, number: int) -> Sample:
        return self._samples[number]

    def inputs(self, number: int) -> tuple[Modality, ...]:
        return tuple(inputs_of(self._samples[number]))

    def outputs(self, number: int) -> tuple[Modality, ...]:
        return tuple(outputs_of(self._samples[number]))

    def length(self, number: int) -> int:
        return length_of(self._samples[number].messages)


class _Kind(NamedTuple):
    """The contract and the modalities of a sample, which many share."""

    contract: Contract
    inputs: tuple[Modality, ...]
    outputs: tuple[Modality, ...]


class StoredSamples(Samples):
    """Samples in a temporary file, in the order in which they are added. Their targets and metadata are
    values of JSON."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._spool = Spool()
        self._lengths = array("q")
        self._sides = array("q")  # places in `_kinds`
        self._kinds: dict[_Kind, int] = {}
        self._listed_kinds: list[_Kind] = []
        self._places: dict[str, int] = {}
        self._digest = _Fingerprint()
        self._recent = lru_cache(_RECENT)(self._read)

    def add(self, sample: Sample) -> None:
        """Adds a sample; of several with one id, the first is found by its id."""
        kind = _Kind(sample.contract, tuple(inputs_of(sample)), tuple(outputs_of(sample)))
        self._sides.append(self._kinds.setdefault(kind, len(self._kinds)))
        if len(self._kinds) > len(self._listed_kinds):
            self._listed_kinds.append(kind)
        self._lengths.append(length_of(sample.messages))
        self._places.setdefault(sample.id, len(self._ids))
        self._ids.append(sample.id)
        self._digest.add(sample)
        self._spool.append(marshal.dumps(_plain(sample)))

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        return self._places

    @cached_property
    def fingerprint(self) -> str:
        return self._digest.hex()

    def read(self, number: int) -> Sample:
        return self._recent(number)

    def inputs(self, number: int) -> tuple[Modality, ...]:
        return self._listed_kinds[self._sides[number]].inputs

    def outputs(self, number: int) -> tuple[Modality, ...]:
        return self._listed_kinds[self._sides[number]].outputs

    def length(self, number: int) -> int:
        return self._lengths[number]

    def __iter__(self) -> Iterator[Sample]:
        return map(self._read, range(len(self)))

    def _read(self, number: int) -> Sample:
        contract = self._listed_kinds[self._sides[number]].contract
        return _sample(marshal.loads(self._spool[number]), contract)


class _SomeSamples(Samples):
    """The samples of others at some places."""

    def __init__(self, samples: Samples, numbers: Sequence[int]) -> None:
        self._samples = samples
        self._numbers = numbers if isinstance(numbers, range) else array("q", numbers)
        self._ids = [samples.ids[number] for number in numbers]

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def read(self, number: int) -> Sample:
        return self._samples.read(self._numbers[number])

    def inputs(self, number: int) -> tuple[Modality, ...]:
        return self._samples.inputs(self._numbers[number])

    def outputs(self, number: int) -> tuple[Modality, ...]:
        return self._samples.outputs(self._numbers[number])

    def length(self, number: int) -> int:
        return self._samples.length(self._numbers[number])


class _Fingerprint:
    """The sha256 of a list of samples in canonical JSON, as `sha256_of` has it, one after another."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256(b"[")
        self._separator = b""

    def add(self, sample: Sample) -> None:
        content = msgspec.json.encode(sample_content(sample), order="deterministic")
        self._digest.update(self._separator + content)
        self._separator = b","

    def hex(self) -> str:
        digest = self._digest.copy()
        digest.update(b"]")
        return digest.hexdigest()


def _plain(sample: Sample) -> tuple[Any, ...]:
    """A sample as values that `marshal` writes; its contract is left out."""
    messages = tuple((m.role, tuple(map(_plain_part, m.parts))) for m in sample.messages)
    turns = tuple((turn.fresh, tuple(map(_plain_part, turn.parts))) for turn in sample.turns)
    return sample.id, messages, sample.targets, sample.metadata, sample.source_id, turns


def _plain_part(part: Part | FromTurn) -> Any:
    if isinstance(part, TextPart):
        return part.text
    if isinstance(part, FromTurn):
        return str(part.modality), part.turn
    return str(part.modality), part.sha256, part.mime, str(part.path)


def _sample(plain: tuple[Any, ...], contract: Contract) -> Sample:
    """The sample of values that `_plain` made."""
    id_, messages, targets, metadata, source_id, turns = plain
    return Sample(
        id_,
        tuple([Message(role, tuple([_part(part) for part in parts])) for role, parts in messages]),
        contract,
        targets,
        metadata,
        source_id,
        tuple([Turn(tuple([_part(part) for part in parts]), fresh) for fresh, parts in turns]),
    )


def _part(plain: Any) -> Any:
    if isinstance(plain, str):
        return TextPart(plain)
    if len(plain) == 2:
        return FromTurn(Modality(plain[0]), plain[1])
    modality, sha256, mime, path = plain
    return MediaPart(Modality(modality), sha256, mime, Path(path))
