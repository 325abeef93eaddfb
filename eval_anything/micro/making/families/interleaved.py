"""Families that ask for several parts in a given order or pattern."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import permutations

from eval_anything.content import Modality
from eval_anything.micro.making.scripts import ScriptFamily
from eval_anything.micro.prompts.exchange import UnusableError, any_scene
from eval_anything.micro.prompts.script import Script, ScriptStep
from eval_anything.micro.world.scenes import (
    KINDS,
    Clip,
    Picture,
    Scene,
    SymbolicPart,
    attributes_of,
    modality_of,
    path_of,
    sound_of,
)
from eval_anything.micro.world.words import describe

Slot = tuple[SymbolicPart, Scene]
"""A part of the right answer, and the scene that it shows or describes."""


_NOUNS = {Modality.TEXT: "caption", Modality.IMAGE: "picture", Modality.AUDIO: "sound"}


def _itself(scene: Scene) -> Slot:
    return scene, scene


def _caption(scene: Scene) -> Slot:
    return f"{describe(scene)}.", scene


def _sound(scene: Scene) -> Slot:
    assert isinstance(scene, Picture | Clip)
    return _itself(sound_of(scene))


def _script(prompt: str, slots: Sequence[Slot], pattern: str, *described: Scene) -> Script:
    answer = tuple(part for part, _ in slots)
    targets = [
        {"modality": str(modality_of(part)), "asked": attributes_of(scene)} for part, scene in slots
    ]
    about = (*described, *(scene for _, scene in slots))
    return Script((ScriptStep((prompt,), answer),), about, {"slots": targets}, {"pattern": pattern})


def _in_order(slots: Sequence[Slot], prompt: str, about: Scene) -> Script:
    """The prompt filled with the nouns of the parts, in their order, and with the scene in words."""
    nouns = [_NOUNS.get(modality_of(part), "clip") for part, _ in slots]
    return _script(prompt.format(*nouns, scene=describe(about)), slots, "-".join(nouns))


_TWO = (
    "{scene}: first the {0}, then the {1}.",
    "give me {scene}: the {0} and after it the {1}.",
    "i want the {1} of {scene}, but before it the {0}.",
)


_THREE = (
    "{scene}: first the {0}, then the {1}, then the {2}.",
    "give me {scene}: the {0}, after it the {1} and at the end the {2}.",
    "i want {scene} as {0}, {1} and {2}, in this order.",
)


def _captioned(rng: random.Random, template: int) -> Script:
    scene = any_scene(rng, KINDS[rng.choice((Modality.IMAGE, Modality.AUDIO, Modality.VIDEO))])
    slots = [_itself(scene), _caption(scene)]
    rng.shuffle(slots)
    return _in_order(slots, _TWO[template], scene)


def _sounding(rng: random.Random, template: int) -> Script:
    scene = any_scene(rng, KINDS[rng.choice((Modality.IMAGE, Modality.VIDEO))])
    slots = [_itself(scene), _sound(scene)]
    rng.shuffle(slots)
    return _in_order(slots, _TWO[template], scene)


def _three(rng: random.Random, template: int) -> Script:
    scene = any_scene(rng, Picture)
    slots = rng.choice(list(permutations((_itself(scene), _caption(scene), _sound(scene)))))
    return _in_order(slots, _THREE[template], scene)


_LABELLED = (
    ("name the picture, draw it, name its sound and play it: {scene}.", True),
    ("draw {scene}, name it, play its sound and name the sound.", False),
)


def _labelled(rng: random.Random, template: int) -> Script:
    scene = any_scene(rng, Picture)
    prompt, before = _LABELLED[template]
    slots = _with_captions((scene, sound_of(scene)), before)
    pattern = "name-picture-name-sound" if before else "picture-name-sound-name"
    return _script(prompt.format(scene=describe(scene)), slots, pattern)


_STORY = (
    ("show {scene} in three pictures, one after another, each with its caption after it.", False),
    ("tell the way of {scene} in three steps: a caption, then its picture.", True),
)


def _story(rng: random.Random, template: int) -> Script:
    clip = any_scene(rng, Clip)
    prompt, before = _STORY[template]
    slots = _with_captions(path_of(clip), before)
    pattern = "story, caption first" if before else "story, picture first"
    return _script(prompt.format(scene=describe(clip)), slots, pattern, clip)


_TWO_SCENES = (
    "draw {0} and then its sound, then {1} and its sound.",
    "draw {0} and {1}, then play their sounds in the same order.",
    "first the sounds of {0} and of {1}, then their pictures, in the same order.",
)


def _two_scenes(rng: random.Random, template: int) -> Script:
    scenes = _different(rng)
    pictures, sounds = [_itself(scene) for scene in scenes], [_sound(scene) for scene in scenes]
    slots, pattern = (
        ([pictures[0], sounds[0], pictures[1], sounds[1]], "picture-sound-picture-sound"),
        ([*pictures, *sounds], "picture-picture-sound-sound"),
        ([*sounds, *pictures], "sound-sound-picture-picture"),
    )[template]
    return _script(_TWO_SCENES[template].format(*map(describe, scenes)), slots, pattern)


_ALBUM = (
    ("draw {0} and write its caption, then draw {1} and write its caption.", False),
    ("write a caption and then the picture, for {0} and then for {1}.", True),
)


def _album(rng: random.Random, template: int) -> Script:
    scenes = _different(rng)
    prompt, before = _ALBUM[template]
    pattern = "caption-picture twice" if before else "picture-caption twice"
    return _script(prompt.format(*map(describe, scenes)), _with_captions(scenes, before), pattern)


def _different(rng: random.Random) -> tuple[Scene, Scene]:
    """Two different pictures."""
    first, second = any_scene(rng, Picture), any_scene(rng, Picture)
    if first == second:
        raise UnusableError("one picture twice")
    return first, second


def _with_captions(scenes: Sequence[Scene], before: bool) -> list[Slot]:
    pairs = [[_caption(s), _itself(s)] if before else [_itself(s), _caption(s)] for s in scenes]
    return [slot for pair in pairs for slot in pair]


FAMILIES = (
    ScriptFamily("captioned", len(_TWO), _captioned),
    ScriptFamily("sounding", len(_TWO), _sounding),
    ScriptFamily("three", len(_THREE), _three),
    ScriptFamily("labelled", len(_LABELLED), _labelled),
    ScriptFamily("story", len(_STORY), _story),
    ScriptFamily("two_things", len(_TWO_SCENES), _two_scenes),
    ScriptFamily("album", len(_ALBUM), _album),
)
