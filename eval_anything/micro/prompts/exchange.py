"""An exchange is a prompt with its right answer, not yet rendered; a family makes exchanges."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from eval_anything.content import Modality
from eval_anything.micro.world.things import (
    ATTRIBUTES,
    KINDS,
    LAWS,
    Item,
    T,
    Thing,
    all_things,
    attributes_of,
    is_forbidden,
    is_held_out,
    modality_of,
)

Asked = Mapping[Modality, Mapping[str, str]]


class UnusableError(ValueError):
    """A draft that the world does not allow, such as a question without an answer: draw again."""


class Draft(NamedTuple):
    """What a family's maker returns.

    asked: the attributes that the prompt fixes for each modality of the answer, not those left open.
    accepted: right short answers in text.
    choices: the values of which a short answer must name exactly one.
    """

    prompt: tuple[Item, ...]
    answer: tuple[Item, ...]
    asked: Asked = {}
    accepted: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptFamily:
    """Prompts of one kind: paraphrases, and a maker that fills one of them at random."""

    name: str
    templates: tuple[str, ...]
    make: Callable[[random.Random, str], Draft]
    dimension: str = ""


@dataclass(frozen=True)
class Exchange:
    """A prompt, its right answer and where they come from; `template` is the paraphrase's index."""

    family: str
    template: int
    prompt: tuple[Item, ...]
    answer: tuple[Item, ...]
    asked: Asked = field(default_factory=dict)
    accepted: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    dimension: str = ""

    @property
    def things(self) -> tuple[Thing, ...]:
        """All things in prompt and answer."""
        return tuple(item for item in self.prompt + self.answer if not isinstance(item, str))

    @property
    def held_out(self) -> bool:
        """Whether any thing is a held-out combination."""
        return any(is_held_out(thing) for thing in self.things)

    @property
    def outputs(self) -> tuple[Modality, ...]:
        """The modalities of the right answer."""
        return tuple(modality_of(item) for item in self.answer)


def draw_exchange(
    family: PromptFamily, rng: random.Random, held_out: bool, template: int | None = None
) -> Exchange:
    """A random exchange of the family; ValueError if many tries give none with this `held_out`."""
    for _ in range(300):
        number = rng.randrange(len(family.templates)) if template is None else template
        try:
            draft = family.make(rng, family.templates[number])
        except UnusableError:
            continue
        exchange = Exchange(family.name, number, *draft, dimension=family.dimension)
        if exchange.held_out == held_out and not any(is_forbidden(thing) for thing in exchange.things):
            return exchange
    raise ValueError(f"family {family.name} has no exchange with held_out={held_out}")


def any_thing(rng: random.Random, kind: type[T]) -> T:
    """A random thing of this kind that the rules allow."""
    allowed: list[T] = _allowed(kind.modality)
    return rng.choice(allowed)


@cache
def _allowed(modality: Modality) -> list[Any]:
    return [thing for thing in all_things(KINDS[modality]) if not is_forbidden(thing)]


def some_names(rng: random.Random, modality: Modality) -> tuple[str, ...]:
    """The attributes that a prompt fixes: all of them in two of three prompts, else one is left open."""
    names = tuple(ATTRIBUTES[modality])
    left_open = rng.choice(names) if rng.random() < 1 / 3 else None
    return tuple(name for name in names if name != left_open)


def pick(attributes: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """The named attributes."""
    return {name: attributes[name] for name in names if name in attributes}


def facts(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes together with what the laws add to them, in both directions where that is unique."""
    known = dict(attributes)
    for visible, audible, law in LAWS:
        if visible in attributes:
            known[audible] = law[attributes[visible]]
        elif audible in attributes:
            causes = [value for value, effect in law.items() if effect == attributes[audible]]
            if len(causes) == 1:
                known[visible] = causes[0]
    return known


def facts_of(thing: Thing) -> dict[str, str]:
    """`facts` of a thing."""
    return facts(attributes_of(thing))
