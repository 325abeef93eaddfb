"""Families that show media and ask for other media or descriptions."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace

from eval_anything.content import Modality
from eval_anything.micro.prompts.exchange import Draft, PromptFamily, UnusableError, any_scene, facts_of
from eval_anything.micro.prompts.families.making import rendition, targets_of
from eval_anything.micro.world.scenes import (
    COLOURS,
    COLS,
    KINDS,
    VALUES,
    Clip,
    Picture,
    Scene,
    Sound,
    attributes_of,
    sound_of,
)

_TEXT, _IMAGE, _AUDIO, _VIDEO = Modality


# Turns a scene and a paraphrase into the changed scene and the filled paraphrase.
Change = Callable[[random.Random, Scene, str], tuple[Scene, str]]


def transforming(
    name: str,
    source: Modality,
    outputs: tuple[Modality, ...],
    change: Change,
    templates: tuple[str, ...],
) -> PromptFamily:
    """A family that shows a scene and asks for outputs that agree with the scene it is changed into."""

    def make(rng: random.Random, template: str) -> Draft:
        original = any_scene(rng, KINDS[source])
        changed, words = change(rng, original, template)
        if changed == original and changed.modality in outputs:
            raise UnusableError("nothing would change")
        answer = tuple(rendition(changed, output, outputs) for output in outputs)
        targets = {
            m: dict(values)
            for m, values in targets_of(changed, tuple(attributes_of(changed)), outputs).items()
        }
        if isinstance(original, Sound):
            for values in targets.values():
                values.pop("col", None)  # a sound says nothing about the column
        return Draft((original, words), answer, targets)

    return PromptFamily(name, templates, make)


def _same(_: random.Random, scene: Scene, template: str) -> tuple[Scene, str]:
    return scene, template


def _edit(rng: random.Random, scene: Scene, template: str) -> tuple[Scene, str]:
    """Changes the attributes that the paraphrase names."""
    assert isinstance(scene, Picture)
    names = re.findall(r"{(\w+)}", template)
    values = {name: rng.choice([v for v in VALUES[name] if v != getattr(scene, name)]) for name in names}
    return replace(scene, **values), template.format(**values)


def _animate(rng: random.Random, scene: Scene, template: str) -> tuple[Scene, str]:
    assert isinstance(scene, Picture)
    motion = rng.choice(VALUES["motion"])
    return Clip(scene.shape, scene.colour, motion), template.format(motion=motion)


def _illustrate(rng: random.Random, scene: Scene, template: str) -> tuple[Scene, str]:
    """Turns a sound into a picture of a random colour; two tones have no shape."""
    attributes = facts_of(scene)
    if "shape" not in attributes or attributes["contour"] != "flat":
        raise UnusableError("no picture sounds like this")
    colour = rng.choice(COLOURS)
    return Picture(attributes["shape"], colour, attributes["row"], rng.choice(COLS)), template.format(
        colour=colour
    )


def _sound(_: random.Random, scene: Scene, template: str) -> tuple[Scene, str]:
    assert not isinstance(scene, Sound)
    return sound_of(scene), template


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
