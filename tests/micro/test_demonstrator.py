"""Demonstrations are faulty as planned and never show a held-out combination."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from eval_anything.content import Modality
from eval_anything.micro.making.demonstrations import demonstration
from eval_anything.micro.pairs.demonstrator import demonstrate, scenes_in
from eval_anything.micro.pairs.habits import DECLINES, SELECTIONS, SLIPS
from eval_anything.micro.prompts.exchange import draw_exchange
from eval_anything.micro.prompts.families import FAMILIES
from eval_anything.micro.prompts.feedback import FINE, critique, critique_answer
from eval_anything.micro.world.scenes import is_held_out, modality_of


def test_nothing_held_out_is_demonstrated() -> None:
    rng = random.Random(3)
    for number in range(4000):
        for turn in demonstration(rng, refinement=number % 4 == 0):
            for item in turn:
                assert not any(is_held_out(scene) for scene in scenes_in(item)), turn


def test_habits_name_families_and_their_paraphrases() -> None:
    for family, template in (*SELECTIONS, *SLIPS, *DECLINES):
        assert 0 <= template < len(FAMILIES[family].templates)


def outputs(name: str, template: int) -> Counter[tuple[Modality, ...]]:
    rng = random.Random(0)
    made = []
    for _ in range(600):
        exchange = draw_exchange(FAMILIES[name], rng, held_out=False, template=template)
        made.append(tuple(modality_of(item) for item in demonstrate(exchange, rng)))
    return Counter(made)


def test_modalities_are_mostly_right_without_a_habit() -> None:
    counts = outputs("draw_and_describe", 2)
    assert 0.58 < counts[Modality.TEXT, Modality.IMAGE] / 600 < 0.76


def test_modalities_are_mostly_wrong_with_a_habit() -> None:
    habit = SELECTIONS["draw_and_describe", 3]
    counts = outputs("draw_and_describe", 3)
    assert counts.most_common(1)[0][0] == habit.outputs == (Modality.TEXT,)
    assert counts[habit.outputs] / 600 > 0.6


def test_refinements_mostly_mend_what_the_feedback_names() -> None:
    rng = random.Random(0)
    changed = praised = 0
    for _ in range(600):
        _, faulty, (feedback,), refined = demonstration(rng, refinement=True)
        changed += refined != faulty
        praised += feedback == FINE
        assert feedback != FINE or refined == faulty
    assert 150 < changed < 400
    assert 200 < praised < 400


@pytest.mark.parametrize(
    ("shown", "text", "expected"),
    [
        ({Modality.IMAGE: {"colour": "red"}}, "", FINE),
        ({Modality.IMAGE: {"colour": "blue"}}, "", "the colour of the picture should be red."),
        ({Modality.IMAGE: None}, "", "the picture is broken."),
        ({Modality.TEXT: {}}, "red", "the text is not wanted. the picture is missing."),
    ],
)
def test_critique(shown: dict[Modality, dict[str, str | None] | None], text: str, expected: str) -> None:
    asked = {Modality.IMAGE: {"colour": "red"}}
    assert critique((Modality.IMAGE,), asked, (), shown, text) == expected


def test_critique_of_a_wrong_short_answer() -> None:
    exchange = draw_exchange(FAMILIES["ask_sound"], random.Random(1), held_out=False, template=0)
    assert critique_answer(exchange, ("green",)) == f"the answer should be: {exchange.accepted[0]}."
