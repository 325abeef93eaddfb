"""An exchange is a prompt with its right answer, not yet rendered; a family makes exchanges."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from eval_anything.content import Modality
from eval_anything.micro.world.scenes import (
    ATTRIBUTES,
    KINDS,
    LAWS,
    Scene,
    SceneT,
    SymbolicPart,
    all_scenes,
    attributes_of,
    is_forbidden,
    is_held_out,
    modality_of,
)

Targets = Mapping[Modality, Mapping[str, str]]
"""Values of the attributes that each part of an answer must show, by its modality."""


class UnusableError(ValueError):
    """The world does not allow this draft, such as a question without an answer: another is drawn."""


class Draft(NamedTuple):
    """A prompt of a family with its right answer.

    targets: the attributes that the prompt fixes for each modality of the answer, not those left open.
    accepted: right short answers in text.
    choices: the values of which a short answer must name exactly one.
    """

    prompt: tuple[SymbolicPart, ...]
    answer: tuple[SymbolicPart, ...]
    targets: Targets = {}
    accepted: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptFamily:
    """Prompts of one kind: paraphrases, and a function that fills one of them at random."""

    name: str
    templates: tuple[str, ...]
    make: Callable[[random.Random, str], Draft]
    dimension: str = ""


@dataclass(frozen=True)
class Exchange:
    """A prompt and its right answer, with the family and the index of the paraphrase that made them."""

    family: str
    template: int
    prompt: tuple[SymbolicPart, ...]
    answer: tuple[SymbolicPart, ...]
    targets: Targets = field(default_factory=dict)
    accepted: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    dimension: str = ""

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """All scenes in prompt and answer."""
        return tuple(part for part in self.prompt + self.answer if not isinstance(part, str))

    @property
    def held_out(self) -> bool:
        """Whether any scene is a held-out combination."""
        return any(is_held_out(scene) for scene in self.scenes)

    @property
    def outputs(self) -> tuple[Modality, ...]:
        """The modalities of the right answer."""
        return tuple(modality_of(part) for part in self.answer)


def draw_exchange(
    family: PromptFamily, rng: random.Random, held_out: bool, template: int | None = None
) -> Exchange:
    """A random exchange of the family. Raises ValueError if 300 tries give none with this `held_out`."""
    for _ in range(300):
        number = rng.randrange(len(family.templates)) if template is None else template
        try:
            draft = family.make(rng, family.templates[number])
        except UnusableError:
            continue
        exchange = Exchange(family.name, number, *draft, dimension=family.dimension)
        if exchange.held_out == held_out and not any(is_forbidden(scene) for scene in exchange.scenes):
            return exchange
    raise ValueError(f"family {family.name} has no exchange with held_out={held_out}")


def any_scene(rng: random.Random, kind: type[SceneT]) -> SceneT:
    """A random scene of this kind that the rules allow."""
    allowed: list[SceneT] = _allowed(kind.modality)
    return rng.choice(allowed)


@cache
def _allowed(modality: Modality) -> list[Any]:
    return [scene for scene in all_scenes(KINDS[modality]) if not is_forbidden(scene)]


def some_names(rng: random.Random, modality: Modality) -> tuple[str, ...]:
    """Names of the attributes that a prompt fixes: all in two of three prompts, else one is left out."""
    names = tuple(ATTRIBUTES[modality])
    left_open = rng.choice(names) if rng.random() < 1 / 3 else None
    return tuple(name for name in names if name != left_open)


def pick(attributes: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """The named attributes, those that are absent left out."""
    return {name: attributes[name] for name in names if name in attributes}


def facts(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes and those that follow by the laws, in both directions where that is unique."""
    extended = dict(attributes)
    for visible, audible, law in LAWS:
        if visible in attributes:
            extended[audible] = law[attributes[visible]]
        elif audible in attributes:
            causes = [cause for cause, effect in law.items() if effect == attributes[audible]]
            if len(causes) == 1:
                extended[visible] = causes[0]
    return extended


def facts_of(scene: Scene) -> dict[str, str]:
    """Attributes of a scene, and those that follow by the laws."""
    return facts(attributes_of(scene))
