"""Qwen2.5-VL, whose processor needs torchvision: run by test_torchvision.py where that imports."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from eval_anything.content import MODALITIES, Modality, Usage
from eval_anything.media import read_video
from eval_anything.models.hf import clips
from eval_anything.models.hf.clips import read_clip
from eval_anything.models.hf.video_processor import VideoProcessor
from tests.support.asking import ask, documented, loaded, medium, next_logits, user
from tests.support.helpers import mp4, png
from tests.support.numbered_clips import HEIGHT, WIDTH, make_clip, number_of
from tests.support.tiny_media import tiny_qwen2_5_vl

_NEVER = ["<|image_pad|>", "<|video_pad|>"]


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_qwen2_5_vl(tmp_path_factory.mktemp("qwen") / "qwen2_5_vl")


def turn(*content: dict[str, Any] | str) -> list[dict[str, Any]]:
    made = [{"type": "text", "text": c} if isinstance(c, str) else c for c in content]
    return [{"role": "user", "content": made}]


def _picture(path: Path) -> dict[str, Any]:
    """Decoded here: torchvision's own reader of files is in its compiled part."""
    return {"type": "image", "image": Image.open(path).convert("RGB")}


def test_images_and_text_as_the_documented_call(qwen: Path, tmp_path: Path) -> None:
    wide = medium(tmp_path / "wide.png", png(size=56, noise=1), "image")
    small = medium(tmp_path / "small.png", png((10, 20, 220), 30, noise=2), "image")
    model = loaded(qwen)
    assert model.family.inputs == tuple(m for m in MODALITIES if m is not Modality.AUDIO)
    responses = ask(
        model,
        [
            user("Look: ", wide, "What is this?"),
            user("Hello."),
            user(small, "and", wide, "?"),
            user(small),
        ],
        tmp_path / "store",
    )
    image = {n: _picture(tmp_path / f"{n}.png") for n in ("wide", "small")}
    conversations = [
        turn("Look: ", image["wide"], "What is this?"),
        turn("Hello."),
        turn(image["small"], "and", image["wide"], "?"),
        turn(image["small"]),
    ]
    for response, conversation in zip(responses, conversations, strict=True):
        expected, read, written = documented(qwen, conversation, _NEVER)
        assert response.error is None
        assert (response.text, response.usage) == (expected, Usage(read, written))


@pytest.mark.parametrize("fps", [None, 2])
def test_clips_as_the_documented_call(qwen: Path, tmp_path: Path, fps: int | None) -> None:
    """Clips of 8 frames a second. The processor takes 2 of them where its config says so; else it
    takes what it is given, which are 16 at most."""
    path = shutil.copytree(qwen, tmp_path / "qwen")
    processor = json.loads((path / "processor_config.json").read_text())
    processor["video_processor"]["fps"] = fps
    (path / "processor_config.json").write_text(json.dumps(processor))
    image = medium(tmp_path / "a.png", png(size=56, noise=1), "image")
    clips = {n: medium(tmp_path / f"{n}.mp4", mp4(n), "video") for n in (32, 16)}
    prompts = [user(clips[32], "What moves?"), user("Which?", clips[16], image), user("None.")]
    responses = ask(loaded(path), prompts, tmp_path / "store")
    conversations = {
        32: lambda clip: turn(clip, "What moves?"),
        16: lambda clip: turn("Which?", clip, _picture(tmp_path / "a.png")),
    }
    for (n, conversation), response in zip(conversations.items(), responses[:2], strict=True):
        frames = read_video(tmp_path / f"{n}.mp4").frames
        assert frames.shape == (n, 32, 32, 3)
        taken = np.arange(n) if fps else np.arange(16) * n // 16 + n // 32
        rate = 8.0 * len(taken) / n
        about = {"total_num_frames": len(taken), "fps": rate, "frames_indices": [*range(len(taken))]}
        more = {"video_metadata": [about], "do_sample_frames": fps is not None}
        clip = {"type": "video", "video": frames[taken]}
        expected, read, written = documented(path, conversation(clip), _NEVER, **more)
        assert response.error is None
        assert (response.text, response.usage) == (expected, Usage(read, written))
    assert responses[0].usage.input > responses[2].usage.input + 4


def test_the_medium_reaches_the_model(qwen: Path, tmp_path: Path) -> None:
    model = loaded(qwen)
    for kind, one, other in (
        ("image", png(size=56, noise=1), png(size=56, noise=2)),
        ("video", mp4(16), mp4(16, pictures=True, size=48)),
    ):
        first = medium(tmp_path / f"one-{kind}", one, kind)
        second = medium(tmp_path / f"other-{kind}", other, kind)
        shown = next_logits(model, user(first, "What is this?"))
        for changed in (user("What is this?"), user(second, "What is this?"), user("?", first)):
            assert float((shown - next_logits(model, changed)).abs().max()) > 1e-3


def processors() -> dict[str, Any]:
    """Video processors that sample frames in ways of their own."""
    from transformers import (
        Gemma4VideoProcessor,
        LlavaOnevisionVideoProcessor,
        Qwen2VLVideoProcessor,
        Qwen3VLVideoProcessor,
    )

    sizes = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
    return {
        "by rate": Qwen2VLVideoProcessor(size=sizes, fps=2),
        "by number": Qwen2VLVideoProcessor(size=sizes, num_frames=8),
        "in all": Qwen3VLVideoProcessor(
            size={"shortest_edge": 4 * 32 * 32, "longest_edge": 64 * 32 * 32}
        ),
        "32 frames": Gemma4VideoProcessor(),
        "50 a second": LlavaOnevisionVideoProcessor(size={"height": 56, "width": 56}, fps=50),
    }


def test_clips_with_fewer_frames_than_a_processor_asks_for_are_taken_whole(tmp_path: Path) -> None:
    make_clip(tmp_path / "single.mp4", frames=1)
    make_clip(tmp_path / "short.mp4", frames=5)
    for name, processor in processors().items():
        view = VideoProcessor(processor)
        frames, about = read_clip(tmp_path / "single.mp4", view.sample, view)
        assert {number_of(pixels) for pixels in frames} == {0}, name
        more = {"video_metadata": [about], "do_sample_frames": False, "return_tensors": "pt"}
        processor(videos=[frames], **more)
        frames, about = read_clip(tmp_path / "short.mp4", view.sample, view)
        if name in ("by number", "32 frames", "50 a second"):
            assert [number_of(pixels) for pixels in frames] == [0, 1, 2, 3, 4]


def test_large_clips_are_scaled_as_the_processor_scales_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(tmp_path / "a.mp4")
    for name, processor in processors().items():
        view = VideoProcessor(processor)
        inputs = []
        for at_once in (2**26, 20 * WIDTH * HEIGHT):
            monkeypatch.setattr(clips, "_PIXELS_AT_ONCE", at_once)
            frames, about = read_clip(tmp_path / "a.mp4", lambda about: range(0, 90, 3), view)
            more = {"video_metadata": [about], "do_sample_frames": False, "return_tensors": "pt"}
            inputs.append(processor(videos=[frames], **more)["pixel_values_videos"])
        assert (frames.shape[1:3] != (HEIGHT, WIDTH)) == (name != "32 frames"), "that one enlarges"
        assert inputs[0].shape == inputs[1].shape, name
        assert float((inputs[0] - inputs[1]).abs().max()) == 0, name


def test_a_long_clip_of_1080p_fits_into_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        planes = np.full((1080 * 3 // 2, 1920), 128, np.uint8)
        for number in range(150):
            planes[:1080] = 40 + number
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode(None))
    view = VideoProcessor(processors()["by rate"])
    before = peak()
    frames, about = read_clip(path, view.sample, view)
    assert peak() - before < 500 * 2**20  # frames in their own size would be 890 MiB
    assert len(frames) == len(about["frames_indices"]) == 150
    assert frames[149].mean() > frames[0].mean() + 150


def peak() -> int:
    """The most bytes of memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
