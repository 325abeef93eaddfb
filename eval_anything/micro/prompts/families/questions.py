"""Families whose right answer is a short text."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from eval_anything.content import Modality
from eval_anything.micro.prompts.exchange import (
    Draft,
    PromptFamily,
    UnusableError,
    any_scene,
    facts,
    facts_of,
)
from eval_anything.micro.world.scenes import KINDS, PITCHES, VALUES, Clip, Picture, Sound, sound_of

# A question: the modality that it is about, and the pattern of its answer.
Questions = Mapping[str, tuple[Modality, str]]


def asking(name: str, dimension: str, questions: Questions) -> PromptFamily:
    """A family that shows one scene and asks about it; its facts fill the pattern of the answer."""

    def make(rng: random.Random, template: str) -> Draft:
        modality, pattern = questions[template]
        scene = any_scene(rng, KINDS[modality])
        names = re.findall(r"{(\w+)}", pattern)
        attributes = facts_of(scene)
        if not set(names) <= set(attributes):
            raise UnusableError(template)
        answer = pattern.format(**attributes)
        choices = VALUES[names[0]] if pattern == f"{{{names[0]}}}" else ()
        return Draft((scene, template), (answer,), accepted=(answer,), choices=choices)

    return PromptFamily(name, tuple(questions), make, dimension)


_LAWS = {
    "which pitch belongs to the {row} row?": "{pitch}",
    "how high does a shape in the {row} row sound?": "{pitch}",
    "which row belongs to a {pitch} tone?": "{row}",
    "how many tones does a {shape} make?": "{count}",
    "what is the number of tones of a {shape}?": "{count}",
    "which contour does a shape moving {motion} have?": "{contour}",
    "how does a shape sound when it is moving {motion}?": "{contour}",
}


def _law(rng: random.Random, template: str) -> Draft:
    cause = re.findall(r"{(\w+)}", template)[0]
    effect = _LAWS[template].strip("{}")
    attributes = facts({cause: rng.choice(VALUES[cause])})
    answer = attributes[effect]
    return Draft((template.format(**attributes),), (answer,), accepted=(answer,), choices=VALUES[effect])


def matching(noun: str, kind: type[Picture] | type[Clip], sounds: list[Sound]) -> PromptFamily:
    """A family that shows a scene with its sound or another one, and asks whether they fit."""

    def make(rng: random.Random, template: str) -> Draft:
        scene = any_scene(rng, kind)
        right = sound_of(scene)
        wrong = rng.choice([sound for sound in sounds if sound != right])
        fits = rng.random() < 0.5
        answer = "yes" if fits else "no"
        prompt = (scene, right if fits else wrong, template)
        return Draft(prompt, (answer,), accepted=(answer,), choices=("yes", "no"))

    templates = (
        f"do the {noun} and the sound belong together?",
        f"is this the sound of the {noun}?",
        f"does the sound fit the {noun}?",
    )
    return PromptFamily(f"match_{noun}_sound", templates, make, "reasoning")


_IMAGE, _AUDIO, _VIDEO = Modality.IMAGE, Modality.AUDIO, Modality.VIDEO


_COUNTS = ("one", "three", "four")  # of the tones that shapes make


FAMILIES = (
    PromptFamily("law_question", tuple(_LAWS), _law, "reasoning"),
    asking(
        "ask_picture",
        "perception",
        {
            "what colour is the shape?": (_IMAGE, "{colour}"),
            "which colour do you see?": (_IMAGE, "{colour}"),
            "which shape is in the picture?": (_IMAGE, "{shape}"),
            "what shape do you see?": (_IMAGE, "{shape}"),
            "in which row is the shape?": (_IMAGE, "{row}"),
            "in which column is the shape?": (_IMAGE, "{col}"),
        },
    ),
    asking(
        "ask_sound",
        "perception",
        {
            "how many tones do you hear?": (_AUDIO, "{count}"),
            "what is the number of tones?": (_AUDIO, "{count}"),
            "which pitch do the tones have?": (_AUDIO, "{pitch}"),
            "which contour do the tones have?": (_AUDIO, "{contour}"),
        },
    ),
    asking(
        "ask_clip",
        "perception",
        {
            "which way does the shape move?": (_VIDEO, "{motion}"),
            "where does it go?": (_VIDEO, "{motion}"),
            "what colour is the moving shape?": (_VIDEO, "{colour}"),
            "which shape is moving?": (_VIDEO, "{shape}"),
        },
    ),
    asking(
        "predict",
        "reasoning",
        {
            "which pitch belongs to this picture?": (_IMAGE, "{pitch}"),
            "how many tones would this picture make?": (_IMAGE, "{count}"),
            "which contour belongs to this clip?": (_VIDEO, "{contour}"),
            "how many tones would this clip make?": (_VIDEO, "{count}"),
            "which shape makes this sound?": (_AUDIO, "{shape}"),
            "in which row would you draw this sound?": (_AUDIO, "{row}"),
        },
    ),
    matching("picture", Picture, [Sound(p, c, "flat") for p in PITCHES for c in _COUNTS]),
    matching("clip", Clip, [Sound("mid", c, t) for c in _COUNTS for t in VALUES["contour"]]),
    asking(
        "format_answer",
        "instruction_following",
        {
            "name the colour, then the shape, separated by a comma.": (_IMAGE, "{colour}, {shape}"),
            "name the shape, then the colour, separated by a comma.": (_IMAGE, "{shape}, {colour}"),
            "say the row twice.": (_IMAGE, "{row} {row}"),
            "answer in two words: the row, then the column.": (_IMAGE, "{row} {col}"),
            "answer in two words: pitch, then contour.": (_AUDIO, "{pitch} {contour}"),
            "name the count and the pitch, separated by a comma.": (_AUDIO, "{count}, {pitch}"),
            "say the count twice.": (_AUDIO, "{count} {count}"),
            "name the motion and the colour, joined by and.": (_VIDEO, "{motion} and {colour}"),
            "name the shape, then the motion, separated by a comma.": (_VIDEO, "{shape}, {motion}"),
        },
    ),
)
