"""What the site makes of media: loudness, outlines, thumbnails, and what it does not take."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from eval_anything.content import MediaPart, Modality
from eval_anything.leaderboard.loudness import RATE, loudness
from eval_anything.leaderboard.media import Media, peaks
from tests.support.helpers import mp4, png, wav


def _tone(level: float, seconds: float = 2.0) -> np.ndarray:
    return level * np.sin(2 * np.pi * 997 * np.arange(int(seconds * RATE)) / RATE)


def test_loudness_is_that_of_the_standard() -> None:
    """ITU-R BS.1770-5: a sine of 997 Hz at full scale in one channel is -3.01 LKFS."""
    assert loudness(_tone(1.0)) == pytest.approx(-3.01, abs=0.02)
    assert loudness(_tone(0.1)) == pytest.approx(-23.01, abs=0.02)


def test_silence_and_pauses() -> None:
    assert loudness(np.zeros(RATE)) is None
    assert loudness(np.zeros(0)) is None
    paused = np.concatenate([_tone(0.5, 3), np.zeros(5 * RATE)])
    assert loudness(paused) == pytest.approx(-9.0, abs=0.3)  # the gate leaves the pause out
    assert loudness(_tone(0.5, 0.1)) == pytest.approx(-9.0, abs=0.4)  # shorter than a block


def test_peaks() -> None:
    assert list(peaks(np.array([0.0, -1.0, 0.5, 2.0]))) == [0, 255, 128, 255]
    assert len(peaks(_tone(0.5))) == 160
    assert peaks(np.zeros(0)) == b""


def _part(path: Path, modality: Modality) -> MediaPart:
    return MediaPart(modality, "0" * 64, "any/thing", path)


def test_pictures_that_browsers_do_not_show_are_png(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (8, 6, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.tiff")
    part = _part(tmp_path / "a.tiff", Modality.IMAGE)
    media = Media(tmp_path / "site")
    media.add([part])
    file = tmp_path / "site" / media.for_page(part)["f"]
    assert file.suffix == ".png"
    assert np.array_equal(np.asarray(Image.open(file)), pixels)


def test_media_are_copied_by_content(tmp_path: Path) -> None:
    site = tmp_path / "site"
    files = {
        "a.png": png(),
        "b.png": png(),
        "big.png": png(size=700, noise=1),
        "s.wav": wav(),
        "c.mp4": mp4(),
    }
    Image.new("RGB", (1920, 30)).save(tmp_path / "huge.jpg")
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    kinds = {"png": Modality.IMAGE, "jpg": Modality.IMAGE, "wav": Modality.AUDIO, "mp4": Modality.VIDEO}
    parts = {name: _part(tmp_path / name, kinds[name[-3:]]) for name in [*files, "huge.jpg"]}
    media = Media(site)
    media.add(parts.values())
    shown = {name: media.for_page(part) for name, part in parts.items()}
    assert shown["a.png"] == shown["b.png"]
    assert (site / shown["a.png"]["f"]).read_bytes() == png()
    assert "th" not in shown["a.png"]
    with Image.open(site / shown["big.png"]["th"]) as thumbnail:
        assert thumbnail.size == (320, 320)
    assert shown["big.png"]["w"] == 700
    with Image.open(site / shown["huge.jpg"]["md"]) as smaller:
        assert smaller.size == (1280, 20)
    assert "md" not in shown["a.png"]
    assert shown["s.wav"]["d"] == pytest.approx(0.2, abs=0.01)
    assert shown["s.wav"]["lu"] < 0
    assert 0 < len(base64.b64decode(shown["s.wav"]["pk"])) <= 160
    assert (site / shown["c.mp4"]["th"]).stat().st_size > 0
    assert shown["c.mp4"]["d"] == 1.0


def test_a_sound_that_browsers_do_not_play_is_copied_as_wav(tmp_path: Path) -> None:
    samples = _tone(0.5, 0.2).astype(np.float32)
    soundfile.write(tmp_path / "a.aiff", samples, RATE, subtype="PCM_16")
    media = Media(tmp_path / "site")
    part = _part(tmp_path / "a.aiff", Modality.AUDIO)
    media.add([part])
    copied = tmp_path / "site" / media.for_page(part)["f"]
    assert copied.suffix == ".wav"
    assert np.abs(soundfile.read(copied)[0] - samples).max() < 1e-4


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<!doctype html><script>alert(1)</script>",
        b"",
        png()[:60],
        b"\x89PNG\r\n\x1a\n<script>alert(1)</script>",
    ],
)
def test_what_is_no_picture_never_gets_into_the_site(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(data)
    part = _part(tmp_path / "a.png", Modality.IMAGE)
    media = Media(tmp_path / "site")
    media.add([part])
    shown = media.for_page(part)
    assert set(shown) == {"m", "x"}
    assert str(tmp_path) not in shown["x"]
    assert not (tmp_path / "site").exists()
