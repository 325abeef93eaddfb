"""Clips for video processors: their frames, times and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval_anything.media import MediaError, read_frames
from eval_anything.models.hf import clips
from eval_anything.models.hf.clips import read_clip
from tests.support.numbered_clips import make_clip, make_slow_then_fast, number_of


def told(about: Mapping[str, Any]) -> list[float]:
    """The seconds of the frames, as `VideoMetadata.timestamps` of transformers computes them."""
    return [index / about["fps"] for index in about["frames_indices"]]


def test_at_a_constant_rate_indices_and_times_are_those_of_the_clip(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4")
    seen: list[Mapping[str, Any]] = []

    def sampler(about: Mapping[str, Any]) -> list[int]:
        seen.append(dict(about))
        return [0, 30, 89]

    frames, about = read_clip(tmp_path / "a.mp4", sampler)
    assert [number_of(pixels) for pixels in frames] == [0, 30, 89]
    assert seen[0]["total_num_frames"] == about["total_num_frames"] == 90
    assert about["fps"] == pytest.approx(25)
    assert about["duration"] == pytest.approx(3.6)
    assert about["frames_indices"] == [0, 30, 89]
    assert told(about) == pytest.approx([0, 1.2, 3.56])


def test_at_a_variable_rate_frames_are_chosen_by_time_and_their_times_are_told(tmp_path: Path) -> None:
    """9 s at one frame a second, then 1 s at 30: 39 frames, 3.9 a second in the mean."""
    make_slow_then_fast(tmp_path / "a.mp4")
    # In the middles of eight equal spans of the 39 frames of a constant rate.
    frames, about = read_clip(tmp_path / "a.mp4", lambda about: [2, 7, 12, 17, 21, 26, 31, 36])
    assert [number_of(pixels) for pixels in frames] == [0, 1, 3, 4, 5, 6, 7, 15]
    assert told(about) == pytest.approx([0, 1, 3, 4, 5, 6, 7, 9.2], abs=0.001)
    assert all(isinstance(index, int) for index in about["frames_indices"])
    frames, about = read_clip(tmp_path / "a.mp4")
    moments = [(2 * i + 1) * 10 / 32 for i in range(clips.FRAMES)]
    assert told(about) == pytest.approx(
        [int(m) if m < 9 else 9 + int((m - 9) * 30 + 1e-6) / 30 for m in moments], abs=0.001
    )
    assert len(frames) == clips.FRAMES


class Half:
    """Scales to half the size; keeps the numbers of frames that it scaled at once."""

    def __init__(self) -> None:
        self.at_once: list[int] = []

    def size(self, frames: int, height: int, width: int) -> tuple[int, int]:
        return height // 2, width // 2

    def scaled(self, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        self.at_once.append(len(pixels))
        return pixels[:, : 2 * size[0] : 2, : 2 * size[1] : 2]


def test_large_clips_are_scaled_a_part_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(tmp_path / "a.mp4")
    whole = read_frames(tmp_path / "a.mp4", indices=range(90)).frames
    height, width = whole.shape[1:3]
    half, everything = Half(), lambda about: range(90)
    frames, _ = read_clip(tmp_path / "a.mp4", everything, half)
    assert half.at_once == []
    assert np.array_equal(frames, whole)
    monkeypatch.setattr(clips, "_PIXELS_AT_ONCE", 40 * height * width)
    frames, about = read_clip(tmp_path / "a.mp4", everything, half)
    assert half.at_once == [40, 40, 10]
    assert (about["height"], about["width"]) == (height, width)
    assert np.array_equal(frames, half.scaled(whole, (height // 2, width // 2)))
    monkeypatch.setattr(clips, "MAX_RESULT", 3 * 80 * (height // 2) * (width // 2))
    with pytest.raises(MediaError, match=r"90 frames of 160x88 pixels .* take fewer or smaller frames"):
        read_clip(tmp_path / "a.mp4", everything, half)
    monkeypatch.setattr(clips, "MAX_VIDEO_PIXELS", 90 * height * width)
    frames, _ = read_clip(tmp_path / "a.mp4", everything)
    assert np.array_equal(frames, whole)
