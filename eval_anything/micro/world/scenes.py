"""Scenes of the micro world: their attributes, laws, rules and held-out combinations.

Needs neither numpy nor torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, TypeVar

from eval_anything.content import Modality

WORLD_VERSION = "1"
"""Changes whenever a rendered file, a law, a rule or a held-out combination changes."""


SHAPES = ("circle", "square", "triangle")


COLOURS = ("red", "green", "blue", "yellow")


ROWS = ("top", "middle", "bottom")


COLS = ("left", "centre", "right")


PITCHES = ("low", "mid", "high")


COUNTS = ("one", "two", "three", "four")


CONTOURS = ("rising", "falling", "flat")


MOTIONS = ("up", "down", "left", "right")


# The laws that tie the modalities to each other.
PITCH_OF_ROW = {"top": "high", "middle": "mid", "bottom": "low"}


COUNT_OF_SHAPE = {"circle": "one", "square": "four", "triangle": "three"}


CONTOUR_OF_MOTION = {"up": "rising", "down": "falling", "left": "flat", "right": "flat"}


LAWS = (
    ("row", "pitch", PITCH_OF_ROW),
    ("shape", "count", COUNT_OF_SHAPE),
    ("motion", "contour", CONTOUR_OF_MOTION),
)
"""Each law: the attribute that is seen, the one that is heard, and the second by the first."""


DECLINE = "sorry, the rules forbid that."
"""The right answer to a request for something that the world's rules forbid."""


@dataclass(frozen=True, order=True)
class Picture:
    """One object at one of nine places."""

    shape: str
    colour: str
    row: str
    col: str
    modality: ClassVar[Modality] = Modality.IMAGE


@dataclass(frozen=True, order=True)
class Sound:
    """One to four equal tones."""

    pitch: str
    count: str
    contour: str
    modality: ClassVar[Modality] = Modality.AUDIO


@dataclass(frozen=True, order=True)
class Clip:
    """One object that crosses the frame through its centre."""

    shape: str
    colour: str
    motion: str
    modality: ClassVar[Modality] = Modality.VIDEO


Scene = Picture | Sound | Clip
"""All that one picture, sound or clip shows, as attributes: a medium before rendering."""


SymbolicPart = str | Scene
"""A part of a prompt or answer before rendering: a text, or the scene of a medium."""


SceneT = TypeVar("SceneT", bound=Scene)


KINDS: Mapping[Modality, type[Picture] | type[Sound] | type[Clip]] = {
    k.modality: k for k in (Picture, Sound, Clip)
}


ATTRIBUTES: Mapping[Modality, Mapping[str, tuple[str, ...]]] = {
    Modality.IMAGE: {"shape": SHAPES, "colour": COLOURS, "row": ROWS, "col": COLS},
    Modality.AUDIO: {"pitch": PITCHES, "count": COUNTS, "contour": CONTOURS},
    Modality.VIDEO: {"shape": SHAPES, "colour": COLOURS, "motion": MOTIONS},
}


VALUES: Mapping[str, tuple[str, ...]] = {
    name: values for group in ATTRIBUTES.values() for name, values in group.items()
}


def make_scene(modality: Modality, attributes: Mapping[str, str]) -> Scene:
    """The scene with exactly these attributes; ValueError for a wrong name or value."""
    allowed = ATTRIBUTES.get(modality)
    if allowed is None or set(attributes) != set(allowed):
        raise ValueError(f"{modality} has no attributes {sorted(attributes)}")
    for name, value in attributes.items():
        if value not in allowed[name]:
            raise ValueError(f"{name} cannot be {value!r}")
    return KINDS[modality](**attributes)


def attributes_of(scene: Scene) -> dict[str, str]:
    """Attribute names and values of a scene."""
    return dict(vars(scene))


def all_scenes(kind: type[SceneT]) -> Iterator[SceneT]:
    """Every scene of one kind, forbidden ones included: 108 pictures, 36 sounds or 48 clips."""
    for values in product(*ATTRIBUTES[kind.modality].values()):
        yield kind(*values)


def modality_of(part: SymbolicPart) -> Modality:
    """The modality of a part: text, or that of the scene."""
    return Modality.TEXT if isinstance(part, str) else part.modality


def sound_of(scene: Picture | Clip) -> Sound:
    """The sound of a picture or clip by the laws; a picture sounds flat, a clip in the middle."""
    if isinstance(scene, Picture):
        return Sound(PITCH_OF_ROW[scene.row], COUNT_OF_SHAPE[scene.shape], "flat")
    return Sound("mid", COUNT_OF_SHAPE[scene.shape], CONTOUR_OF_MOTION[scene.motion])


def path_of(clip: Clip) -> tuple[Picture, Picture, Picture]:
    """The three pictures that a clip shows one after another."""
    if clip.motion in ("up", "down"):
        places = [(row, "centre") for row in ROWS]
    else:
        places = [("middle", col) for col in COLS]
    if clip.motion in ("up", "left"):
        places.reverse()
    first, second, third = (Picture(clip.shape, clip.colour, row, col) for row, col in places)
    return first, second, third


def is_forbidden(scene: Scene) -> bool:
    """Whether the rules forbid the scene: a red square, or a sound of two high tones."""
    if isinstance(scene, Sound):
        return (scene.count, scene.pitch) == ("two", "high")
    return (scene.shape, scene.colour) == ("square", "red")


_CORNERS = (("top", "left"), ("top", "right"), ("bottom", "left"), ("bottom", "right"))


_EDGES = (("top", "centre"), ("middle", "left"), ("middle", "right"), ("bottom", "centre"))


def is_held_out(scene: Scene) -> bool:
    """Whether this combination is kept out of all training data, about two in nine.

    Every value and every pair of values still occurs in training, and so does every image patch: a
    patch code that was never trained could not be used by any model, so pictures are held out by place,
    not by shape and colour alone. Forbidden scenes are not held out: prompts of training may name them.
    """
    if is_forbidden(scene):
        return False
    if isinstance(scene, Sound):
        total = (
            PITCHES.index(scene.pitch)
            + 2 * COUNTS.index(scene.count)
            + 3 * CONTOURS.index(scene.contour)
        )
        return total % 5 == 0
    shape, colour = SHAPES.index(scene.shape), COLOURS.index(scene.colour)
    if isinstance(scene, Clip):
        return MOTIONS.index(scene.motion) == (shape + colour) % 4
    return (scene.row, scene.col) in (_CORNERS[(shape + colour) % 4], _EDGES[(shape - colour) % 4])
