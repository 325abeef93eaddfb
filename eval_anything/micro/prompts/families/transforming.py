"""Families that turn given media into other media or descriptions."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace

from eval_anything.content import Modality
from eval_anything.micro.prompts.exchange import Draft, PromptFamily, UnusableError, any_thing, facts_of
from eval_anything.micro.prompts.families.making import asked_of, rendition
from eval_anything.micro.world.things import (
    COLOURS,
    COLS,
    KINDS,
    VALUES,
    Clip,
    Picture,
    Sound,
    Thing,
    attributes_of,
    sound_of,
)

_TEXT, _IMAGE, _AUDIO, _VIDEO = Modality


# Turns a random thing and the paraphrase into the thing that is wanted and the filled paraphrase.
Change = Callable[[random.Random, Thing, str], tuple[Thing, str]]


def transforming(
    name: str,
    source: Modality,
    outputs: tuple[Modality, ...],
    change: Change,
    templates: tuple[str, ...],
) -> PromptFamily:
    """A family that shows a thing and asks for outputs that agree on what it is changed into."""

    def make(rng: random.Random, template: str) -> Draft:
        given = any_thing(rng, KINDS[source])
        wanted, words = change(rng, given, template)
        if wanted == given and wanted.modality in outputs:
            raise UnusableError("nothing would change")
        answer = tuple(rendition(wanted, output, outputs) for output in outputs)
        asked = {
            m: dict(values)
            for m, values in asked_of(wanted, tuple(attributes_of(wanted)), outputs).items()
        }
        if isinstance(given, Sound):
            for values in asked.values():
                values.pop("col", None)  # a sound says nothing about the column
        return Draft((given, words), answer, asked)

    return PromptFamily(name, templates, make)


def _same(_: random.Random, given: Thing, template: str) -> tuple[Thing, str]:
    return given, template


def _edit(rng: random.Random, given: Thing, template: str) -> tuple[Thing, str]:
    """Changes the attributes that the paraphrase names."""
    assert isinstance(given, Picture)
    names = re.findall(r"{(\w+)}", template)
    values = {name: rng.choice([v for v in VALUES[name] if v != getattr(given, name)]) for name in names}
    return replace(given, **values), template.format(**values)


def _animate(rng: random.Random, given: Thing, template: str) -> tuple[Thing, str]:
    assert isinstance(given, Picture)
    motion = rng.choice(VALUES["motion"])
    return Clip(given.shape, given.colour, motion), template.format(motion=motion)


def _illustrate(rng: random.Random, given: Thing, template: str) -> tuple[Thing, str]:
    """A picture of a sound in a given colour; two tones have no shape."""
    known = facts_of(given)
    if "shape" not in known or known["contour"] != "flat":
        raise UnusableError("no picture sounds like this")
    colour = rng.choice(COLOURS)
    return Picture(known["shape"], colour, known["row"], rng.choice(COLS)), template.format(
        colour=colour
    )


def _sound(_: random.Random, given: Thing, template: str) -> tuple[Thing, str]:
    assert not isinstance(given, Sound)
    return sound_of(given), template


def captioning(noun: str, source: Modality, question: str, telling: str) -> PromptFamily:
    """A family that asks for a description."""
    return transforming(
        f"caption_{noun}",
        source,
        (_TEXT,),
        _same,
        (
            f"describe the {noun}.",
            question,
            f"give the {noun} a caption.",
            f"tell me what this {telling}.",
        ),
    )


FAMILIES = (
    captioning("picture", _IMAGE, "what do you see?", "picture shows"),
    captioning("sound", _AUDIO, "what do you hear?", "sounds like"),
    captioning("clip", _VIDEO, "what happens here?", "clip shows"),
    transforming(
        "edit_picture",
        _IMAGE,
        (_IMAGE,),
        _edit,
        (
            "make it {colour}.",
            "paint it {colour}.",
            "move it to the {row} row.",
            "move it to the {col} column.",
            "turn it into a {shape}.",
            "replace it with a {shape}.",
        ),
    ),
    transforming(
        "animate",
        _IMAGE,
        (_VIDEO,),
        _animate,
        ("make it move {motion}.", "turn it into a clip moving {motion}.", "let it go {motion}."),
    ),
    transforming(
        "sonify",
        _IMAGE,
        (_AUDIO,),
        _sound,
        ("play the sound of this picture.", "how does this picture sound?", "let me hear the picture."),
    ),
    transforming(
        "sonify_clip",
        _VIDEO,
        (_AUDIO,),
        _sound,
        ("play the sound of this clip.", "how does this clip sound?", "let me hear the clip."),
    ),
    transforming(
        "illustrate",
        _AUDIO,
        (_IMAGE,),
        _illustrate,
        ("draw this sound in {colour}.", "show me a {colour} picture that sounds like this."),
    ),
    transforming(
        "describe_and_sonify",
        _IMAGE,
        (_TEXT, _AUDIO),
        _same,
        (
            "describe the picture and play its sound.",
            "tell me what you see and let me hear it.",
            "give the picture a caption and a sound.",
        ),
    ),
    transforming(
        "edit_and_describe",
        _IMAGE,
        (_TEXT, _IMAGE),
        _edit,
        (
            "make it {colour} and describe the picture.",
            "move it to the {row} row and tell me what you see.",
            "turn it into a {shape} and give it a caption.",
        ),
    ),
    transforming(
        "animate_and_play",
        _IMAGE,
        (_AUDIO, _VIDEO),
        _animate,
        ("make it move {motion} and play its sound.", "let it go {motion} with sound."),
    ),
    transforming(
        "illustrate_and_describe",
        _AUDIO,
        (_TEXT, _IMAGE),
        _illustrate,
        (
            "draw this sound in {colour} and describe the picture.",
            "show me this sound in {colour} with a caption.",
        ),
    ),
)
