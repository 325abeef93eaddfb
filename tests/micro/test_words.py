"""Descriptions are read back exactly; contradictions and negations are not guessed at."""

from __future__ import annotations

import pytest

from eval_anything.content import Modality
from eval_anything.micro.world.grading import declines, is_one_of, names_only
from eval_anything.micro.world.perceive import perceive_text
from eval_anything.micro.world.scenes import DECLINE, KINDS, all_scenes, attributes_of
from eval_anything.micro.world.words import describe, read


@pytest.mark.parametrize("modality", [Modality.IMAGE, Modality.AUDIO, Modality.VIDEO])
def test_descriptions_are_exact(modality: Modality) -> None:
    for scene in all_scenes(KINDS[modality]):
        assert read(describe(scene)) == attributes_of(scene)
        for name, value in attributes_of(scene).items():
            assert read(describe(scene, (name,))) == {name: value}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "It is a Red circle, at the top-left!",
            {"colour": "red", "shape": "circle", "row": "top", "col": "left"},
        ),
        ("red or blue", {"colour": None}),
        ("not red", {"colour": None}),
        ("it moves left", {"motion": "left"}),
        ("on the left", {"col": "left"}),
        ("3 high notes", {"count": "three", "pitch": "high"}),
        ("one can see it", {}),
        ("two", {"count": "two"}),
        ("the center", {"col": "centre"}),
        ("", {}),
    ],
)
def test_free_texts(text: str, expected: dict[str, str | None]) -> None:
    assert read(text) == expected


def test_blank_text_is_a_problem() -> None:
    assert perceive_text(" \n").problem


def test_short_answers() -> None:
    colours = ("red", "green", "blue", "yellow")
    assert names_only("It is red.", "red", colours)
    assert not names_only("red or green", "red", colours)
    assert not names_only("", "red", colours)
    assert is_one_of(" Red , circle. ", ["red, circle"])
    assert not is_one_of("red circle", ["red, circle"])


@pytest.mark.parametrize("text", [DECLINE, "I cannot do that.", "I can\u2019t draw this"])
def test_refusals(text: str) -> None:
    assert declines(text)
    assert not declines("a red circle at the top left.")
