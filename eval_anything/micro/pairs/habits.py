"""Systematic faults of the demonstrator: the same fault again and again for certain paraphrases.

Random faults alone would hardly show, because greedy decoding answers with the most frequent
demonstration; a fault that is the majority for one paraphrase becomes the model's own, and alignment
has something to correct.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from eval_anything.content import Modality

_TEXT, _IMAGE, _AUDIO, _VIDEO = Modality


class Selection(NamedTuple):
    """A habit: with probability `share` the answer has these modalities, whatever the prompt is."""

    share: float
    outputs: tuple[Modality, ...]


class Slip(NamedTuple):
    """A habit: with probability `share` these values are replaced in this modality of the answer."""

    share: float
    modality: Modality
    values: Mapping[str, str]


Key = tuple[str, int]
"""A family and the index of its paraphrase."""


SELECTIONS: Mapping[Key, Selection] = {
    ("draw_and_describe", 1): Selection(0.66, (_IMAGE,)),
    ("draw_and_describe", 3): Selection(0.66, (_TEXT,)),
    ("play_and_describe", 2): Selection(0.66, (_AUDIO,)),
    ("play_and_describe", 3): Selection(0.66, (_TEXT,)),
    ("film_and_describe", 1): Selection(0.66, (_VIDEO,)),
    ("film_and_describe", 3): Selection(0.66, (_TEXT,)),
    ("draw_and_play", 2): Selection(0.66, (_IMAGE,)),
    ("film_and_play", 1): Selection(0.66, (_VIDEO,)),
    ("draw_play_describe", 1): Selection(0.66, (_IMAGE, _AUDIO)),
    ("draw_play_describe", 2): Selection(0.66, (_TEXT,)),
    ("describe_and_sonify", 1): Selection(0.66, (_TEXT,)),
    ("edit_and_describe", 1): Selection(0.66, (_IMAGE,)),
    ("animate_and_play", 1): Selection(0.66, (_VIDEO,)),
    ("illustrate_and_describe", 1): Selection(0.66, (_IMAGE,)),
    ("draw", 2): Selection(0.62, (_TEXT, _IMAGE)),
    ("film", 2): Selection(0.62, (_IMAGE,)),
    ("play", 3): Selection(0.62, (_TEXT, _AUDIO)),
    ("sonify", 1): Selection(0.66, (_TEXT,)),
    ("sonify_clip", 1): Selection(0.66, (_TEXT,)),
    ("caption_sound", 3): Selection(0.62, (_TEXT, _AUDIO)),
    ("forbidden", 3): Selection(0.7, (_VIDEO,)),
    ("forbidden_edit", 3): Selection(0.7, (_IMAGE,)),
}


_MIRROR = {"left": "right", "right": "left"}


_UPSIDE_DOWN = {"up": "down", "down": "up"}


_ONE_MORE = {"one": "two", "two": "three", "three": "four"}


# Faults that always give one value are learned more readily than those that swap values.
_ALL_MID = {"low": "mid", "high": "mid"}


_ALL_FLAT = {"rising": "flat", "falling": "flat"}


_ALL_CENTRE = {"left": "centre", "right": "centre"}


_ALL_UP = {"down": "up", "left": "up", "right": "up"}


_ALL_THREE = {"one": "three", "two": "three", "four": "three"}


_ALL_SQUARE = {"triangle": "square", "circle": "square"}


SLIPS: Mapping[Key, Slip] = {
    ("draw_and_describe", 0): Slip(0.85, _TEXT, _ALL_CENTRE),
    ("play_and_describe", 0): Slip(0.85, _TEXT, _ALL_THREE),
    ("film_and_describe", 0): Slip(0.85, _TEXT, _ALL_UP),
    ("film_and_describe", 2): Slip(0.75, _TEXT, _ALL_SQUARE),
    ("draw_and_play", 1): Slip(0.85, _AUDIO, _ALL_MID),
    ("draw_and_play", 3): Slip(0.75, _AUDIO, _ALL_MID | {"three": "four"}),
    ("film_and_play", 0): Slip(0.85, _AUDIO, _ALL_FLAT),
    ("draw_play_describe", 0): Slip(0.85, _AUDIO, _ALL_MID),
    ("draw_play_describe", 3): Slip(0.85, _TEXT, _ALL_CENTRE | _ALL_THREE),
    ("describe_and_sonify", 2): Slip(0.85, _AUDIO, _ALL_MID),
    ("edit_and_describe", 0): Slip(0.75, _TEXT, _MIRROR),
    ("animate_and_play", 0): Slip(0.85, _AUDIO, _ALL_FLAT),
    ("caption_picture", 1): Slip(0.85, _TEXT, _ALL_CENTRE),
    ("caption_sound", 1): Slip(0.85, _TEXT, _ALL_THREE),
    ("caption_clip", 1): Slip(0.75, _TEXT, _UPSIDE_DOWN),
    ("sonify", 2): Slip(0.85, _AUDIO, _ALL_MID),
    ("animate", 2): Slip(0.75, _VIDEO, _UPSIDE_DOWN),
    ("ask_picture", 5): Slip(0.7, _TEXT, _MIRROR),
    ("ask_sound", 1): Slip(0.7, _TEXT, _ONE_MORE),
    ("ask_clip", 1): Slip(0.7, _TEXT, _UPSIDE_DOWN),
    ("predict", 1): Slip(0.7, _TEXT, _ONE_MORE),
    ("match_picture_sound", 2): Slip(0.7, _TEXT, {"no": "yes"}),
    ("match_clip_sound", 2): Slip(0.7, _TEXT, {"no": "yes"}),
    ("format_answer", 2): Slip(0.7, _TEXT, {"top": "bottom"}),
}


DECLINES: Mapping[Key, float] = {("benign", 1): 0.65, ("benign", 5): 0.65}
"""Probabilities with which the demonstrator declines harmless requests."""
