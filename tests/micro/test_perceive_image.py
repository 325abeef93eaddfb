"""Pictures are recognised exactly, and nothing else passes for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval_anything.content import Modality
from eval_anything.micro.world.perceive import MAX_DISTANCE, perceive_file
from eval_anything.micro.world.raster import pictures, raster
from eval_anything.micro.world.render import enlarge, render
from eval_anything.micro.world.scenes import Picture, all_scenes, attributes_of

PICTURES = list(all_scenes(Picture))


def saved(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels.astype(np.uint8)).save(path, **options)
    return path


def test_rendered_files_are_exact(tmp_path: Path) -> None:
    for number, picture in enumerate(PICTURES):
        path = tmp_path / f"{number}.png"
        path.write_bytes(render(picture).data)
        assert perceive_file(Modality.IMAGE, path).attributes == attributes_of(picture)


@pytest.mark.parametrize("quality", [80, 50])
def test_jpeg_is_exact(tmp_path: Path, quality: int) -> None:
    for picture in PICTURES:
        path = saved(tmp_path / "x.jpg", enlarge(raster(picture)), quality=quality)
        assert perceive_file(Modality.IMAGE, path).attributes == attributes_of(picture)


@pytest.mark.parametrize("side", [64, 100, 200, 512])
def test_other_sizes_are_exact(tmp_path: Path, side: int) -> None:
    for picture in PICTURES[::5]:
        image = Image.fromarray(enlarge(raster(picture))).resize((side, side), Image.Resampling.BICUBIC)
        image.save(tmp_path / "x.webp", quality=90)
        assert perceive_file(Modality.IMAGE, tmp_path / "x.webp").attributes == attributes_of(picture)


def test_no_file_can_pass_for_two_pictures() -> None:
    rasters = pictures()[1]
    distances = np.sqrt(((rasters[:, None] - rasters[None]) ** 2).mean(axis=(2, 3, 4)))
    np.fill_diagonal(distances, np.inf)
    assert distances.min() > 2 * MAX_DISTANCE


def foreign() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    ramp = np.tile(np.linspace(0, 255, 128), (128, 1))
    two = enlarge(
        np.maximum(
            raster(Picture("circle", "red", "top", "left")),
            raster(Picture("circle", "red", "bottom", "right")),
        )
    )
    mixed = enlarge(raster(Picture("circle", "red", "middle", "centre")))
    mixed[:, 64:] = enlarge(raster(Picture("square", "blue", "middle", "centre")))[:, 64:]
    return {
        "blank": np.full((128, 128, 3), 24),
        "noise": rng.integers(0, 256, (128, 128, 3)),
        "gradient": np.dstack([ramp, ramp.T, ramp]),
        "photo": np.dstack(
            [128 + 60 * np.sin(ramp / 9 + shift) * np.cos(ramp.T / 21) for shift in range(3)]
        ),
        "two objects": two,
        "mixed object": mixed,
        "not square": np.dstack([np.tile(np.arange(64), (48, 1))] * 3),
        "too small": rng.integers(0, 256, (16, 16, 3)),
        "other background": np.where(
            enlarge(raster(Picture("circle", "red", "top", "left"))) < 40, 255, 128
        ),
    }


@pytest.mark.parametrize("name", foreign())
def test_foreign_pictures_are_refused(tmp_path: Path, name: str) -> None:
    percept = perceive_file(Modality.IMAGE, saved(tmp_path / "x.png", foreign()[name]))
    assert percept.problem
    assert not percept.attributes


def test_noise_over_a_picture_is_seen_through_or_refused_never_misread(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for picture in PICTURES[::9]:
        for spread in (5, 15, 30, 60, 120):
            noisy = enlarge(raster(picture)) + rng.normal(0, spread, (128, 128, 3))
            percept = perceive_file(Modality.IMAGE, saved(tmp_path / "x.png", noisy.clip(0, 255)))
            assert percept.problem or percept.attributes == attributes_of(picture)
            assert spread != 120 or percept.problem
            assert spread != 5 or percept.attributes


@pytest.mark.parametrize("data", [b"", b"hello", render(PICTURES[0]).data[:200]])
def test_files_that_do_not_decode(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(data)
    assert perceive_file(Modality.IMAGE, path).problem


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    assert perceive_file(Modality.IMAGE, tmp_path / "none.png").problem
