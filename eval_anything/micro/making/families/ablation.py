"""Families of questions that are asked with all inputs and again without each of them.

Every turn is fresh: the model does not see the turns before. An input is needed if the world does not
fix the answer without it, and spare if the answer stays the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from eval_anything.micro.making.scripts import ScriptFamily
from eval_anything.micro.prompts.exchange import any_scene
from eval_anything.micro.prompts.script import Script, ScriptStep
from eval_anything.micro.world.scenes import (
    COLOURS,
    CONTOURS,
    COUNT_OF_SHAPE,
    COUNTS,
    PITCHES,
    Clip,
    Picture,
    Sound,
    SymbolicPart,
    modality_of,
    sound_of,
)

CANNOT_TELL = "i cannot tell."
"""The right answer where a needed input is missing."""


_ADVICE = (" if that cannot be known, say: i cannot tell.", "")


_YES_NO = ("yes", "no")


def _script(
    inputs: Sequence[tuple[SymbolicPart, bool]],
    question: str,
    answer: str,
    choices: Sequence[str],
    advised: bool,
) -> Script:
    """The question with all inputs, then without each of them.

    Each input comes with whether it is needed; `advised` tells the model to say so where it cannot know.
    """
    text = question + _ADVICE[not advised]
    parts = [part for part, _ in inputs]
    steps = [ScriptStep((*parts, text), (answer,))]
    variants: list[dict[str, Any]] = [{"kind": "full"}]
    for number, (part, needed) in enumerate(inputs):
        remaining = (*parts[:number], *parts[number + 1 :])
        steps.append(ScriptStep((*remaining, text), (CANNOT_TELL if needed else answer,), fresh=True))
        variants.append({"kind": "needed" if needed else "spare", "removed": str(modality_of(part))})
    return Script(
        tuple(steps),
        (),
        {"answer": answer, "choices": list(choices), "variants": variants},
        {"told": advised},
    )


Make = Callable[[random.Random, str, bool], Script]


def _family(name: str, questions: Sequence[str], make: Make) -> ScriptFamily:
    """Asks every question with and without the advice to say so where the answer cannot be known."""

    def filled(rng: random.Random, template: int) -> Script:
        return make(rng, questions[template // 2], template % 2 == 0)

    return ScriptFamily(name, 2 * len(questions), filled)


def _matching(noun: str, kind: type[Picture] | type[Clip], sounds: Sequence[Sound]) -> ScriptFamily:
    """Asks whether a scene and a sound, its own or another one, belong together."""

    def make(rng: random.Random, question: str, advised: bool) -> Script:
        scene = any_scene(rng, kind)
        right = sound_of(scene)
        fits = rng.random() < 0.5
        sound = right if fits else rng.choice([sound for sound in sounds if sound != right])
        answer = "yes" if fits else "no"
        return _script([(scene, True), (sound, True)], question, answer, _YES_NO, advised)

    questions = (f"do the {noun} and the sound belong together?", f"does the sound fit the {noun}?")
    return _family(f"{noun}_and_sound", questions, make)


def _same_colour(rng: random.Random, question: str, advised: bool) -> Script:
    picture, clip = any_scene(rng, Picture), any_scene(rng, Clip)
    if rng.random() < 0.4:
        clip = Clip(clip.shape, picture.colour, clip.motion)
    answer = "yes" if picture.colour == clip.colour else "no"
    return _script([(picture, True), (clip, True)], question, answer, _YES_NO, advised)


def _told_colour(rng: random.Random, question: str, advised: bool) -> Script:
    """Asks whether a picture has the colour of a shape that is only described."""
    picture = any_scene(rng, Picture)
    different = [colour for colour in COLOURS if colour != picture.colour]
    colour = picture.colour if rng.random() < 0.5 else rng.choice(different)
    answer = "yes" if colour == picture.colour else "no"
    fact = f"the other shape is {colour}."
    return _script([(picture, True), (fact, True)], question, answer, _YES_NO, advised)


def _colour_of(kind: type[Picture] | type[Clip]) -> Make:
    """Asks for the colour of a picture or clip beside a sound, which says nothing about colours."""

    def make(rng: random.Random, question: str, advised: bool) -> Script:
        scene, sound = any_scene(rng, kind), any_scene(rng, Sound)
        return _script([(scene, True), (sound, False)], question, scene.colour, COLOURS, advised)

    return make


def _either(rng: random.Random, question: str, advised: bool) -> Script:
    """Asks for the number of tones, which the picture and its sound show each without the other."""
    picture = any_scene(rng, Picture)
    sound = sound_of(picture)
    return _script([(picture, False), (sound, False)], question, sound.count, COUNTS, advised)


FAMILIES = (
    _matching(
        "picture", Picture, [Sound(p, c, "flat") for p in PITCHES for c in COUNT_OF_SHAPE.values()]
    ),
    _matching("clip", Clip, [Sound("mid", c, t) for c in COUNT_OF_SHAPE.values() for t in CONTOURS]),
    _family("same_colour", ("do the picture and the clip show the same colour?",), _same_colour),
    _family("told_colour", ("do the picture and the other shape have one colour?",), _told_colour),
    _family(
        "picture_colour", ("what colour is the shape?", "which colour do you see?"), _colour_of(Picture)
    ),
    _family("clip_colour", ("what colour is the moving shape?",), _colour_of(Clip)),
    _family("either_count", ("how many tones belong to this?", "what is the number of tones?"), _either),
)
