"""Clips that a judge is shown whole: the same pictures, and nothing else of the file."""

from __future__ import annotations

import base64
import io
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from eval_anything.content import Modality, Response, TextPart
from eval_anything.errors import UserError
from eval_anything.judges.asking.guard import clean_clip
from eval_anything.judges.assemble import make_judge
from eval_anything.judges.folder import JudgeFolder, find_judges, judge_at
from eval_anything.judges.registry import read_judge_file
from eval_anything.media import MediaError, media_part, read_video
from eval_anything.media.encode import encode_mp4
from tests.judges.test_guard import at, judged
from tests.support.attacks import PAYLOAD, media_attacks
from tests.support.helpers import mp4
from tests.support.judge_server import GOOD

VIDEO = Modality.VIDEO
MEDIA = media_attacks()


def gradual(size: tuple[int, int], frames: int = 12, fps: int = 6) -> np.ndarray:
    """uint8 (frames, height, width, 3): a bar that moves over a gradient."""
    width, height = size
    pixels = np.zeros((frames, height, width, 3), np.uint8)
    pixels[..., 1] = np.linspace(0, 200, width, dtype=np.uint8)
    for i, frame in enumerate(pixels):
        frame[i * height // frames : (i + 1) * height // frames] = (200, 40, 90)
    return pixels


def test_a_clip_stays_the_same_clip(tmp_path: Path) -> None:
    path = at(tmp_path, "a.mp4", encode_mp4(gradual((64, 48)), 6))
    clean = clean_clip(path)
    assert (clean.mime, clean.note) == ("video/mp4", "")
    before, after = read_video(path), read_video(at(tmp_path, "b.mp4", clean.data))
    assert after.frames.shape == before.frames.shape
    assert np.allclose(after.times, np.arange(12) / 6, atol=1e-3)
    assert np.abs(after.frames.astype(int) - before.frames).mean() < 3


def test_a_variable_rate_stays(tmp_path: Path) -> None:
    times = [0, 1, 2, 2.1, 2.2, 3, 3.1, 4, 4.5, 4.6, 4.7, 6]
    path = at(tmp_path, "a.mp4", encode_mp4(gradual((64, 48)), 2, times=times))
    assert np.allclose(read_video(path).times, times, atol=1e-3)
    after = read_video(at(tmp_path, "b.mp4", clean_clip(path).data))
    assert np.allclose(after.times, times, atol=1e-3)


def test_a_long_clip_is_thinned_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval_anything.judges.asking.guard._MOST_CLIP_PIXELS", 4 * 64 * 48 + 1)
    clean = clean_clip(at(tmp_path, "a.mp4", encode_mp4(gradual((64, 48)), 6)))
    assert clean.note == "4 of 12 frames"
    after = read_video(at(tmp_path, "b.mp4", clean.data))
    assert np.allclose(after.times, np.arange(4) / 2, atol=1e-3), "as long as before"


@pytest.mark.parametrize(
    ("size", "limits", "note", "kept"),
    [
        ((65, 33), {}, "scaled from 65x33 to 64x32 pixels", (64, 32)),
        ((96, 48), {"max_side": 48}, "scaled from 96x48 to 48x24 pixels", (48, 24)),
        ((256, 128), {"max_bytes": 3000}, "scaled from 256x128 to ", None),
    ],
)
def test_a_clip_that_is_too_large_is_scaled_and_says_so(
    size: tuple[int, int],
    limits: dict[str, int],
    note: str,
    kept: tuple[int, int] | None,
    tmp_path: Path,
) -> None:
    """The first is too large by a row and a column: the colours of the format go by pairs."""
    source = (np.random.default_rng(0).random((6, *size[::-1], 3)) * 255).astype(np.uint8)
    pixels = gradual(size) if kept else source // 4
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:  # not by encode_mp4, which makes even sides only
        stream = container.add_stream("libx264rgb", rate=6)
        stream.width, stream.height = size
        stream.pix_fmt = "rgb24"
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    clean = clean_clip(path, **limits)
    assert clean.note.startswith(note)
    assert len(clean.data) <= limits.get("max_bytes", 2**24)
    shape = read_video(at(tmp_path, "b.mp4", clean.data)).frames.shape
    assert shape[0] == len(pixels)
    assert kept is None or (shape[2], shape[1]) == kept
    assert clean.note.endswith(f"to {shape[2]}x{shape[1]} pixels")


def test_a_clip_that_nothing_makes_small_enough_is_a_media_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="does not fit into 100 bytes"):
        clean_clip(at(tmp_path, "a.mp4", mp4()), max_bytes=100)


def crowded_clip(path: Path, form: str) -> None:
    """Pictures and sound with PAYLOAD as their titles, in a stream of subtitles (Matroska) or data
    (MP4), and as an attached file."""
    with av.open(str(path), "w", format=form) as container:
        container.metadata["title"] = PAYLOAD
        video = container.add_stream("libx264", rate=6, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.metadata["handler_name"] = video.metadata["title"] = PAYLOAD
        sound = container.add_stream("aac", rate=8000, layout="mono")
        sound.metadata["handler_name"] = sound.metadata["title"] = PAYLOAD
        words: Any
        if form == "mp4":
            words = container.add_data_stream("bin_data")
        else:
            words = container.add_stream("ass")
            container.add_attachment("note.txt", "text/plain", PAYLOAD.encode())
        words.time_base = Fraction(1, 1000)
        for pixels in gradual((64, 48)):
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode(None))
        tone = np.sin(np.arange(8192) / 5).astype(np.float32)[None]
        block = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        block.sample_rate = 8000
        container.mux(sound.encode(block))
        container.mux(sound.encode(None))
        packet = av.Packet(PAYLOAD.encode())
        packet.stream, packet.time_base = words, Fraction(1, 1000)
        packet.pts, packet.dts, packet.duration = 0, 0, 500
        container.mux(packet)


def test_a_clip_that_is_shown_as_a_file_has_its_pictures_and_nothing_else(tmp_path: Path) -> None:
    crowded = [tmp_path / "a.mp4", tmp_path / "a.webm"]
    for path, form in zip(crowded, ("mp4", "matroska"), strict=True):
        crowded_clip(path, form)
        assert path.read_bytes().count(PAYLOAD.encode()) >= 4, "the attack is what it says"
    media = [
        *crowded,
        *(at(tmp_path, f"{i}.mp4", a.data) for i, a in enumerate(MEDIA) if a.modality is VIDEO),
    ]
    responses = [Response((TextPart("A ball."), media_part(medium, VIDEO))) for medium in media]
    found = judged(responses, lambda asked: (200, GOOD), whole_clips(tmp_path))
    for medium, (asked, score) in zip(media, found, strict=True):
        *_, label, part = asked.answer
        assert part["type"] == "video_url"
        head, _, data = part["video_url"]["url"].partition(",")
        assert head == "data:video/mp4;base64"
        sent = base64.b64decode(data, validate=True)
        for codec in ("utf-8", "utf-16-le", "utf-16-be"):
            assert PAYLOAD[:24].encode(codec) not in sent + asked.raw
        with av.open(io.BytesIO(sent)) as container:
            assert [stream.type for stream in container.streams] == ["video"]
            assert set(container.metadata) <= {
                "major_brand",
                "minor_version",
                "compatible_brands",
                "encoder",
            }
        before, after = read_video(medium), read_video(at(tmp_path, "sent.mp4", sent))
        assert after.frames.shape == before.frames.shape
        assert np.abs(after.frames.astype(int) - before.frames).mean() < 6
        sounds = medium in crowded
        assert label["text"] == ("[video, without its sound]" if sounds else "[video]")
        assert score.details.get("media") == (["video, without its sound"] if sounds else None)


def whole_clips(root: Path) -> JudgeFolder:
    """The rubric of synergy, shown clips as files."""
    folder = root / "own"
    shutil.copytree(find_judges()["synergy_rubric"].path, folder)
    with (folder / "judge.yaml").open("a") as file:
        file.write("video: file\n")
    return judge_at(folder)


def test_how_clips_are_shown_is_declared_and_part_of_the_fingerprint(tmp_path: Path) -> None:
    yaml = (find_judges()["synergy_rubric"].path / "judge.yaml").read_text()
    response = Response((TextPart("A ball."), media_part(at(tmp_path, "a.mp4", mp4(8)), VIDEO)))
    found = {}
    for name, more in (("four", ""), ("two", "frames: 2\n"), ("file", "video: file\n")):
        folder = whole_clips(tmp_path / name)
        (folder.path / "judge.yaml").write_text(yaml + more)
        ((asked, _),) = judged([response], lambda asked: (200, GOOD), folder)
        kinds = [part["type"] for part in asked.answer[3:]]
        found[name] = kinds, make_judge(folder, False, "openai/judge@http://x").fingerprint
    assert [kinds for kinds, _ in found.values()] == [
        ["image_url"] * 4,
        ["image_url"] * 2,
        ["video_url"],
    ]
    assert len({fingerprint for _, fingerprint in found.values()}) == 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("frames: 0", "frames must be at least 1"),
        ("video: file\nframes: 2", "remove `frames:`"),
        ("video: pictures", "'pictures'"),
    ],
)
def test_how_clips_are_shown_is_checked(more: str, message: str, tmp_path: Path) -> None:
    folder = whole_clips(tmp_path)
    yaml = (folder.path / "judge.yaml").read_text().replace("video: file", more)
    (folder.path / "judge.yaml").write_text(yaml)
    with pytest.raises(UserError, match=message):
        read_judge_file(folder)
