"""Tasks: the format of task.yaml, and the loaded task with its samples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

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
from eval_anything.files.templates import Template
from eval_anything.tasks.datasets.declaration import DataSet

SAMPLES = "samples.jsonl"
"""The file with a task's samples, unless task.yaml names another."""


class TaskFile(Struct, frozen=True, forbid_unknown_fields=True):
    """task.yaml. Paths are relative to the task's folder. `data` declares the data set that the samples
    come from, if they are not in the folder itself."""

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
    """The folder of a task. Bundled folders are `trusted`: their code runs without --allow-code."""

    name: str
    path: Path
    trusted: bool

    @property
    def suite(self) -> str:
        """Name of the suite: that of the folder above."""
        return self.name.rpartition("/")[0]


class Task(Struct, frozen=True, dict=True):
    """A task that is read and checked: task.yaml, samples, and the source of its prompt template."""

    folder: TaskFolder
    file: TaskFile
    samples: tuple[Sample, ...]
    template: str | None

    @property
    def name(self) -> str:
        """Full name, `<suite>/<task>`."""
        return self.folder.name

    @cached_property
    def by_id(self) -> dict[str, Sample]:
        """Samples by id."""
        return {sample.id: sample for sample in self.samples}

    @cached_property
    def parts_of_fingerprint(self) -> dict[str, str]:
        """sha256 of each part of the task that must be equal for two runs to be comparable; scoring and
        sampling have fingerprints of their own. Descriptions of metrics are words for readers alone."""
        metrics = {name: replace(metric, description="") for name, metric in self.file.metrics.items()}
        return {
            "version": str(self.file.version),
            "samples": sha256_of([_sample_content(sample) for sample in self.samples]),
            "template": sha256_of(self.template),
            "metrics": sha256_of([metrics, self.file.primary]),
        }

    def messages(self, sample: Sample) -> tuple[Message, ...]:
        """The sample's messages as the model gets them: with the template applied to the last one."""
        if self.template is None:
            return sample.messages
        *before, last = sample.messages
        text = " ".join(p.text for p in last.parts if isinstance(p, TextPart))
        template = Template(self.template, self.folder.trusted)
        rendered = template.render(text=text, metadata=sample.metadata)
        media = tuple(p for p in last.parts if isinstance(p, MediaPart))
        return (*before, Message(last.role, (*media, TextPart(rendered))))

    def groups(self, sample: Sample) -> dict[str, str]:
        """The sample's group for each key in `group_by` that its metadata have."""
        metadata = sample.metadata
        return {key: str(metadata[key]) for key in self.file.group_by if metadata.get(key) is not None}

    def item(self, sample: Sample) -> str:
        """sha256 of messages, turns, template and media, by which samples of two runs are paired."""
        content = [_messages_content(self.messages(sample)), self.template]
        return sha256_of(content + _turns_content(sample.turns))


def _messages_content(messages: tuple[Message, ...]) -> list[Any]:
    return [[m.role, _parts_content(m.parts)] for m in messages]


def _turns_content(turns: tuple[Turn, ...]) -> list[Any]:
    """The turns for a sha256: an empty list if there are none, so that other samples keep theirs."""
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
