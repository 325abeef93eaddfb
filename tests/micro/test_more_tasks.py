"""The tasks of `micro_more`: a fresh generation, perfectly solvable, unforgiving, and with controls."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval_anything.content import FromTurn, MediaPart, Part, Response, Sample, Score, TextPart
from eval_anything.micro.making.scripts import draw_scripts, prompt_scenes, samples_jsonl
from eval_anything.micro.making.tasks import SCRIPTED as PLANS
from eval_anything.micro.pairs.demonstrator import scenes_in
from eval_anything.micro.prompts.script import media_name
from eval_anything.micro.world.gold import part_from_json
from eval_anything.micro.world.perceive import perceive
from eval_anything.micro.world.scenes import attributes_of, is_forbidden, is_held_out
from eval_anything.scoring.controls import answers_of, partners
from tests.micro.conftest import SUITE, Respond, render_items, samples, scorer

FUNCTIONS = {
    "interleaved": "interleaved",
    "cycle": "consistency",
    "multi_turn": "multi_turn",
    "ablation": "ablation",
}
LOWER = {"redundant", "guessed"}
Scores = dict[str, Score]


def gold(sample: Sample, respond: Respond) -> Response:
    """The right answers to all turns."""
    parts = [
        respond(render_items(part_from_json(item) for item in items)).parts
        for items in (*sample.targets.get("gold_turns", ()), sample.targets["gold"])
    ]
    return Response(parts[-1], turns=tuple(parts[:-1]))


@cache
def _gold(task: str, respond: Respond) -> tuple[tuple[Sample, Response, Scores], ...]:
    score = getattr(scorer(task), FUNCTIONS[task])
    answered = [(sample, gold(sample, respond)) for sample in samples(task)]
    return tuple((sample, response, score(sample, response)) for sample, response in answered)


@pytest.mark.parametrize("task", PLANS)
def test_committed_samples_are_a_fresh_generation(task: str) -> None:
    drawn = draw_scripts(task, PLANS[task])
    assert (
        samples_jsonl(PLANS[task].prefix, drawn).encode()
        == (SUITE / task / "samples.jsonl").read_bytes()
    )
    names = {media_name(scene): scene for scene in prompt_scenes(drawn)}
    assert {path.name for path in (SUITE / task).glob("media/*")} == set(names)
    parts = {
        part.path.name: part
        for sample in samples(task)
        for asked in (*sample.messages, *sample.turns)
        for part in asked.parts
        if isinstance(part, MediaPart)
    }
    assert parts.keys() == names.keys()
    for name, part in parts.items():
        assert perceive(part).attributes == attributes_of(names[name])


@pytest.mark.parametrize("task", PLANS)
def test_size_split_and_rules(task: str) -> None:
    rows = samples(task)
    assert len(rows) >= 300
    assert len({sample.id for sample in rows}) == len(rows)
    assert len({repr((sample.messages, sample.turns)) for sample in rows}) == len(rows)
    split = Counter(sample.metadata["split"] for sample in rows)
    assert 0.17 < split["held_out"] / len(rows) < 0.26
    for _, _, script in draw_scripts(task, PLANS[task]):
        shown = {i for step in script.steps for i in (*step.prompt, *step.answer)}
        assert {i for i in shown if not isinstance(i, str | FromTurn)} <= set(script.scenes)
        told = {scene for text in shown if isinstance(text, str) for scene in scenes_in(text)}
        assert not any(is_forbidden(scene) for scene in (*script.scenes, *told))
        if not script.held_out:
            assert not any(is_held_out(scene) for scene in (*script.scenes, *told))


@pytest.mark.slow
@pytest.mark.parametrize("task", PLANS)
def test_gold_answers_score_the_best_value(task: str, respond: Respond) -> None:
    for sample, response, scores in _gold(task, respond):
        assert response.modalities == sample.contract.required
        assert len(response.turns) == len(sample.turns)
        for name, score in scores.items():
            if "shuffled" not in name and "gain" not in name:
                assert score.value == (0.0 if name in LOWER else 1.0), (sample.id, name)


@pytest.mark.parametrize("task", PLANS)
def test_no_answer_scores_the_floor_on_the_same_metrics(task: str, respond: Respond) -> None:
    score = getattr(scorer(task), FUNCTIONS[task])
    for sample, _, scores in _gold(task, respond)[:60]:
        empty = score(sample, Response())
        assert empty.keys() == scores.keys()
        for name, given_score in empty.items():
            assert given_score.value == (1.0 if name == "redundant" else 0.0), name


@pytest.mark.parametrize("task", ["cycle", "multi_turn"])
def test_the_answers_to_another_sample_are_worth_less(task: str, respond: Respond) -> None:
    scored = [(sample, scores) for sample, _, scores in _gold(task, respond)]
    controls = scorer(task).shuffled(scored)
    assert controls == scorer(task).shuffled(scored)
    name = {"cycle": "consistency", "multi_turn": "later"}[task]
    values = [control[f"{name}_shuffled"].value for control in controls]
    assert 0.2 < sum(values) / len(values) < 0.55
    for control in controls:
        assert control[f"{name}_gain"].value == 1 - control[f"{name}_shuffled"].value
    assert scorer(task).shuffled(scored[:1]) == [{}]
    failed = [
        (sample, {n: replace_score(s, 0.0) for n, s in scores.items()}) for sample, scores in scored
    ]
    for control in scorer(task).shuffled(failed[:50]):
        if control:
            assert control[f"{name}_shuffled"].value == 0.0


def replace_score(score: Score, value: float) -> Score:
    """As the engine records a sample that the model failed: the details are of an empty response."""
    empty: dict[str, Any] = {key: [] if isinstance(v, list) else {} for key, v in score.details.items()}
    return msgspec.structs.replace(score, value=value, details=empty)


def test_partners_are_others_of_the_family() -> None:
    rows = samples("multi_turn")
    found = partners(rows, "seed")
    assert sorted(found) == sorted(found.values()) == list(range(len(rows)))
    for one, other in found.items():
        assert one != other
        assert rows[one].metadata["family"] == rows[other].metadata["family"]


# --- interleaved -------------------------------------------------------------------------------


def interleaved(sample: Sample, parts: tuple[Part, ...], known: bool = True) -> dict[str, float | None]:
    scores = scorer("interleaved").interleaved(sample, Response(parts, order_known=known))
    return {name: score.value for name, score in scores.items()}


def test_patterns_are_many_and_never_of_one_modality() -> None:
    patterns = Counter(
        tuple(slot["modality"] for slot in sample.targets["slots"]) for sample in samples("interleaved")
    )
    assert len(patterns) >= 20
    for pattern in patterns:
        assert len(set(pattern)) > 1
        assert ("text", "text") not in pairwise(pattern)


def test_structure_is_apart_from_content(respond: Respond) -> None:
    """Another sample's parts in the asked pattern have its structure, and less of the content."""
    rows = [s for s in samples("interleaved") if s.metadata["pattern"] == "story, picture first"]
    for one, other in pairwise(rows[:8]):
        scores = interleaved(one, gold(other, respond).parts)
        assert (scores["structure"], scores["exact"]) == (1.0, 1.0)
        assert scores["content"] is not None
        assert scores["content"] < 1.0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 349), st.randoms(use_true_random=False))
def test_any_other_order_of_the_right_parts_is_no_better(
    respond: Respond, number: int, rng: random.Random
) -> None:
    sample, response, _ = _gold("interleaved", respond)[number]
    parts = list(response.parts)
    rng.shuffle(parts)
    scores = interleaved(sample, tuple(parts))
    same = [p.modality for p in parts] == [p.modality for p in response.parts]
    assert (scores["structure"] == 1.0) == (scores["exact"] == 1.0) == same
    assert scores["structure_shuffled"] is not None
    assert scores["structure_shuffled"] < 1.0


def test_a_part_too_many_is_redundant_and_a_split_text_is_not(respond: Respond) -> None:
    sample, response, _ = next(
        row for row in _gold("interleaved", respond) if row[0].metadata["pattern"] == "picture-caption"
    )
    picture, caption = response.parts
    assert isinstance(caption, TextPart)
    twice = interleaved(sample, (picture, caption, picture))
    assert (twice["structure"], twice["exact"], twice["content"]) == (pytest.approx(2 / 3), 0.0, 1.0)
    assert twice["redundant"] == pytest.approx(1 / 3)
    words = caption.text.split()
    pieces = (TextPart(" ".join(words[:2])), TextPart(" ".join(words[2:])))
    assert interleaved(sample, (picture, *pieces))["exact"] == 1.0
    alone = interleaved(sample, (caption,))
    assert (alone["structure"], alone["content"], alone["redundant"]) == (0.5, 0.0, 0.0)


def test_an_unknown_order_is_not_guessed(respond: Respond) -> None:
    sample, response, _ = _gold("interleaved", respond)[0]
    assert set(interleaved(sample, response.parts, known=False).values()) == {None}
    assert interleaved(sample, response.parts[:1], known=False)["structure"] == 0.5


# --- cycle -------------------------------------------------------------------------------------


def test_a_cycle_shows_the_model_nothing_but_its_own_answer() -> None:
    families = Counter(sample.metadata["family"] for sample in samples("cycle"))
    assert len(families) == 11
    for sample in samples("cycle"):
        assert all(turn.fresh for turn in sample.turns)
        own = [part for turn in sample.turns for part in turn.parts if isinstance(part, FromTurn)]
        if "start" in sample.targets:
            assert [part.turn for part in own] == [1]
            assert own[0].modality == sample.targets["middle"]["modality"]
        else:
            assert not own


def test_a_cycle_counts_what_comes_back_and_not_what_is_right(respond: Respond) -> None:
    score = scorer("cycle").consistency
    rows = [
        row for row in _gold("cycle", respond) if row[0].metadata["family"] == "picture_text_picture"
    ]
    sample, response, _ = rows[0]
    astray = score(sample, replace_turn(response, 0, (TextPart("no idea"),)))
    assert (astray["cycle"].value, astray["right"].value) == (1.0, 0.0)
    other = next(r for s, r, _ in rows if not shares_any(s, sample))
    lost = score(sample, replace_turn(response, 1, other.parts))
    assert (lost["cycle"].value, lost["right"].value) == (0.0, 1.0)


def shares_any(one: Sample, other: Sample) -> bool:
    return any(other.targets["start"][name] == value for name, value in one.targets["start"].items())


def replace_turn(response: Response, number: int, parts: tuple[Part, ...]) -> Response:
    said = [*response.turns, response.parts]
    said[number] = parts
    return Response(said[-1], turns=tuple(said[:-1]))


def test_the_same_wrong_answer_in_every_modality_is_consistent(respond: Respond) -> None:
    sample, response, _ = next(
        row for row in _gold("cycle", respond) if row[0].metadata["family"] == "across_count"
    )
    score = scorer("cycle").consistency
    wrong = TextPart(next(c for c in sample.targets["choices"] if c != sample.targets["answer"]))
    same = score(sample, Response((wrong,), turns=((wrong,), (wrong,))))
    assert (same["across"].value, same["right"].value) == (1.0, 0.0)
    once = score(sample, replace_turn(response, 1, (wrong,)))
    assert (once["across"].value, once["right"].value) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    silent = score(sample, Response(wrong_parts := (TextPart("hm"),), turns=(wrong_parts, wrong_parts)))
    assert silent["across"].value == 0.0, "to name nothing three times is no agreement"


# --- multi_turn --------------------------------------------------------------------------------


def test_each_turn_is_scored_by_itself(respond: Respond) -> None:
    score = scorer("multi_turn").multi_turn
    for sample, response, _ in _gold("multi_turn", respond)[:40]:
        count = len(sample.turns) + 1
        for number in range(count):
            scores = score(sample, replace_turn(response, number, (TextPart("well"),)))
            value = scores["multi_turn"].value
            assert value == pytest.approx((count - 1) / count)
            assert scores["exact"].value == value
            assert scores["perfect"].value == 0.0
            assert scores["first"].value == float(number > 0)
            assert scores["last"].value == float(number < count - 1)


def test_a_picture_that_is_not_changed_is_not_right(respond: Respond) -> None:
    rows = [r for r in _gold("multi_turn", respond) if r[0].metadata["family"] == "change_back"]
    for sample, response, _ in rows[:10]:
        drawn = response.turns[0]
        scores = scorer("multi_turn").multi_turn(sample, Response(drawn, turns=(drawn, drawn)))
        assert scores["exact"].value == pytest.approx(2 / 3)
        assert scores["selection"].value == 1.0
        assert scores["later"].value == pytest.approx((0.75 + 1) / 2)


# --- ablation ----------------------------------------------------------------------------------


def test_every_variant_lacks_exactly_one_input() -> None:
    kinds: Counter[str] = Counter()
    for sample in samples("ablation"):
        whole = sample.messages[0].parts
        for turn, variant in zip(sample.turns, sample.targets["variants"][1:], strict=True):
            assert turn.fresh
            (removed,) = [part for part in whole if part not in turn.parts]
            assert removed.modality == variant["removed"]
            assert len(turn.parts) == len(whole) - 1
            kinds[variant["kind"]] += 1
    assert set(kinds) == {"needed", "spare"}
    answers = Counter(
        sample.targets["answer"] for sample in samples("ablation") if "yes" in sample.targets["choices"]
    )
    assert 0.4 < answers["yes"] / sum(answers.values()) < 0.6


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("I cannot tell.", False),
        ("That can\u2019t be known without the sound.", False),
        ("There is no picture here", False),
        ("unknown", False),
        ("I cannot tell, but yes", True),
        ("no", True),
        ("The answer is no.", True),
        ("yes", True),
        ("", True),
    ],
)
def test_what_counts_as_cannot_tell(text: str, known: bool) -> None:
    assert scorer("ablation")._cannot_tell(text, ["yes", "no"]) is not known


def test_who_guesses_has_no_gap(respond: Respond) -> None:
    for sample, response, _ in _gold("ablation", respond)[:80]:
        said = Response(response.turns[0], turns=(response.turns[0],) * len(sample.turns))
        scores = scorer("ablation").ablation(sample, said)
        assert scores["full"].value == 1.0
        if "gap" in scores:
            assert (scores["needed"].value, scores["guessed"].value) == (0.0, 1.0)
            assert scores["gap"].value == 0.0
        else:
            assert scores["spare"].value == 1.0


def test_missing_turns_are_empty_answers() -> None:
    one, two = answers_of(Response((TextPart("a"),)), 2)
    assert (one.text, two.parts) == ("a", ())


def test_families_of_one_task_have_names_of_their_own() -> None:
    for plan in PLANS.values():
        assert len({family.name for family in plan.families}) == len(plan.families)
