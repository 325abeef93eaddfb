"""Clips are recognised exactly, also at other frame rates, and nothing else passes for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval_anything.content import Modality
from eval_anything.media.encode import encode_mp4
from eval_anything.micro.world.perceive import perceive_file
from eval_anything.micro.world.raster import raster
from eval_anything.micro.world.render import enlarge, render
from eval_anything.micro.world.scenes import Clip, Picture, all_scenes, attributes_of, path_of

CLIPS = list(all_scenes(Clip))
SECONDS = 0.75


def frames_at(clip: Clip, fps: int, side: int = 128) -> list[np.ndarray]:
    """The clip's frames at another rate and size."""
    shown = [raster(picture) for picture in path_of(clip)]
    picked = (shown[min(2, int(n / fps / SECONDS * 3))] for n in range(round(fps * SECONDS)))
    return [
        np.asarray(Image.fromarray(p).resize((side, side), Image.Resampling.NEAREST)) for p in picked
    ]


def saved(path: Path, frames: list[np.ndarray], fps: int = 8, crf: int = 18) -> Path:
    path.write_bytes(encode_mp4([frame.astype(np.uint8) for frame in frames], fps, crf))
    return path


def test_rendered_files_are_exact(tmp_path: Path) -> None:
    for clip in CLIPS:
        path = tmp_path / "x.mp4"
        path.write_bytes(render(clip).data)
        assert perceive_file(Modality.VIDEO, path).attributes == attributes_of(clip)


@pytest.mark.parametrize(
    ("fps", "crf", "side"), [(4, 18, 128), (10, 18, 128), (25, 28, 128), (8, 28, 64)]
)
def test_other_encodings_are_exact(tmp_path: Path, fps: int, crf: int, side: int) -> None:
    for clip in CLIPS[::3]:
        path = saved(tmp_path / "x.mp4", frames_at(clip, fps, side), fps, crf)
        assert perceive_file(Modality.VIDEO, path).attributes == attributes_of(clip)


def moving(*places: tuple[str, str], colours: str = "red red red") -> list[np.ndarray]:
    return [
        enlarge(raster(Picture("circle", colour, row, col)))
        for (row, col), colour in zip(places, colours.split(), strict=True)
    ]


def test_a_path_that_is_no_motion_is_unclear(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.mp4", moving(("top", "left"), ("bottom", "left"), ("middle", "left")))
    expected = {"shape": "circle", "colour": "red", "motion": None}
    assert perceive_file(Modality.VIDEO, path).attributes == expected


def test_a_colour_that_changes_is_unclear(tmp_path: Path) -> None:
    places = [("top", "centre"), ("middle", "centre"), ("bottom", "centre")]
    path = saved(tmp_path / "x.mp4", moving(*places, colours="red red blue"))
    expected = {"shape": "circle", "colour": None, "motion": "down"}
    assert perceive_file(Modality.VIDEO, path).attributes == expected


@pytest.mark.parametrize("shape", [(128, 128, 3), (48, 64, 3)])
def test_foreign_clips_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    path = saved(tmp_path / "x.mp4", [rng.integers(0, 256, shape) for _ in range(6)])
    percept = perceive_file(Modality.VIDEO, path)
    assert percept.problem
    assert not percept.attributes


@pytest.mark.parametrize("share", [0, 0.05, 0.5, 0.95])
def test_truncated_files(tmp_path: Path, share: float) -> None:
    path = tmp_path / "x.mp4"
    data = render(CLIPS[0]).data
    path.write_bytes(data[: int(share * len(data))])
    assert perceive_file(Modality.VIDEO, path).problem
