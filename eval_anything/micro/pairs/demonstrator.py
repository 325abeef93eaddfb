"""Answers to exchanges, noisy on purpose: with random faults and the systematic ones of `habits`.

No fault brings a held-out combination into an answer: answers are for training, too.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from eval_anything.content import MODALITIES, Modality
from eval_anything.micro.pairs.habits import DECLINES, SELECTIONS, SLIPS
from eval_anything.micro.prompts.exchange import Exchange, facts
from eval_anything.micro.world.scenes import (
    ATTRIBUTES,
    DECLINE,
    VALUES,
    Scene,
    SymbolicPart,
    attributes_of,
    is_forbidden,
    is_held_out,
    make_scene,
    modality_of,
)
from eval_anything.micro.world.words import describe, read

SELECTION_NOISE = 0.35  # probability of a random change of modalities


ATTRIBUTE_NOISE = 0.18  # probability of one random wrong attribute, for each part


def demonstrate(exchange: Exchange, rng: random.Random) -> tuple[SymbolicPart, ...]:
    """A noisy answer to the exchange; all of it may be a refusal."""
    key = exchange.family, exchange.template
    if rng.random() < DECLINES.get(key, 0.0):
        return (DECLINE,)
    parts = {modality_of(part): _slip(part, key, rng) for part in exchange.answer}
    outputs = _select(exchange, rng)
    return tuple(
        parts[m] if m in parts else _substitute(exchange, m, rng) for m in MODALITIES if m in outputs
    )


def _select(exchange: Exchange, rng: random.Random) -> set[Modality]:
    """The modalities of the answer: by habit, changed at random, or as they should be."""
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


def _slip(part: SymbolicPart, key: tuple[str, int], rng: random.Random) -> SymbolicPart:
    """The part with its habitual fault, or a random one, or as it is."""
    habit = SLIPS.get(key)
    if habit is not None and habit.modality is modality_of(part) and rng.random() < habit.share:
        return _allowed(_replace(part, habit.values), part)
    if rng.random() < ATTRIBUTE_NOISE:
        return _allowed(_replace(part, _random_values(part, rng)), part)
    return part


def _replace(part: SymbolicPart, values: Mapping[str, str]) -> SymbolicPart:
    if isinstance(part, str):
        return re.sub(r"\w+", lambda match: values.get(match[0], match[0]), part)
    return make_scene(
        part.modality, {name: values.get(right, right) for name, right in attributes_of(part).items()}
    )


def _random_values(part: SymbolicPart, rng: random.Random) -> dict[str, str]:
    """A replacement of one value of the part by another of the same attribute."""
    if part in ("yes", "no"):
        return {"yes": "no", "no": "yes"}
    attributes = read(part) if isinstance(part, str) else attributes_of(part)
    present = [(name, right) for name, right in attributes.items() if right is not None]
    if not present:
        return {}
    name, right = rng.choice(present)
    return {right: rng.choice([wrong for wrong in VALUES[name] if wrong != right])}


def _allowed(changed: SymbolicPart, original: SymbolicPart) -> SymbolicPart:
    """The changed part, or the original one where training must not see the change."""
    scenes = scenes_in(changed)
    return original if any(is_held_out(scene) or is_forbidden(scene) for scene in scenes) else changed


def scenes_in(part: SymbolicPart) -> list[Scene]:
    """The scene itself, or the scenes that a text describes completely."""
    if not isinstance(part, str):
        return [part]
    attributes = {name: value for name, value in read(part).items() if value is not None}
    return [
        make_scene(modality, {name: attributes[name] for name in names})
        for modality, names in ATTRIBUTES.items()
        if set(names) <= set(attributes)
    ]


def _substitute(exchange: Exchange, modality: Modality, rng: random.Random) -> SymbolicPart:
    """A fitting part in a modality that the prompt does not ask for, even where the rules forbid it."""
    attributes = _attributes(exchange)
    if modality is not Modality.TEXT:
        while True:
            fill = {
                name: attributes.get(name, rng.choice(values))
                for name, values in ATTRIBUTES[modality].items()
            }
            scene = make_scene(modality, fill)
            if not is_held_out(scene):
                return scene
            attributes.pop(rng.choice(list(fill)), None)
    media = (part for part in exchange.answer + exchange.prompt if not isinstance(part, str))
    first = next(media, None)
    return f"{describe(first)}." if first is not None else DECLINE


def _attributes(exchange: Exchange) -> dict[str, str]:
    """All attributes of prompt and answer; those of the answer win."""
    merged: dict[str, str] = {}
    for part in exchange.prompt + exchange.answer:
        attributes = read(part) if isinstance(part, str) else attributes_of(part)
        merged |= facts({name: value for name, value in attributes.items() if value})
    return merged
