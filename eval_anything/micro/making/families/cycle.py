"""Families of cycles: out of a modality and back again, and one question put in several modalities.

Every turn is fresh, so that nothing but the model's own answer leads from one to the next.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from eval_anything.content import FromTurn, Modality
from eval_anything.micro.making.scripts import Script, ScriptFamily, ScriptStep
from eval_anything.micro.prompts.exchange import any_thing, facts_of
from eval_anything.micro.world.things import (
    COLOURS,
    KINDS,
    VALUES,
    Clip,
    Item,
    Picture,
    Sound,
    Thing,
    attributes_of,
    sound_of,
)
from eval_anything.micro.world.words import describe

_TEXT, _IMAGE, _AUDIO, _VIDEO = Modality


_MAKE = {
    _IMAGE: ("draw", "please make a picture of", "show me"),
    _AUDIO: ("play", "let me hear", "i want to hear"),
    _VIDEO: ("film", "make a clip of", "record"),
}


_DESCRIBE = {
    _IMAGE: ("describe the picture.", "what do you see?", "tell me what this picture shows."),
    _AUDIO: ("describe the sound.", "what do you hear?", "tell me what this sounds like."),
    _VIDEO: ("describe the clip.", "what happens here?", "tell me what this clip shows."),
}


def _cycle(start: Modality, middle: Modality, names: tuple[str, ...], thing: Thing) -> dict[str, object]:
    """What is scored: the attributes that must come back, and those of the answer in between."""
    shown = sound_of(thing) if middle is _AUDIO and isinstance(thing, Picture | Clip) else thing
    own = attributes_of(thing)
    return {
        "start": {name: own[name] for name in names},
        "end": str(start),
        "middle": {"modality": str(middle), "asked": attributes_of(shown)},
    }


def _through_text(medium: Modality) -> Callable[[random.Random, int], Script]:
    """A medium, its description, and the medium made from that."""

    def make(rng: random.Random, template: int) -> Script:
        thing = any_thing(rng, KINDS[medium])
        steps = (
            ScriptStep((thing, _DESCRIBE[medium][template]), (f"{describe(thing)}.",)),
            ScriptStep((_MAKE[medium][template], FromTurn(_TEXT, 1)), (thing,), fresh=True),
        )
        names = tuple(attributes_of(thing))
        return Script(steps, (thing,), _cycle(medium, _TEXT, names, thing))

    return make


def _from_text(medium: Modality) -> Callable[[random.Random, int], Script]:
    """A description, the medium made from it, and the description of that."""

    def make(rng: random.Random, template: int) -> Script:
        thing = any_thing(rng, KINDS[medium])
        steps = (
            ScriptStep((f"{_MAKE[medium][template]} {describe(thing)}.",), (thing,)),
            ScriptStep(
                (FromTurn(medium, 1), _DESCRIBE[medium][template]), (f"{describe(thing)}.",), fresh=True
            ),
        )
        names = tuple(attributes_of(thing))
        return Script(steps, (thing,), _cycle(_TEXT, medium, names, thing))

    return make


_SONIFY = ("play the sound of this picture.", "how does this picture sound?")


_ILLUSTRATE = ("draw this sound in {}.", "show me a {} picture that sounds like this.")


def _through_sound(rng: random.Random, template: int) -> Script:
    """A picture, its sound, and a picture of that; a sound says nothing about colour and column."""
    thing = any_thing(rng, Picture)
    colour = rng.choice(COLOURS)
    end = Picture(thing.shape, colour, thing.row, thing.col)
    steps = (
        ScriptStep((thing, _SONIFY[template]), (sound_of(thing),)),
        ScriptStep((FromTurn(_AUDIO, 1), _ILLUSTRATE[template].format(colour)), (end,), fresh=True),
    )
    return Script(steps, (thing,), _cycle(_IMAGE, _AUDIO, ("shape", "row"), thing))


Asked = Callable[[Thing], tuple[Item, ...]]


def _shown(question: str) -> Asked:
    return lambda thing: (thing, question)


def _told(question: str) -> Asked:
    return lambda thing: (question.format(thing=describe(thing), **facts_of(thing)),)


def _sounded(question: str) -> Asked:
    def ask(thing: Thing) -> tuple[Item, ...]:
        assert isinstance(thing, Picture | Clip)
        return sound_of(thing), question

    return ask


# One question about a picture, a clip or their sound: its form in each modality.
_QUESTIONS: Mapping[str, Mapping[Modality, tuple[Asked, ...]]] = {
    "count": {
        _IMAGE: (
            _told("how many tones does a {shape} make?"),
            _shown("how many tones would this picture make?"),
            _sounded("how many tones do you hear?"),
        ),
        _VIDEO: (
            _told("what is the number of tones of a {shape}?"),
            _shown("how many tones would this clip make?"),
            _sounded("what is the number of tones?"),
        ),
    },
    "pitch": {
        _IMAGE: (
            _told("which pitch belongs to the {row} row?"),
            _shown("which pitch belongs to this picture?"),
            _sounded("which pitch do the tones have?"),
        ),
    },
    "contour": {
        _VIDEO: (
            _told("which contour does a shape moving {motion} have?"),
            _shown("which contour belongs to this clip?"),
            _sounded("which contour do the tones have?"),
        ),
    },
    "colour": {
        _IMAGE: (
            _told("{thing}: which colour is that?"),
            _shown("what colour is the shape?"),
        ),
        _VIDEO: (
            _told("{thing}: what colour is the moving shape?"),
            _shown("what colour is the moving shape?"),
        ),
    },
}


def _across(name: str) -> Callable[[random.Random, int], Script]:
    forms = list(_QUESTIONS[name].items())

    def make(rng: random.Random, template: int) -> Script:
        modality, asks = forms[template]
        thing = any_thing(rng, KINDS[modality])
        assert not isinstance(thing, Sound)
        answer = facts_of(thing)[name]
        mixed = rng.sample(asks, len(asks))
        steps = tuple(ScriptStep(ask(thing), (answer,), fresh=i > 0) for i, ask in enumerate(mixed))
        targets = {"answer": answer, "choices": list(VALUES[name])}
        return Script(steps, (thing,), targets)

    return make


FAMILIES = (
    ScriptFamily("picture_text_picture", 3, _through_text(_IMAGE)),
    ScriptFamily("sound_text_sound", 3, _through_text(_AUDIO)),
    ScriptFamily("clip_text_clip", 3, _through_text(_VIDEO)),
    ScriptFamily("text_picture_text", 3, _from_text(_IMAGE)),
    ScriptFamily("text_sound_text", 3, _from_text(_AUDIO)),
    ScriptFamily("text_clip_text", 3, _from_text(_VIDEO)),
    ScriptFamily("picture_sound_picture", len(_SONIFY), _through_sound),
    *(ScriptFamily(f"across_{name}", len(_QUESTIONS[name]), _across(name)) for name in _QUESTIONS),
)
