"""Preference pairs: exact by perception of their files, noisy as asked, calibration kept apart."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from eval_anything.content import Response, Score
from eval_anything.judges.folder import find_judges
from eval_anything.micro.making import scripts, tasks
from eval_anything.micro.pairs.preferences import Pair, render_pair, synergy_calibration, synergy_pairs
from eval_anything.micro.prompts.script import media_name
from eval_anything.micro.world.scenes import is_held_out
from tests.micro.conftest import SUITE, scorer
from tests.support.lanes import only_in

JUDGE = find_judges()["micro_synergy_rm"].path


def test_agreements_are_what_perception_finds_in_the_files(tmp_path: Path) -> None:
    """The pairs' truth is that of the exact task micro/synergy."""
    synergy = scorer("synergy").synergy
    drawn = [*synergy_pairs(60, seed=5), *synergy_calibration(60, seed=6)]
    assert {name for pair in drawn for name in pair.agreements_a} == {
        "text_image",
        "text_audio",
        "text_video",
        "image_audio",
        "video_audio",
    }
    for number, pair in enumerate(drawn):
        rendered = render_pair(pair, tmp_path, f"p{number}")
        exact: list[float] = []
        for response, expected in ((rendered.a, pair.agreements_a), (rendered.b, pair.agreements_b)):
            assert response.modalities == rendered.sample.contract.required
            found: dict[str, Score] = synergy(rendered.sample, response)
            assert {name: found[name].value for name in expected} == pytest.approx(expected)
            assert found["synergy"].value is not None
            exact.append(found["synergy"].value)
        assert exact[0] != pytest.approx(exact[1])
        assert rendered.preferred == _better(pair) == ("a" if exact[0] > exact[1] else "b")


def test_the_same_seed_draws_the_same_pairs_and_no_pair_twice() -> None:
    drawn = synergy_pairs(300, seed=1)
    assert drawn == synergy_pairs(300, seed=1)
    assert drawn[:100] == synergy_pairs(100, seed=1)
    assert drawn != synergy_pairs(300, seed=2)
    assert len({_content(pair) for pair in drawn}) == len(drawn) == 300
    assert 0.4 < sum(pair.preferred == "a" for pair in drawn) / 300 < 0.6


@pytest.mark.parametrize("noise", [0.22, 1.0])
def test_noise_flips_the_stated_share_of_labels_and_nothing_else(noise: float) -> None:
    clean, noisy = synergy_pairs(900, seed=3), synergy_pairs(900, seed=3, noise=noise)
    assert [_content(pair) for pair in clean] == [_content(pair) for pair in noisy]
    assert all(pair.preferred == _better(pair) for pair in clean)
    flipped = sum(pair.preferred != _better(pair) for pair in noisy) / 900
    assert flipped == pytest.approx(noise, abs=0.042)  # three standard errors


def test_training_sees_nothing_held_out_and_calibration_only_pairs_that_are() -> None:
    training = synergy_pairs(800, seed=0, noise=0.22)
    calibration = synergy_calibration()
    assert len(calibration) == 500
    for pair in training:
        items = (*pair.exchange.scenes, *pair.a, *pair.b)
        assert not any(is_held_out(item) for item in items if not isinstance(item, str))
    assert all(pair.exchange.held_out for pair in calibration)
    assert all(pair.preferred == _better(pair) for pair in calibration)
    assert not {_content(pair) for pair in training} & {_content(pair) for pair in calibration}


def _better(pair: Pair) -> str:
    """The side that is better in truth, whatever the label says."""
    a, b = (sum(side.values()) for side in (pair.agreements_a, pair.agreements_b))
    return "a" if a > b else "b"


def _content(pair: Pair) -> tuple[object, ...]:
    return pair.exchange.prompt, pair.a, pair.b


def test_rendering_keeps_each_medium_once(tmp_path: Path) -> None:
    pair = next(p for p in synergy_pairs(50, seed=0) if p.exchange.family == "describe_and_sonify")
    first = render_pair(pair, tmp_path, "x")
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert render_pair(pair, tmp_path, "x") == first
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == files
    assert isinstance(first.a, Response)


@pytest.mark.slow
def test_the_bundled_judge_errs_as_its_figures_say() -> None:
    from eval_anything.micro.making.reward import CHECKPOINT, figures_of, load

    committed = json.loads((JUDGE / "figures.json").read_bytes())
    found = figures_of(load(JUDGE / CHECKPOINT), synergy_calibration())
    assert found.keys() == committed.keys()
    for name, figure in committed.items():
        assert found[name]["n"] == figure["n"]
        # Other processors round differently: one pair in a hundred may turn.
        assert found[name]["value"] == pytest.approx(figure["value"], abs=0.01 + 1 / figure["n"]), name
    assert committed["synergy"]["n"] == 500
    assert 0.6 < committed["synergy"]["ci95"][0] < committed["synergy"]["ci95"][1] < 0.9


def test_the_bundled_judge_is_small_and_its_card_tells_its_figures() -> None:
    assert sum(p.stat().st_size for p in JUDGE.rglob("*") if p.is_file()) < 5 * 2**20
    figures = json.loads((JUDGE / "figures.json").read_bytes())
    card = (JUDGE / "README.md").read_text("utf-8")
    for name, figure in figures.items():
        low, high = figure["ci95"]
        assert f"| `{name}` | {figure['value']:.3f} | {low:.3f} .. {high:.3f} | {figure['n']} |" in card


def test_the_samples_of_the_judged_task_are_a_fresh_generation() -> None:
    folder = SUITE / "synergy_judged"
    drawn = tasks.draw_samples("synergy_judged")
    prefix = tasks.plans()["synergy_judged"].prefix
    assert scripts.samples_jsonl(prefix, drawn).encode() == (folder / "samples.jsonl").read_bytes()
    shown = scripts.prompt_scenes(drawn)
    assert {path.name for path in (folder / "media").iterdir()} == set(map(media_name, shown))


def test_views_of_an_answer_are_the_codec_s_ids_of_its_files(tmp_path: Path) -> None:
    """What the judge is trained on is what it is shown of files later."""
    from eval_anything.micro.making.reward import views
    from eval_anything.micro.model.codec import encode_prompt, encode_response

    for number, pair in enumerate(random.Random(0).sample(synergy_pairs(200, seed=8), 20)):
        rendered = render_pair(pair, tmp_path, f"p{number}")
        parts = {part.modality: part for part in rendered.a.parts}
        for name, ids in views(pair.exchange.prompt, pair.a).items():
            two = [parts[modality] for modality in name.split("_")]  # type: ignore[index]
            assert ids == encode_prompt(rendered.sample.messages) + encode_response(two)


@pytest.mark.slow
@only_in("learning")
@pytest.mark.learning
def test_a_short_training_is_reproducible_and_learns(tmp_path: Path) -> None:
    from eval_anything.micro.making.reward import RewardRecipe, build, figures_of, load, new_model

    recipe = RewardRecipe(pairs=200, noise=0.0)
    figures = build(tmp_path / "one", seed=3, recipe=recipe)
    assert figures == build(tmp_path / "two", seed=3, recipe=recipe)
    one, two = (tmp_path / name / "checkpoint" / "model.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert json.loads((tmp_path / "one" / "figures.json").read_bytes()) == figures
    seen = synergy_pairs(200, seed=3)
    before, after = (
        figures_of(model, seen)["synergy"]["value"]
        for model in (new_model(3), load(tmp_path / "one" / "checkpoint"))
    )
    assert after > max(0.58, before)
