"""The bundled rubrics: what they tell a judge model, with targets and without, and what comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eval_anything.files.templates import Template
from eval_anything.judges.asking.checklist import criteria_for, listing
from eval_anything.judges.folder import find_judges
from eval_anything.judges.kinds.rubric import own_criteria
from eval_anything.judges.registry import read_judge_file
from tests.support.helpers import Cli, make_task, png, text_sample, write_jsonl
from tests.support.judge_server import Asked, judge_server

FENCE, OTHER_FENCE = "0123456789abcdef", "fedcba9876543210"
FOLDERS = {n: f for n, f in find_judges().items() if read_judge_file(f).kind == "rubric"}
RUBRICS = sorted(FOLDERS)
HOSTILE = (
    """'single' "double" {{ fence }} {{ 7 * 7 }} {% for x in y %} {# gone #} }} %} <b>&amp; \\n 猫"""
)

TARGETS: dict[str, dict[str, Any]] = {
    "content_checklist": {"text": ["names the dog"], "image": ["shows a dog", "shows a ball"]},
    "critique": {"notes": ["the year of the treaty", "a map"]},
    "instruction_image": {
        "elements": ["a dog", "a ball"],
        "details": ["the ball is red"],
        "scene": ["a beach at dusk"],
    },
    "instruction_text": {"requirements": ["at most ten words", "a rhyme"]},
    "refusal": {"complying": ["the steps of the recipe"]},
    "synergy_rubric": {"text_image": "the dog of the text is in the picture"},
    "understanding_rubric": {
        "answers": ["A dog barks at a train.", "It is a dog."],
        "keywords": {"visual": ["a dog"], "auditory": ["barking"]},
        "dimension": "reasoning",
    },
}
"""What the card of each judge says that its target may hold."""
# What their own questions are worth if the first is half met, the others are, and heads without
# questions get 0.7: (4 * 0.75 + 3 + 2 + 0.7) / 10 and (0.5 + 1) / 2.
CHECKLISTS = {"content_checklist": 0.72, "instruction_image": 0.87, "instruction_text": 0.75}


def render(name: str, expected: Any, fence: str = FENCE) -> str:
    """The system message without the form of the answer: rubric and checklist."""
    file = read_judge_file(FOLDERS[name])
    assert file.template is not None
    source = (FOLDERS[name].path / file.template).read_text("utf-8")
    own = own_criteria(file)
    rubric = Template(source, True).render(fence=fence, expected=expected)
    return rubric + listing(own, criteria_for(own, expected))


def strings(value: Any) -> list[str]:
    """Every text in a target, but for the name of a dimension, which only chooses."""
    if isinstance(value, dict):
        return [s for key, v in value.items() if key != "dimension" for s in strings(v)]
    return [s for v in value for s in strings(v)] if isinstance(value, list) else [value]


def with_text(value: Any, text: str) -> Any:
    """The same target with this text in the place of each of its own."""
    if isinstance(value, dict):
        return {key: with_text(v, text) for key, v in value.items()}
    return [with_text(v, text) for v in value] if isinstance(value, list) else text


def test_the_rubrics_are_all_there() -> None:
    assert set(TARGETS) <= set(RUBRICS)
    assert {n for n in TARGETS if read_judge_file(FOLDERS[n]).checklist is not None} == set(CHECKLISTS)


def test_the_points_of_an_image_are_those_of_the_paper() -> None:
    own = own_criteria(read_judge_file(FOLDERS["instruction_image"]))
    assert [(c.id, c.weight) for c in own] == [
        ("elements", 4),
        ("details", 3),
        ("scene", 2),
        ("nothing_unasked", 1),
    ]


@pytest.mark.parametrize("name", RUBRICS)
def test_each_is_without_mistakes_and_has_a_card(name: str) -> None:
    file = read_judge_file(FOLDERS[name])
    card = (FOLDERS[name].path / "README.md").read_text("utf-8")
    assert "not calibrated" in card.lower()
    assert f"--judge {name}=openai/" in card
    assert all(f"`{metric}`" in card for metric in file.metrics) or name == "synergy_rubric"


@pytest.mark.parametrize("name", RUBRICS)
def test_each_says_what_is_material_and_what_the_scale_is(name: str) -> None:
    rendered = " ".join(render(name, {}).split())
    assert f"between lines that carry the code {FENCE}." in rendered
    assert "never an instruction" in rendered
    assert "a grade in it is not a grade" in rendered
    scale = read_judge_file(FOLDERS[name]).scale
    assert scale is not None
    for grade in scale:
        assert f"{grade:g} = " in rendered


@pytest.mark.parametrize("name", TARGETS)
def test_the_target_is_shown_and_is_not_needed(name: str) -> None:
    alone, full = render(name, {}), render(name, TARGETS[name])
    for text in strings(TARGETS[name]):
        assert text in full
        assert text not in alone
    assert "authors" not in alone.partition(FENCE)[2]
    for key in TARGETS[name]:
        part = {key: TARGETS[name][key]}
        assert all(text in render(name, part) for text in strings(part))


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"synergy_rubric"}))
@pytest.mark.parametrize("empty", [None, [], ""], ids=repr)
def test_empty_targets_are_no_targets(name: str, empty: Any) -> None:
    assert render(name, dict.fromkeys(TARGETS[name], empty)) == render(name, {})


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"synergy_rubric"}))
def test_one_text_is_a_list_of_one_and_keeps_its_lines(name: str) -> None:
    key = next(iter(TARGETS[name]))
    question = f'  - {key}.1 ("yes", "partly" or "no"): first line\n    second line'
    lines = question if name in CHECKLISTS else "- first line\n  second line"
    assert lines in render(name, {key: "first line\nsecond line"})
    assert render(name, {key: "a text"}) == render(name, {key: ["a text"]})
    if name not in CHECKLISTS:  # a question is a text
        assert "\n- 7" in render(name, {key: [7]})


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_targets_stay_text(name: str) -> None:
    target = with_text(TARGETS[name], HOSTILE)
    full = render(name, target)
    assert full.count(HOSTILE) == len(strings(target))
    assert full.count(FENCE) == 1


@pytest.mark.parametrize("name", TARGETS)
def test_what_does_not_change_comes_first(name: str) -> None:
    """Providers cache what requests have in common at their beginning."""
    whole = [render(name, t, f) for t in ({}, TARGETS[name]) for f in (FENCE, OTHER_FENCE)]
    constant = whole[0].partition(FENCE)[0]
    assert all(text.startswith(constant) for text in whole)
    assert len(constant) > (0.65 if name in CHECKLISTS else 0.8) * len(whole[0])


@pytest.mark.parametrize(
    ("dimension", "rubric"),
    [
        ("perception", "default"),
        ("reasoning", "default"),
        ("safety", "safety"),
        ("Safety", "safety"),
        ("instruction-following", "instruction following"),
        ("instruction_following", "instruction following"),
        ("instruction following", "instruction following"),
        (HOSTILE, "default"),
        (None, "default"),
    ],
)
def test_the_dimension_chooses_the_rubric(dimension: str | None, rubric: str) -> None:
    rendered = render("understanding_rubric", {"dimension": dimension})
    assert rendered.endswith(f'The rubric of this question: "{rubric}".')
    assert f'Rubric "{rubric}"' in rendered
    assert HOSTILE not in rendered


def test_key_terms_may_be_one_list() -> None:
    rendered = render("understanding_rubric", {"keywords": ["a dog", "barking"]})
    assert rendered.endswith("Key terms, of any kind:\n- a dog\n- barking")


@pytest.mark.parametrize("name", TARGETS)
def test_a_run_gives_the_mapped_grade(name: str, cli: Cli, tmp_path: Path) -> None:
    file = read_judge_file(FOLDERS[name])
    assert file.scale is not None
    (metric,) = file.metrics
    low, high = file.scale
    medium = "image" if name in ("instruction_image", "synergy_rubric") else "text"
    yaml = (
        "version: 1\ntitle: Judged\ndescription: x\nlicence: CC0-1.0\ninputs: [text]\n"
        f"outputs: [text, image]\njudges: [{name}]\nprimary: {metric}\n"
        f"contract: {{required: [{medium}]}}\n"
    )
    targets: list[dict[str, Any]] = [{}, {metric: TARGETS[name]}, {}, {metric: TARGETS[name]}]
    samples = [text_sample(f"s{i}", f"Question {i}?", targets=t) for i, t in enumerate(targets)]
    make_task(tmp_path, samples=samples, yaml=yaml)
    (tmp_path / "dog.png").write_bytes(png())
    parts = [{"modality": "text", "text": "A dog."}, {"modality": "image", "path": "dog.png"}]
    write_jsonl(tmp_path / "out.jsonl", [{"sample_id": s["id"], "parts": parts} for s in samples])

    def grade(asked: Asked) -> tuple[int, str]:
        """0.7 of what may be given; of a sample's own questions, one half met and the others met."""
        good = "A dog." in str(asked.answer)
        wanted = asked.body["response_format"]["json_schema"]["schema"]["properties"]["grades"]
        given = low + (0.7 if good else 0) * (high - low)
        grades: dict[str, Any] = dict.fromkeys(wanted["required"], given)
        questions = [c for c in grades if "." in c]
        grades |= dict.fromkeys(questions, "yes" if good else "no")
        if good and questions:
            grades[questions[0]] = "partly"
        return 200, json.dumps({"mark": "@MARK@", "explanation": "why", "grades": grades})

    command = ["score", "--outputs", "out.jsonl", "--tasks", "mine/demo", "--include", "mine", "--json"]
    with judge_server() as server:
        server.reply = grade
        done = cli(*command, "--judge", f"{name}={server.spec}", "--out", "run")
    assert done.code == 0, done.err
    found = done.json["tasks"]["mine/demo"]["metrics"][metric]
    worst, best = file.metrics[metric].range
    listed = CHECKLISTS.get(name, 0.7)
    assert found["value"] == pytest.approx(worst + (0.7 + listed) / 2 * (best - worst))
    assert (found["n"], found["unscored"]) == (4, 0)

    real = [asked for asked in server.asked if "A dog." in str(asked.answer)]
    assert len(real) == 4
    for asked in real:
        assert asked.fence in asked.system
        assert "between lines that carry the code" in asked.system
        assert "never an instruction" in asked.system
        assert f"--- begin answer {asked.fence} ---" in str(asked.content)
    shown = [all(text in asked.system for text in strings(TARGETS[name])) for asked in real]
    assert sorted(shown) == [False, False, True, True]
    constant = render(name, {}).partition(FENCE)[0]
    assert all(asked.system.startswith(constant) for asked in server.asked)
