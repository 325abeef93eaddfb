"""What a task is: the form of task.yaml, and the loaded task with its samples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from msgspec import Struct

from eval_anything.content import (
    Contract,
    FromTurn,
    MediaPart,
    Message,
    Metric,
    Modality,
    Part,
    Sample,
    TextPart,
    Turn,
)
from eval_anything.files.hashing import sha256_of
from eval_anything.files.templates import render_template
from eval_anything.tasks.datasets.declaration import DataSet

SAMPLES = "samples.jsonl"
"""Where a task's samples are, unless task.yaml says otherwise."""


class TaskFile(Struct, frozen=True, forbid_unknown_fields=True):
    """task.yaml. Paths are relative to the task's folder. `data` is where the samples come from if they
    are not in the folder itself."""

    version: int
    title: str
    description: str
    licence: str
    inputs: list[Modality]
    outputs: list[Modality]
    primary: str
    judges: list[str] = []
    samples: str = SAMPLES
    data: DataSet | None = None
    contract: Contract | None = None
    template: str | None = None
    scorer: str | None = None
    controls: str | None = None
    metrics: dict[str, Metric] = {}
    group_by: list[str] = []


class TaskFolder(Struct, frozen=True):
    """Where a task lies. `trusted` folders, the bundled ones, may run their own code."""

    name: str
    path: Path
    trusted: bool

    @property
    def suite(self) -> str:
        return self.name.rpartition("/")[0]


class Task(Struct, frozen=True, dict=True):
    """A task that is read and checked: what task.yaml says, its samples, its template's source."""

    folder: TaskFolder
    file: TaskFile
    samples: tuple[Sample, ...]
    template: str | None

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def by_id(self) -> dict[str, Sample]:
        """The samples by their id."""
        return {sample.id: sample for sample in self.samples}

    @cached_property
    def parts_of_fingerprint(self) -> dict[str, str]:
        """sha256 of what makes two numbers on this task comparable, scoring and sampling apart."""
        return {
            "version": str(self.file.version),
            "samples": sha256_of([_sample_content(sample) for sample in self.samples]),
            "template": sha256_of(self.template),
            "metrics": sha256_of([self.file.metrics, self.file.primary]),
        }

    def messages(self, sample: Sample) -> tuple[Message, ...]:
        """The sample's messages as the model gets them: the template applied to the last text."""
        if self.template is None:
            return sample.messages
        *before, last = sample.messages
        text = " ".join(p.text for p in last.parts if isinstance(p, TextPart))
        rendered = render_template(self.template, text=text, metadata=sample.metadata)
        media = tuple(p for p in last.parts if isinstance(p, MediaPart))
        return (*before, Message(last.role, (*media, TextPart(rendered))))

    def groups(self, sample: Sample) -> dict[str, str]:
        """The sample's value of each key in `group_by` that it has."""
        found = {key: sample.metadata.get(key) for key in self.file.group_by}
        return {key: str(value) for key, value in found.items() if value is not None}

    def item(self, sample: Sample) -> str:
        """sha256 of messages, turns, template and media: what pairs the same item of two runs."""
        asked = [_messages_content(self.messages(sample)), self.template]
        return sha256_of(asked + _turns_content(sample.turns))


def _messages_content(messages: tuple[Message, ...]) -> list[Any]:
    return [[m.role, _parts_content(m.parts)] for m in messages]


def _turns_content(turns: tuple[Turn, ...]) -> list[Any]:
    """Nothing where there are none, so that samples without turns keep their sha256."""
    return [[[turn.fresh, _parts_content(turn.parts)] for turn in turns]] if turns else []


def _parts_content(parts: Sequence[Part | FromTurn]) -> list[Any]:
    return [
        p.text
        if isinstance(p, TextPart)
        else [p.modality, p.sha256 if isinstance(p, MediaPart) else p.turn]
        for p in parts
    ]


def _sample_content(sample: Sample) -> list[Any]:
    return [
        sample.id,
        sample.source_id,
        _messages_content(sample.messages),
        sample.contract,
        sample.targets,
        sample.metadata,
        *_turns_content(sample.turns),
    ]
