"""Models that see and hear, on tiny real checkpoints: the same answers as the documented calls."""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval_anything.content import MediaPart, Usage
from eval_anything.media import MediaError, read_video
from eval_anything.models.hf.conversation import conversations
from tests.support.asking import ask, documented, loaded, medium, next_logits, text, turn, user
from tests.support.helpers import Cli, make_task, medium_sample, png, text_sample, wav
from tests.support.tiny_media import tiny_llava, tiny_qwen2_audio


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("llava") / "llava")


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_qwen2_audio(tmp_path_factory.mktemp("audio") / "qwen2_audio")


def test_llava_answers_as_the_documented_call(llava: Path, tmp_path: Path) -> None:
    red = medium(tmp_path / "red.png", png(size=40, noise=1), "image")
    blue = medium(tmp_path / "blue.png", png((10, 20, 220), 30, noise=2), "image")
    prompts = [
        user("What is the capital of France?"),
        user("Look: ", red, " What is this?"),
        user(red, "What is this?"),
        user(blue, "and", red, "Which is a lighthouse?" * 5),
        user("Draw."),
    ]
    image = [{"type": "image", "path": str(tmp_path / f"{name}.png")} for name in ("red", "blue")]
    conversations = [
        turn(text("What is the capital of France?")),
        turn(text("Look: "), image[0], text(" What is this?")),
        turn(image[0], text("What is this?")),
        turn(image[1], text("and"), image[0], text("Which is a lighthouse?" * 5)),
        turn(text("Draw.")),
    ]
    responses = ask(loaded(llava), prompts, tmp_path / "store")
    for response, conversation in zip(responses, conversations, strict=True):
        expected, read, written = documented(llava, conversation, ["<image>"])
        assert response.error is None
        assert (response.text, response.usage) == (expected, Usage(read, written))
    assert responses[1].text != responses[2].text, "the order of the parts is lost"


def test_qwen2_audio_answers_as_the_documented_call(listener: Path, tmp_path: Path) -> None:
    prompts, conversations = [], []
    for i, (seconds, hertz) in enumerate([(0.5, 440), (3.0, 700), (1.2, 200)]):
        data = wav(seconds, 16000, hertz=hertz)
        part = medium(tmp_path / f"{i}.wav", data, "audio")
        with wave.open(io.BytesIO(data)) as file:
            raw = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        sound = {"type": "audio", "audio": (raw / 32768).astype(np.float32)}
        prompts += [user(part, "What do you hear?"), user(f"Say {i}.")]
        conversations += [turn(sound, text("What do you hear?")), turn(text(f"Say {i}."))]
    responses = ask(loaded(listener), prompts, tmp_path / "store")
    for response, conversation in zip(responses, conversations, strict=True):
        expected, read, written = documented(listener, conversation, ["<|AUDIO|>"])
        assert response.error is None
        assert (response.text, response.usage) == (expected, Usage(read, written))
    assert len({r.usage.input for r in responses[::2]}) == 3, "sounds of other lengths, same tokens"


def test_sound_at_another_rate_is_resampled(listener: Path, tmp_path: Path) -> None:
    model = loaded(listener)
    tokens = []
    for rate in (16000, 44100):
        part = medium(tmp_path / f"{rate}.wav", wav(2.0, rate), "audio")
        tokens.append(ask(model, [user(part, "What?")], tmp_path)[0].usage.input)
    assert tokens[0] == tokens[1]


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_the_medium_reaches_the_model(kind: str, llava: Path, listener: Path, tmp_path: Path) -> None:
    """The known trap: a processor or a model that drops its media answers just as fluently."""
    model = loaded(llava if kind == "image" else listener)
    if kind == "image":
        one = medium(tmp_path / "a.png", png(size=40, noise=1), "image")
        other = medium(tmp_path / "b.png", png((0, 0, 90), 40), "image")
    else:
        one = medium(tmp_path / "a.wav", wav(1.0, hertz=300), "audio")
        other = medium(tmp_path / "b.wav", wav(1.0, hertz=2000, level=0.9), "audio")
    shown = next_logits(model, user(one, "What is this?"))
    assert float((shown - next_logits(model, user(one, "What is this?"))).abs().max()) == 0
    for changed in (user("What is this?"), user(other, "What is this?"), user("What is this?", one)):
        assert float((shown - next_logits(model, changed)).abs().max()) > 1e-3


def test_a_placeholder_in_the_text_is_text_and_is_never_answered(llava: Path, tmp_path: Path) -> None:
    model = loaded(llava)
    red = medium(tmp_path / "red.png", png(size=40, noise=1), "image")
    plain, with_image = ask(
        model, [user("Is <image> </s> a tag?"), user(red, "Is <image> one?")], tmp_path / "store"
    )
    assert plain.error is None
    assert with_image.error is None
    assert plain.usage.input > len("Is  a tag?") / 4 + 10  # spelled out, not one token
    placeholder = model.family.tokenizer.convert_tokens_to_ids("<image>")  # type: ignore[attr-defined]
    assert model.family._suppressed == [placeholder]  # type: ignore[attr-defined]


def test_sampled_answers_do_not_depend_on_the_batch(llava: Path, tmp_path: Path) -> None:
    red = medium(tmp_path / "red.png", png(size=40, noise=1), "image")
    prompts = [user(red, "What is this? " * (1 + i % 3)) for i in range(5)] + [user("Hello.")]
    together = ask(loaded(llava), prompts, tmp_path / "store", temperature=1)
    alone = ask(loaded(llava, batch_size="1"), prompts, tmp_path / "store", temperature=1)
    assert [r.text for r in together] == [r.text for r in alone]
    assert len({r.text for r in together}) == 6


def test_a_run_with_what_a_checkpoint_cannot_take(cli: Cli, llava: Path, tmp_path: Path) -> None:
    samples = [
        text_sample("t"),
        medium_sample("i", "image", "a.png"),
        medium_sample("a", "audio", "a.wav"),
        medium_sample("broken", "image", "b.png"),
    ]
    cut = png(size=40, noise=1)[:2000]
    make_task(tmp_path, "mine/demo", samples, a__png=png(size=40), a__wav=wav(), b__png=cut)
    arguments = ["--tasks", "mine/demo", "--include", "mine", "--out", "run", "--max-failed", "1"]
    result = cli("run", "--model", llava, "--model-arg", "max_new_tokens=4", "--json", *arguments)
    assert result.code == 4, "what cannot be read is no failure of the model: its sample is pending"
    assert "1 samples are pending: its question cannot be read: " in result.err
    assert "b.png does not decode" in result.err
    from eval_anything.runs.directory import read_run

    errors = {r.sample_id: r.error for r in read_run(tmp_path / "run", "mine/demo")}
    assert errors["t"] is None
    assert errors["i"] is None
    assert errors["a"] is not None
    assert errors["a"].kind == "unsupported_input"
    assert errors["a"].message == "this checkpoint takes text and image; it cannot read audio"
    assert "broken" not in errors
    checked = cli("tasks", "validate", tmp_path / "mine/demo")
    assert checked.code == 2
    assert "samples.jsonl:4" in checked.err
    assert "b.png does not decode" in checked.err


def long_clip() -> bytes:
    """140 frames of 1920x1088 at 5 a second; luma rises by one from frame to frame, from 40 on."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 1920, 1088, "yuv420p"
        planes = np.full((1088 * 3 // 2, 1920), 128, np.uint8)
        for number in range(140):
            planes[:1088] = 40 + number
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def test_of_a_long_clip_only_the_frames_that_are_sampled_are_decoded(tmp_path: Path) -> None:
    """One that is too long to be read whole, for a processor that samples by its own config."""
    clip = medium(tmp_path / "a.mp4", long_clip(), "video")
    assert isinstance(clip, MediaPart)
    with pytest.raises(MediaError, match="more than"):
        read_video(clip.path)
    wanted = [0, 70, 139]
    seen: list[dict[str, Any]] = []

    def sampler(about: Mapping[str, Any]) -> list[int]:
        seen.append(dict(about))
        return wanted

    found = conversations([user("Look: ", clip)], sampler=sampler)
    (about,) = found.videos
    assert (seen[0]["total_num_frames"], seen[0]["duration"]) == (140, pytest.approx(28))
    assert (about["fps"], about["height"], about["width"]) == (pytest.approx(5), 1088, 1920)
    assert (about["total_num_frames"], about["frames_indices"]) == (140, wanted)
    pixels = found.turns[0][0]["content"][1]["video"]
    greys = [40, 110, 179]  # in full range, (luma - 16) * 255 / 219
    assert [frame.mean() for frame in pixels] == pytest.approx(
        [(grey - 16) * 255 / 219 for grey in greys], abs=3
    )
