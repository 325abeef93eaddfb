"""Families that ask for several parts in a given order or pattern."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import permutations

from eval_anything.content import Modality
from eval_anything.micro.making.scripts import Script, ScriptFamily, ScriptStep
from eval_anything.micro.prompts.exchange import UnusableError, any_thing
from eval_anything.micro.world.things import (
    KINDS,
    Clip,
    Item,
    Picture,
    Thing,
    attributes_of,
    modality_of,
    path_of,
    sound_of,
)
from eval_anything.micro.world.words import describe

Slot = tuple[Item, Thing]
"""A part of the right answer, and the thing that it shows or describes."""


_NOUNS = {Modality.TEXT: "caption", Modality.IMAGE: "picture", Modality.AUDIO: "sound"}


def _itself(thing: Thing) -> Slot:
    return thing, thing


def _caption(thing: Thing) -> Slot:
    return f"{describe(thing)}.", thing


def _sound(thing: Thing) -> Slot:
    assert isinstance(thing, Picture | Clip)
    return _itself(sound_of(thing))


def _script(prompt: str, slots: Sequence[Slot], pattern: str, *told: Thing) -> Script:
    answer = tuple(item for item, _ in slots)
    targets = [
        {"modality": str(modality_of(item)), "asked": attributes_of(thing)} for item, thing in slots
    ]
    about = (*told, *(thing for _, thing in slots))
    return Script((ScriptStep((prompt,), answer),), about, {"slots": targets}, {"pattern": pattern})


def _in_order(slots: Sequence[Slot], prompt: str, about: Thing) -> Script:
    """The prompt filled with the nouns of the slots: each stands for the part at that place."""
    nouns = [_NOUNS.get(modality_of(item), "clip") for item, _ in slots]
    return _script(prompt.format(*nouns, thing=describe(about)), slots, "-".join(nouns))


_TWO = (
    "{thing}: first the {0}, then the {1}.",
    "give me {thing}: the {0} and after it the {1}.",
    "i want the {1} of {thing}, but before it the {0}.",
)


_THREE = (
    "{thing}: first the {0}, then the {1}, then the {2}.",
    "give me {thing}: the {0}, after it the {1} and at the end the {2}.",
    "i want {thing} as {0}, {1} and {2}, in this order.",
)


def _captioned(rng: random.Random, template: int) -> Script:
    thing = any_thing(rng, KINDS[rng.choice((Modality.IMAGE, Modality.AUDIO, Modality.VIDEO))])
    slots = [_itself(thing), _caption(thing)]
    rng.shuffle(slots)
    return _in_order(slots, _TWO[template], thing)


def _sounding(rng: random.Random, template: int) -> Script:
    thing = any_thing(rng, KINDS[rng.choice((Modality.IMAGE, Modality.VIDEO))])
    slots = [_itself(thing), _sound(thing)]
    rng.shuffle(slots)
    return _in_order(slots, _TWO[template], thing)


def _three(rng: random.Random, template: int) -> Script:
    thing = any_thing(rng, Picture)
    slots = rng.choice(list(permutations((_itself(thing), _caption(thing), _sound(thing)))))
    return _in_order(slots, _THREE[template], thing)


_LABELLED = (
    ("name the picture, draw it, name its sound and play it: {thing}.", True),
    ("draw {thing}, name it, play its sound and name the sound.", False),
)


def _labelled(rng: random.Random, template: int) -> Script:
    thing = any_thing(rng, Picture)
    prompt, before = _LABELLED[template]
    slots = _with_captions((thing, sound_of(thing)), before)
    pattern = "name-picture-name-sound" if before else "picture-name-sound-name"
    return _script(prompt.format(thing=describe(thing)), slots, pattern)


_STORY = (
    ("show {thing} in three pictures, one after another, each with its caption after it.", False),
    ("tell the way of {thing} in three steps: a caption, then its picture.", True),
)


def _story(rng: random.Random, template: int) -> Script:
    clip = any_thing(rng, Clip)
    prompt, before = _STORY[template]
    slots = _with_captions(path_of(clip), before)
    pattern = "story, caption first" if before else "story, picture first"
    return _script(prompt.format(thing=describe(clip)), slots, pattern, clip)


_TWO_THINGS = (
    "draw {0} and then its sound, then {1} and its sound.",
    "draw {0} and {1}, then play their sounds in the same order.",
    "first the sounds of {0} and of {1}, then their pictures, in the same order.",
)


def _two_things(rng: random.Random, template: int) -> Script:
    one, other = _different(rng)
    pictures, sounds = [_itself(one), _itself(other)], [_sound(one), _sound(other)]
    slots, pattern = (
        ([pictures[0], sounds[0], pictures[1], sounds[1]], "picture-sound-picture-sound"),
        ([*pictures, *sounds], "picture-picture-sound-sound"),
        ([*sounds, *pictures], "sound-sound-picture-picture"),
    )[template]
    return _script(_TWO_THINGS[template].format(describe(one), describe(other)), slots, pattern)


_ALBUM = (
    ("draw {0} and write its caption, then draw {1} and write its caption.", False),
    ("write a caption and then the picture, for {0} and then for {1}.", True),
)


def _album(rng: random.Random, template: int) -> Script:
    things = _different(rng)
    prompt, before = _ALBUM[template]
    pattern = "caption-picture twice" if before else "picture-caption twice"
    return _script(prompt.format(*map(describe, things)), _with_captions(things, before), pattern)


def _different(rng: random.Random) -> tuple[Thing, Thing]:
    """Two pictures."""
    one, other = any_thing(rng, Picture), any_thing(rng, Picture)
    if one == other:
        raise UnusableError("one picture twice")
    return one, other


def _with_captions(things: Sequence[Thing], before: bool) -> list[Slot]:
    pairs = [[_caption(t), _itself(t)] if before else [_itself(t), _caption(t)] for t in things]
    return [slot for pair in pairs for slot in pair]


FAMILIES = (
    ScriptFamily("captioned", len(_TWO), _captioned),
    ScriptFamily("sounding", len(_TWO), _sounding),
    ScriptFamily("three", len(_THREE), _three),
    ScriptFamily("labelled", len(_LABELLED), _labelled),
    ScriptFamily("story", len(_STORY), _story),
    ScriptFamily("two_things", len(_TWO_THINGS), _two_things),
    ScriptFamily("album", len(_ALBUM), _album),
)
