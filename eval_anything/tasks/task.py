"""Tasks: the format of task.yaml, and the loaded task with its samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from eval_anything.content import (
    Contract,
    MediaPart,
    Message,
    Metric,
    Modality,
    Sample,
    TextPart,
)
from eval_anything.files.hashing import sha256_of
from eval_anything.files.templates import Template
from eval_anything.jsonl import Example
from eval_anything.sampling import GenerationSettings
from eval_anything.tasks.datasets.declaration import DataSet
from eval_anything.tasks.few_shot import FewShot
from eval_anything.tasks.identity import messages_content, turns_content
from eval_anything.tasks.samples import ListedSamples, Samples

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
    generation: GenerationSettings | None = None
    few_shot: FewShot | None = None


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
    """A task that is read and checked: task.yaml, samples, the source of its prompt template, and the
    examples in front of every question. A list of samples becomes `Samples`."""

    folder: TaskFolder
    file: TaskFile
    samples: Samples
    template: str | None
    examples: tuple[Example, ...] = ()

    @property
    def name(self) -> str:
        """Full name, `<suite>/<task>`."""
        return self.folder.name

    def __post_init__(self) -> None:
        samples: Iterable[Sample] = self.samples  # other packages may give a list
        if not isinstance(samples, Samples):
            force_setattr(self, "samples", ListedSamples(samples))

    @property
    def by_id(self) -> Mapping[str, Sample]:
        """Samples by id."""
        return self.samples.by_id

    @cached_property
    def parts_of_fingerprint(self) -> dict[str, str]:
        """sha256 of each part of the task that must be equal for two runs to be comparable; scoring and
        sampling have fingerprints of their own. Descriptions of metrics are words for readers alone."""
        metrics = {name: replace(metric, description="") for name, metric in self.file.metrics.items()}
        few_shot = {"few_shot": sha256_of(messages_content(self._shown(())))} if self.examples else {}
        return {
            "version": str(self.file.version),
            "samples": self.samples.fingerprint,
            "template": sha256_of(self.template),
            "metrics": sha256_of([metrics, self.file.primary]),
            **few_shot,
        }

    def messages(self, sample: Sample) -> tuple[Message, ...]:
        """The sample's messages as the model gets them: its question, behind the task's examples."""
        messages = self.question(sample)
        return self._shown(messages) if self.examples else messages

    def question(self, sample: Sample) -> tuple[Message, ...]:
        """The sample's messages with the template applied to the last one."""
        return self._templated(sample.messages, sample.metadata)

    def _shown(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Messages behind the task's examples, which stand behind a system message."""
        head = tuple(message for message in messages[:1] if message.role == "system")
        examples = tuple(
            message
            for example in self.examples
            for message in (
                *self._templated(example.messages, example.metadata),
                Message("assistant", example.response),
            )
        )
        return (*head, *examples, *messages[len(head) :])

    def _templated(
        self, messages: tuple[Message, ...], metadata: Mapping[str, Any]
    ) -> tuple[Message, ...]:
        """Messages with the template applied to the last one."""
        if self.template is None:
            return messages
        *before, last = messages
        text = " ".join(p.text for p in last.parts if isinstance(p, TextPart))
        template = Template(self.template, self.folder.trusted)
        rendered = template.render(text=text, metadata=metadata)
        media = tuple(p for p in last.parts if isinstance(p, MediaPart))
        return (*before, Message(last.role, (*media, TextPart(rendered))))

    def groups(self, sample: Sample) -> dict[str, str]:
        """The sample's group for each key in `group_by` that its metadata have."""
        metadata = sample.metadata
        return {key: str(metadata[key]) for key in self.file.group_by if metadata.get(key) is not None}

    def item(self, sample: Sample) -> str:
        """sha256 of messages, turns, template and media, by which samples of two runs are paired."""
        content = [messages_content(self.messages(sample)), self.template]
        return sha256_of(content + turns_content(sample.turns))
