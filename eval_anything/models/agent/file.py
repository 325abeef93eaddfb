"""Reading of an agent's file, `agent/FILE.yaml`, with every mistake reported by its line.

model: openai/NAME@http://host:port/v1
generators:
  image: {model: openai/IMAGES@http://host:port/v1, arguments: {api: images}}
  audio: {kind: command, command: [espeak-ng, --stdin, -w, "{out}"], stdin: true, about: ...}
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from eval_anything import plugins
from eval_anything.content import MODALITIES, Modality
from eval_anything.errors import UserError
from eval_anything.files.yaml_files import load_yaml, read_yaml
from eval_anything.models.agent.generators.base import Generator, GeneratorSettings
from eval_anything.models.agent.instructions import SYSTEM, PlanExample
from eval_anything.models.agent.plan import MOST_ITEMS
from eval_anything.sampling import GenerationSettings

MEDIA = tuple(m for m in MODALITIES if m is not Modality.TEXT)


class AgentFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of an agent's file; `read_agent_file` gives the generators their own types.

    Attributes:
        model: SPEC of the chat model; a path is relative to the file.
        arguments: of the chat model, as for `--model-arg`.
        form: the form of plans; auto takes the best one that works.
        system: the first part of the system prompt; the media and the form of the answer follow it.
        examples: requests with good plans, which the chat model sees before each request.
        most_parts: the most parts of a plan where answers are held to a JSON schema.
        most_characters: the most characters of such a part, text or prompt.
        generation: settings of generation of the chat model, below those of options and presets.
        generators: the settings of each medium's generator.
    """

    model: str
    arguments: dict[str, str | int | float | bool] = {}
    form: Literal["auto", "tools", "json", "text"] = "auto"
    system: str = SYSTEM
    examples: list[PlanExample] = []
    most_parts: Annotated[int, Meta(ge=1, le=MOST_ITEMS)] = MOST_ITEMS
    most_characters: Annotated[int, Meta(ge=1)] | None = None
    generation: GenerationSettings | UnsetType = UNSET
    generators: Any


class _Kinds(Struct):
    generators: Any = None


def read_agent_file(
    path: Path,
) -> tuple[AgentFile, dict[Modality, tuple[type[Generator], GeneratorSettings]]]:
    """The file, and the class and settings of each generator. FileProblemsError for mistakes."""
    kinds = _kinds(path)
    fields = [(str(m), cls.settings_type | None, None) for m, cls in kinds.items()]
    fields += [(str(m), GeneratorSettings | None, None) for m in MEDIA if m not in kinds]
    generators = msgspec.defstruct("Generators", fields, frozen=True, forbid_unknown_fields=True)
    typed = msgspec.defstruct(
        "TypedAgentFile", [("generators", generators)], bases=(AgentFile,), kw_only=True, frozen=True
    )
    file: Any = read_yaml(path, typed)
    return file, {m: (cls, getattr(file.generators, m)) for m, cls in kinds.items()}


def _kinds(path: Path) -> dict[Modality, type[Generator]]:
    """The class of each medium's generator in the file; without `kind` it is `model`."""
    file, mistakes = load_yaml(path, _Kinds)
    generators = file.generators
    if not isinstance(generators, dict) or not generators:
        mistakes.add("`generators` is missing: give one for image, audio or video", "generators")
        mistakes.check()
    classes: dict[Modality, type[Generator]] = {}
    for modality in MEDIA:
        settings = generators.get(str(modality))
        kind = str(settings.get("kind", "model")) if isinstance(settings, dict) else "model"
        try:
            cls: type[Generator] = plugins.load(plugins.GENERATORS, kind)
        except UserError as error:
            mistakes.add(str(error), "generators", str(modality), "kind")
            continue
        if str(modality) in generators:
            classes[modality] = cls
    mistakes.check()
    return classes
