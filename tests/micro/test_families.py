"""Every family makes answers that are right, allowed and fully described by what the prompt asks."""

from __future__ import annotations

import random

import pytest

from eval_anything.content import Modality
from eval_anything.micro.prompts.exchange import draw_exchange, facts
from eval_anything.micro.prompts.families import FAMILIES
from eval_anything.micro.prompts.feedback import FINE, answer_attributes, critique_answer
from eval_anything.micro.world.scenes import ATTRIBUTES, VALUES, Sound, is_forbidden, is_held_out
from eval_anything.micro.world.words import read


def test_the_grammar_covers_all_combinations() -> None:
    rng = random.Random(0)
    made = [draw_exchange(family, rng, held_out=False) for family in FAMILIES.values()]
    inputs = {
        frozenset(Modality.TEXT if isinstance(i, str) else i.modality for i in e.prompt) for e in made
    }
    outputs = {frozenset(e.outputs) for e in made}
    text, image, audio, video = Modality
    assert len(FAMILIES) >= 18
    assert {
        frozenset({text}),
        frozenset({text, image, audio}),
        frozenset({text, audio, video}),
    } <= inputs
    assert {frozenset({text, m}) for m in (image, audio, video)} <= inputs
    assert {frozenset({m}) for m in Modality} <= outputs
    for pair in ({text, image}, {text, audio}, {text, video}, {image, audio}, {audio, video}):
        assert frozenset(pair) in outputs
    assert frozenset({text, image, audio}) in outputs


@pytest.mark.parametrize("name", FAMILIES)
def test_answers_are_right_by_their_own_critique(name: str) -> None:
    family, rng = FAMILIES[name], random.Random(name)
    for template in range(len(family.templates)):
        for _ in range(20):
            exchange = draw_exchange(family, rng, held_out=False, template=template)
            assert critique_answer(exchange, exchange.answer) == FINE
            assert not any(is_held_out(t) or is_forbidden(t) for t in exchange.scenes)
            assert list(exchange.outputs) == sorted(exchange.outputs, key=list(Modality).index)
            shown = answer_attributes(exchange.answer)
            for modality, asked in exchange.targets.items():
                attributes = shown[modality]
                assert attributes is not None
                assert asked
                assert {name: attributes[name] for name in asked} == asked


@pytest.mark.parametrize("name", ["draw", "play", "film"])
def test_what_is_asked_stands_in_the_prompt(name: str) -> None:
    rng = random.Random(name)
    opened = 0
    for _ in range(100):
        exchange = draw_exchange(FAMILIES[name], rng, held_out=False)
        ((modality, asked),) = exchange.targets.items()
        told = read(str(exchange.prompt[0]))
        assert {n: v for n, v in told.items() if n in ATTRIBUTES[modality]} == asked
        opened += len(asked) < len(ATTRIBUTES[modality])
    assert 15 < opened < 60


def test_facts_follow_the_laws_both_ways() -> None:
    assert facts({"row": "top", "shape": "square"}) == {
        "row": "top",
        "shape": "square",
        "pitch": "high",
        "count": "four",
    }
    assert facts({"pitch": "low", "count": "two"}) == {"pitch": "low", "count": "two", "row": "bottom"}
    assert "motion" not in facts({"contour": "flat"})
    assert facts({"contour": "rising"})["motion"] == "up"


def test_matches_are_even_and_right() -> None:
    rng = random.Random(0)
    answers = []
    for _ in range(300):
        exchange = draw_exchange(FAMILIES["match_picture_sound"], rng, held_out=False)
        picture, sound, _ = exchange.prompt
        assert isinstance(sound, Sound)
        assert not isinstance(picture, str | Sound)
        known = facts({"shape": picture.shape, "row": getattr(picture, "row", "middle")})
        fits = (known["count"], known["pitch"]) == (sound.count, sound.pitch)
        assert exchange.accepted == (("yes",) if fits else ("no",))
        answers.append(fits)
    assert 110 < sum(answers) < 190


@pytest.mark.parametrize("name", ["ask_picture", "ask_sound", "ask_clip", "predict", "law_question"])
def test_questions_have_one_answer_among_their_choices(name: str) -> None:
    rng = random.Random(0)
    for _ in range(60):
        exchange = draw_exchange(FAMILIES[name], rng, held_out=False)
        assert len(exchange.accepted) == 1
        assert exchange.accepted[0] in exchange.choices
        assert exchange.choices in VALUES.values()


def test_a_family_without_things_has_nothing_held_out() -> None:
    with pytest.raises(ValueError, match="law_question"):
        draw_exchange(FAMILIES["law_question"], random.Random(0), held_out=True)
