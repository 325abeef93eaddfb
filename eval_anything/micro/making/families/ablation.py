"""Families of questions put with all inputs and again with one of them taken away.

Every turn is fresh: the model does not see that it was asked before. An input is needed if without it
the world does not fix the answer, and spare if the answer stays what it was.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from eval_anything.micro.making.scripts import Script, ScriptFamily, ScriptStep
from eval_anything.micro.prompts.exchange import any_thing
from eval_anything.micro.world.things import (
    COLOURS,
    CONTOURS,
    COUNT_OF_SHAPE,
    COUNTS,
    PITCHES,
    Clip,
    Item,
    Picture,
    Sound,
    modality_of,
    sound_of,
)

CANNOT_TELL = "i cannot tell."
"""The right answer where a needed input is missing."""


_ADVICE = (" if that cannot be known, say: i cannot tell.", "")


_YES_NO = ("yes", "no")


def _script(
    inputs: Sequence[tuple[Item, bool]],
    question: str,
    answer: str,
    choices: Sequence[str],
    told: bool,
) -> Script:
    """The question with all inputs, each with whether it is needed, then without each of them."""
    asked = question + _ADVICE[not told]
    items = [item for item, _ in inputs]
    steps = [ScriptStep((*items, asked), (answer,))]
    variants: list[dict[str, Any]] = [{"kind": "full"}]
    for number, (item, needed) in enumerate(inputs):
        kept = (*items[:number], *items[number + 1 :])
        steps.append(ScriptStep((*kept, asked), (CANNOT_TELL if needed else answer,), fresh=True))
        variants.append({"kind": "needed" if needed else "spare", "removed": str(modality_of(item))})
    return Script(
        tuple(steps),
        (),
        {"answer": answer, "choices": list(choices), "variants": variants},
        {"told": told},
    )


Make = Callable[[random.Random, str, bool], Script]


def _family(name: str, questions: Sequence[str], make: Make) -> ScriptFamily:
    """Every question with and without the advice to say so where the answer cannot be known."""

    def filled(rng: random.Random, template: int) -> Script:
        return make(rng, questions[template // 2], template % 2 == 0)

    return ScriptFamily(name, 2 * len(questions), filled)


def _matching(noun: str, kind: type[Picture] | type[Clip], sounds: Sequence[Sound]) -> ScriptFamily:
    """Whether a thing and a sound, its own or another one, belong together."""

    def make(rng: random.Random, question: str, told: bool) -> Script:
        thing = any_thing(rng, kind)
        right = sound_of(thing)
        fits = rng.random() < 0.5
        sound = right if fits else rng.choice([sound for sound in sounds if sound != right])
        answer = "yes" if fits else "no"
        return _script([(thing, True), (sound, True)], question, answer, _YES_NO, told)

    questions = (f"do the {noun} and the sound belong together?", f"does the sound fit the {noun}?")
    return _family(f"{noun}_and_sound", questions, make)


def _same_colour(rng: random.Random, question: str, told: bool) -> Script:
    picture, clip = any_thing(rng, Picture), any_thing(rng, Clip)
    if rng.random() < 0.4:
        clip = Clip(clip.shape, picture.colour, clip.motion)
    answer = "yes" if picture.colour == clip.colour else "no"
    return _script([(picture, True), (clip, True)], question, answer, _YES_NO, told)


def _told_colour(rng: random.Random, question: str, told: bool) -> Script:
    """The other thing is only told of."""
    picture = any_thing(rng, Picture)
    others = [colour for colour in COLOURS if colour != picture.colour]
    colour = picture.colour if rng.random() < 0.5 else rng.choice(others)
    answer = "yes" if colour == picture.colour else "no"
    fact = f"the other shape is {colour}."
    return _script([(picture, True), (fact, True)], question, answer, _YES_NO, told)


def _colour_of(kind: type[Picture] | type[Clip]) -> Make:
    """A sound says nothing about colours."""

    def make(rng: random.Random, question: str, told: bool) -> Script:
        thing, sound = any_thing(rng, kind), any_thing(rng, Sound)
        return _script([(thing, True), (sound, False)], question, thing.colour, COLOURS, told)

    return make


def _either(rng: random.Random, question: str, told: bool) -> Script:
    """The picture and its own sound: each tells the number of tones without the other."""
    picture = any_thing(rng, Picture)
    sound = sound_of(picture)
    return _script([(picture, False), (sound, False)], question, sound.count, COUNTS, told)


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
