"""The facts of the world, and what may be missing from training."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations

import pytest

from eval_anything.content import Modality
from eval_anything.micro.world.raster import clip_codes, patch_book, picture_codes
from eval_anything.micro.world.scenes import (
    ATTRIBUTES,
    KINDS,
    Clip,
    Picture,
    Scene,
    Sound,
    all_scenes,
    attributes_of,
    is_forbidden,
    is_held_out,
    make_scene,
    path_of,
    sound_of,
)

MEDIA = (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)


def trainable(modality: Modality) -> list[Scene]:
    return [t for t in all_scenes(KINDS[modality]) if not is_forbidden(t) and not is_held_out(t)]


@pytest.mark.parametrize(
    ("modality", "size"), [(Modality.IMAGE, 108), (Modality.AUDIO, 36), (Modality.VIDEO, 48)]
)
def test_size_of_the_world(modality: Modality, size: int) -> None:
    assert len(set(all_scenes(KINDS[modality]))) == size


@pytest.mark.parametrize("modality", MEDIA)
def test_things_are_their_attributes(modality: Modality) -> None:
    for scene in all_scenes(KINDS[modality]):
        assert make_scene(modality, attributes_of(scene)) == scene


@pytest.mark.parametrize(
    "attributes", [{}, {"pitch": "low"}, {"pitch": "low", "count": "five", "contour": "flat"}]
)
def test_no_thing_with_wrong_attributes(attributes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"attributes|cannot be"):
        make_scene(Modality.AUDIO, attributes)


def test_text_is_no_thing() -> None:
    with pytest.raises(ValueError, match="text"):
        make_scene(Modality.TEXT, {})


def test_laws() -> None:
    assert sound_of(Picture("triangle", "red", "top", "left")) == Sound("high", "three", "flat")
    assert sound_of(Picture("square", "blue", "bottom", "left")) == Sound("low", "four", "flat")
    assert sound_of(Clip("circle", "red", "up")) == Sound("mid", "one", "rising")


def test_clips_pass_the_centre() -> None:
    places = [(p.row, p.col) for p in path_of(Clip("circle", "red", "left"))]
    assert places == [("middle", "right"), ("middle", "centre"), ("middle", "left")]
    for clip in all_scenes(Clip):
        assert isinstance(clip, Clip)
        assert (path_of(clip)[1].row, path_of(clip)[1].col) == ("middle", "centre")


@pytest.mark.parametrize("modality", MEDIA)
def test_held_out_share(modality: Modality) -> None:
    allowed = [t for t in all_scenes(KINDS[modality]) if not is_forbidden(t)]
    assert 0.15 < sum(map(is_held_out, allowed)) / len(allowed) < 0.26


@pytest.mark.parametrize("modality", MEDIA)
def test_every_pair_of_values_is_trained(modality: Modality) -> None:
    for one, other in combinations(ATTRIBUTES[modality], 2):

        def pairs(scenes: list[Scene], names: tuple[str, str] = (one, other)) -> set[tuple[str, ...]]:
            return {tuple(attributes_of(t)[name] for name in names) for t in scenes}

        allowed = [t for t in all_scenes(KINDS[modality]) if not is_forbidden(t)]
        assert pairs(trainable(modality)) == pairs(allowed)


def test_every_patch_of_allowed_things_is_trained() -> None:
    trained = {c for t in trainable(Modality.IMAGE) if isinstance(t, Picture) for c in picture_codes(t)}
    trained |= {c for t in trainable(Modality.VIDEO) if isinstance(t, Clip) for c in clip_codes(t)}
    needed = {
        c
        for t in all_scenes(Picture)
        if isinstance(t, Picture) and not is_forbidden(t)
        for c in picture_codes(t)
    }
    assert trained == needed
    assert len(patch_book()) == 109


def test_world_and_grammar_need_no_heavy_import() -> None:
    code = (
        "import sys, eval_anything.micro.world.scenes, eval_anything.micro.world.words;"
        "import eval_anything.micro.prompts.families;"
        "print([m for m in ('numpy', 'torch', 'transformers', 'av', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
