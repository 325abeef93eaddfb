"""Families of cycles from a modality to another and back, and of one question in several modalities.

Every turn is fresh, so that only the model's own answer leads from one to the next.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from eval_anything.content import FromTurn, Modality
from eval_anything.micro.making.scripts import ScriptFamily
from eval_anything.micro.prompts.exchange import any_scene, facts_of
from eval_anything.micro.prompts.script import Script, ScriptStep
from eval_anything.micro.world.scenes import (
    COLOURS,
    KINDS,
    VALUES,
    Clip,
    Picture,
    Scene,
    Sound,
    SymbolicPart,
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


def _cycle(start: Modality, middle: Modality, names: tuple[str, ...], scene: Scene) -> dict[str, object]:
    """Targets: the attributes that must come back, and those of the answer in between."""
    between = sound_of(scene) if middle is _AUDIO and isinstance(scene, Picture | Clip) else scene
    attributes = attributes_of(scene)
    return {
        "start": {name: attributes[name] for name in names},
        "end": str(start),
        "middle": {"modality": str(middle), "asked": attributes_of(between)},
    }


def _through_text(medium: Modality) -> Callable[[random.Random, int], Script]:
    """Asks for the description of a medium, then for the medium of that description."""

    def make(rng: random.Random, template: int) -> Script:
        scene = any_scene(rng, KINDS[medium])
        steps = (
            ScriptStep((scene, _DESCRIBE[medium][template]), (f"{describe(scene)}.",)),
            ScriptStep((_MAKE[medium][template], FromTurn(_TEXT, 1)), (scene,), fresh=True),
        )
        names = tuple(attributes_of(scene))
        return Script(steps, (scene,), _cycle(medium, _TEXT, names, scene))

    return make


def _from_text(medium: Modality) -> Callable[[random.Random, int], Script]:
    """Asks for the medium of a description, then for the description of that medium."""

    def make(rng: random.Random, template: int) -> Script:
        scene = any_scene(rng, KINDS[medium])
        steps = (
            ScriptStep((f"{_MAKE[medium][template]} {describe(scene)}.",), (scene,)),
            ScriptStep(
                (FromTurn(medium, 1), _DESCRIBE[medium][template]), (f"{describe(scene)}.",), fresh=True
            ),
        )
        names = tuple(attributes_of(scene))
        return Script(steps, (scene,), _cycle(_TEXT, medium, names, scene))

    return make


_SONIFY = ("play the sound of this picture.", "how does this picture sound?")


_ILLUSTRATE = ("draw this sound in {}.", "show me a {} picture that sounds like this.")


def _through_sound(rng: random.Random, template: int) -> Script:
    """Asks for the sound of a picture, then for a picture of that sound.

    A sound says nothing about colour and column.
    """
    scene = any_scene(rng, Picture)
    colour = rng.choice(COLOURS)
    end = Picture(scene.shape, colour, scene.row, scene.col)
    steps = (
        ScriptStep((scene, _SONIFY[template]), (sound_of(scene),)),
        ScriptStep((FromTurn(_AUDIO, 1), _ILLUSTRATE[template].format(colour)), (end,), fresh=True),
    )
    return Script(steps, (scene,), _cycle(_IMAGE, _AUDIO, ("shape", "row"), scene))


Question = Callable[[Scene], tuple[SymbolicPart, ...]]
"""The prompt of a question about a scene, in one modality."""


def _with_medium(question: str) -> Question:
    return lambda scene: (scene, question)


def _in_words(question: str) -> Question:
    return lambda scene: (question.format(scene=describe(scene), **facts_of(scene)),)


def _with_sound(question: str) -> Question:
    def prompt(scene: Scene) -> tuple[SymbolicPart, ...]:
        assert isinstance(scene, Picture | Clip)
        return sound_of(scene), question

    return prompt


# One question about a picture, a clip or their sound: its form in each modality.
_QUESTIONS: Mapping[str, Mapping[Modality, tuple[Question, ...]]] = {
    "count": {
        _IMAGE: (
            _in_words("how many tones does a {shape} make?"),
            _with_medium("how many tones would this picture make?"),
            _with_sound("how many tones do you hear?"),
        ),
        _VIDEO: (
            _in_words("what is the number of tones of a {shape}?"),
            _with_medium("how many tones would this clip make?"),
            _with_sound("what is the number of tones?"),
        ),
    },
    "pitch": {
        _IMAGE: (
            _in_words("which pitch belongs to the {row} row?"),
            _with_medium("which pitch belongs to this picture?"),
            _with_sound("which pitch do the tones have?"),
        ),
    },
    "contour": {
        _VIDEO: (
            _in_words("which contour does a shape moving {motion} have?"),
            _with_medium("which contour belongs to this clip?"),
            _with_sound("which contour do the tones have?"),
        ),
    },
    "colour": {
        _IMAGE: (
            _in_words("{scene}: which colour is that?"),
            _with_medium("what colour is the shape?"),
        ),
        _VIDEO: (
            _in_words("{scene}: what colour is the moving shape?"),
            _with_medium("what colour is the moving shape?"),
        ),
    },
}


def _across(name: str) -> Callable[[random.Random, int], Script]:
    """Asks for one attribute of a scene in words, of its medium and of its sound, in random order."""
    forms = list(_QUESTIONS[name].items())

    def make(rng: random.Random, template: int) -> Script:
        modality, questions = forms[template]
        scene = any_scene(rng, KINDS[modality])
        assert not isinstance(scene, Sound)
        answer = facts_of(scene)[name]
        mixed = rng.sample(questions, len(questions))
        prompts = [question(scene) for question in mixed]
        steps = tuple(ScriptStep(p, (answer,), fresh=number > 0) for number, p in enumerate(prompts))
        targets = {"answer": answer, "choices": list(VALUES[name])}
        return Script(steps, (scene,), targets)

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
