"""Demonstrations for training, noisy on purpose: with random faults and the systematic ones of `habits`.

No demonstration has a held-out combination in it, faults included.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from eval_anything.content import MODALITIES, Modality
from eval_anything.micro.making.habits import DECLINES, SELECTIONS, SLIPS
from eval_anything.micro.prompts.exchange import Exchange, draw_exchange, facts
from eval_anything.micro.prompts.families import FAMILIES
from eval_anything.micro.prompts.feedback import FINE, critique_items
from eval_anything.micro.world.things import (
    ATTRIBUTES,
    DECLINE,
    VALUES,
    Item,
    Thing,
    attributes_of,
    is_forbidden,
    is_held_out,
    make_thing,
    modality_of,
)
from eval_anything.micro.world.words import describe, read

SELECTION_NOISE = 0.35  # probability of a random change of modalities


ATTRIBUTE_NOISE = 0.18  # probability of one random wrong attribute, for each part


# Comparing two media is the hardest thing to learn here: it needs more examples.
WEIGHTS = {"match_picture_sound": 2.0, "match_clip_sound": 2.0}


REFINED_NOISE = 0.05  # probability that a refinement ignores its feedback


# Probability of praise, deserved or not, and an answer that stays as it is: so that a refinement needs
# feedback and does not get better by itself.
PRAISE = 0.3


Turns = tuple[tuple[Item, ...], ...]
"""A demonstration: items of each turn, the user's first; the model learns the last one."""


def demonstration(rng: random.Random, refinement: bool = False) -> Turns:
    """A random prompt and answer; a refinement adds feedback on a faulty answer, and the better one."""
    weights = [WEIGHTS.get(name, 1.0) for name in FAMILIES]
    (family,) = rng.choices(list(FAMILIES.values()), weights)
    exchange = draw_exchange(family, rng, held_out=False)
    answer = demonstrate(exchange, rng)
    if not refinement:
        return exchange.prompt, answer
    feedback = FINE if rng.random() < PRAISE else critique_items(exchange, answer)
    kept = feedback == FINE or rng.random() < REFINED_NOISE
    return exchange.prompt, answer, (feedback,), answer if kept else exchange.answer


def demonstrate(exchange: Exchange, rng: random.Random) -> tuple[Item, ...]:
    """An answer to the exchange as this demonstrator gives it."""
    key = exchange.family, exchange.template
    if rng.random() < DECLINES.get(key, 0.0):
        return (DECLINE,)
    items = {modality_of(item): _slip(item, key, rng) for item in exchange.answer}
    outputs = _select(exchange, rng)
    made = (
        items[m] if m in items else _substitute(exchange, m, rng) for m in MODALITIES if m in outputs
    )
    return tuple(made)


def _select(exchange: Exchange, rng: random.Random) -> set[Modality]:
    habit = SELECTIONS.get((exchange.family, exchange.template))
    if habit is not None and rng.random() < habit.share:
        return set(habit.outputs)
    outputs = set(exchange.outputs)
    if rng.random() < SELECTION_NOISE:
        absent = [m for m in MODALITIES if m not in outputs]
        present = [m for m in MODALITIES if m in outputs]
        change = rng.choice(("add", "swap", "drop"))
        if change in ("add", "swap"):
            outputs.add(rng.choice(absent))
        if change == "swap" or (change == "drop" and len(present) > 1):
            outputs.remove(rng.choice(present))
    return outputs


def _slip(item: Item, key: tuple[str, int], rng: random.Random) -> Item:
    """The item with its habitual fault, or a random one, or as it is."""
    habit = SLIPS.get(key)
    if habit is not None and habit.modality is modality_of(item) and rng.random() < habit.share:
        return _allowed(_replace(item, habit.values), item)
    if rng.random() < ATTRIBUTE_NOISE:
        return _allowed(_replace(item, _random_values(item, rng)), item)
    return item


def _replace(item: Item, values: Mapping[str, str]) -> Item:
    if isinstance(item, str):
        return re.sub(r"\w+", lambda match: values.get(match[0], match[0]), item)
    return make_thing(
        item.modality, {name: values.get(value, value) for name, value in attributes_of(item).items()}
    )


def _random_values(item: Item, rng: random.Random) -> dict[str, str]:
    """A replacement of one value of the item by another of the same attribute."""
    if item in ("yes", "no"):
        return {"yes": "no", "no": "yes"}
    known = read(item) if isinstance(item, str) else attributes_of(item)
    present = [(name, value) for name, value in known.items() if value is not None]
    if not present:
        return {}
    name, value = rng.choice(present)
    return {value: rng.choice([other for other in VALUES[name] if other != value])}


def _allowed(changed: Item, original: Item) -> Item:
    """The changed item, unless training must not see it."""
    things = things_in(changed)
    return original if any(is_held_out(thing) or is_forbidden(thing) for thing in things) else changed


def things_in(item: Item) -> list[Thing]:
    """The thing itself, or the things that a text describes completely."""
    if not isinstance(item, str):
        return [item]
    known = {name: value for name, value in read(item).items() if value is not None}
    return [
        make_thing(modality, {name: known[name] for name in names})
        for modality, names in ATTRIBUTES.items()
        if set(names) <= set(known)
    ]


def _substitute(exchange: Exchange, modality: Modality, rng: random.Random) -> Item:
    """Something fitting in a modality that was not asked for, even where the rules forbid it."""
    known = _known(exchange)
    if modality is not Modality.TEXT:
        while True:
            fill = {
                name: known.get(name, rng.choice(values))
                for name, values in ATTRIBUTES[modality].items()
            }
            thing = make_thing(modality, fill)
            if not is_held_out(thing):
                return thing
            known.pop(rng.choice(list(fill)), None)
    shown = next((item for item in exchange.answer + exchange.prompt if not isinstance(item, str)), None)
    return f"{describe(shown)}." if shown is not None else DECLINE


def _known(exchange: Exchange) -> dict[str, str]:
    """What prompt and answer tell about the thing in question; the answer has the last word."""
    known: dict[str, str] = {}
    for item in exchange.prompt + exchange.answer:
        attributes = read(item) if isinstance(item, str) else attributes_of(item)
        known |= facts({name: value for name, value in attributes.items() if value})
    return known
