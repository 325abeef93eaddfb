"""What models on OpenAI-compatible servers are sent: media in order, in forms that servers take."""

from __future__ import annotations

import base64
import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from eval_anything.content import MediaPart, Message, Modality, Part, TextPart
from eval_anything.errors import UserError
from eval_anything.media import (
    MediaStore,
    media_part,
    read_audio,
    read_frames,
    read_image,
    read_picture,
)
from eval_anything.models.openai import ChatModel, inputs
from eval_anything.servers.prices import Spending
from tests.support.helpers import jpeg, mp4, png, wav
from tests.support.shapes_server import (
    HELLO,
    Asked,
    Sent,
    answer,
    b64,
    binary,
    choice,
    completion,
    events,
    problem,
    respond,
    serve_shapes,
    uri,
)
from tests.support.shapes_server import chunk as streamed

IMAGE, AUDIO, VIDEO = Modality.IMAGE, Modality.AUDIO, Modality.VIDEO
GOOD = answer(completion(choice({"content": "hi"})))
SPEC = "openai/tester@http://127.0.0.1:1/v1"


def gif() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (9, 99, 199)).save(buffer, "GIF")
    return buffer.getvalue()


def flac() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.sin(np.arange(8000) / 9) / 2, 16000, format="FLAC")
    return buffer.getvalue()


MP3 = b"ID3\x04" + bytes(60)  # is not read, only sent


@pytest.fixture
def keep(tmp_path: Path) -> MediaStore:
    return MediaStore(tmp_path / "inputs")


def asked_with(folder: Path, *parts: Part, **arguments: str) -> dict[str, Any]:
    """The body of the request for these parts of a user's message."""
    with serve_shapes({"POST /chat/completions": GOOD}) as server:
        found = respond(server, folder, (Message("user", parts),), **arguments)
    assert found.error is None, found.error
    body: dict[str, Any] = server.asked[0].body
    return body


def content(folder: Path, *parts: Part, **arguments: str) -> Any:
    return asked_with(folder, *parts, **arguments)["messages"][0]["content"]


def decoded(address: str, store: MediaStore, modality: Modality) -> MediaPart:
    head, _, data = address.partition(",")
    part = store.put(base64.b64decode(data), modality)
    assert head == f"data:{part.mime};base64"
    return part


def test_media_stand_where_they_stood_and_as_they_were(keep: MediaStore, tmp_path: Path) -> None:
    sound = wav()
    found = content(
        tmp_path,
        TextPart("first"),
        keep.put(png(), IMAGE),
        TextPart("second"),
        keep.put(sound, AUDIO),
        keep.put(MP3, AUDIO),
        keep.put(jpeg(), IMAGE),
    )
    assert found == [
        {"type": "text", "text": "first"},
        {"type": "image_url", "image_url": {"url": uri(png(), "image/png")}},
        {"type": "text", "text": "second"},
        {"type": "input_audio", "input_audio": {"data": b64(sound), "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": b64(MP3), "format": "mp3"}},
        {"type": "image_url", "image_url": {"url": uri(jpeg(), "image/jpeg")}},
    ]


def test_texts_alone_are_a_string(tmp_path: Path) -> None:
    assert content(tmp_path, TextPart("one"), TextPart("two")) == "one\ntwo"


def test_other_formats_are_converted(keep: MediaStore, tmp_path: Path) -> None:
    image, sound = keep.put(gif(), IMAGE), keep.put(flac(), AUDIO)
    sent_image, sent_sound = content(tmp_path, image, sound)
    png_part = decoded(sent_image["image_url"]["url"], keep, IMAGE)
    assert png_part.mime == "image/png"
    assert np.array_equal(read_image(png_part.path), read_image(image.path))
    assert sent_sound["input_audio"]["format"] == "wav"
    wav_part = keep.put(base64.b64decode(sent_sound["input_audio"]["data"]), AUDIO)
    assert wav_part.mime == "audio/wav"
    before, after = read_audio(sound.path, 24000), read_audio(wav_part.path, 24000)
    assert len(before) == len(after)
    assert np.abs(before - after).max() < 1e-3


def test_a_wav_that_is_not_plain_is_converted(keep: MediaStore, tmp_path: Path) -> None:
    of_a_pipe = bytearray(wav(seconds=0.5))
    of_a_pipe[40:44] = (0x7FFFF000).to_bytes(4, "little")
    floats = io.BytesIO()
    soundfile.write(floats, np.sin(np.arange(8000) / 9) / 2, 16000, format="WAV", subtype="FLOAT")
    for data in (bytes(of_a_pipe), floats.getvalue()):
        [sent] = content(tmp_path, keep.put(data, AUDIO))
        with wave.open(io.BytesIO(base64.b64decode(sent["input_audio"]["data"]))) as file:
            assert (file.getnframes(), file.getframerate(), file.getsampwidth()) == (12000, 24000, 2)


@pytest.mark.parametrize(("frames", "count"), [("3", 3), ("20", 8)])
def test_a_clip_is_sent_as_frames(frames: str, count: int, keep: MediaStore, tmp_path: Path) -> None:
    clip = keep.put(mp4(frames=8), VIDEO)
    found = content(tmp_path, TextPart("look"), clip, TextPart("what?"), frames=frames)
    assert [item["type"] for item in found] == ["text", *["image_url"] * count, "text"]
    expected = read_frames(clip.path, count).frames
    for item, pixels in zip(found[1:-1], expected, strict=True):
        part = decoded(item["image_url"]["url"], keep, IMAGE)
        assert np.array_equal(read_image(part.path), pixels)


def test_a_clip_is_sent_whole(keep: MediaStore, tmp_path: Path) -> None:
    found = content(tmp_path, keep.put(mp4(), VIDEO), video="url")
    assert found == [{"type": "video_url", "video_url": {"url": uri(mp4(), "video/mp4")}}]


def test_media_beside_the_messages(keep: MediaStore, tmp_path: Path) -> None:
    parts = (
        TextPart("a"),
        keep.put(mp4(), VIDEO),
        keep.put(png(), IMAGE),
        keep.put(flac(), AUDIO),
        TextPart("b"),
        keep.put(jpeg(), IMAGE),
    )
    body = asked_with(tmp_path, *parts, inputs="top_level", video="url")
    assert body["messages"] == [{"role": "user", "content": "a\nb"}]
    assert body["images"] == [uri(png(), "image/png"), uri(jpeg(), "image/jpeg")]
    assert body["videos"] == [uri(mp4(), "video/mp4")]
    assert [one.partition(",")[0] for one in body["audios"]] == ["data:audio/wav;base64"]
    body = asked_with(tmp_path, *parts, inputs="top_level", frames="2")
    assert len(body["images"]) == 4
    assert "videos" not in body


def test_what_is_asked_for(tmp_path: Path) -> None:
    body = asked_with(
        tmp_path, TextPart("hello"), modalities="text, audio", voice="Cherry", max_tokens="9"
    )
    seed = body.pop("seed")
    assert 0 <= seed < 2**31
    assert body == {
        "model": "tester",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.0,
        "max_tokens": 9,
        "modalities": ["text", "audio"],
        "audio": {"voice": "Cherry", "format": "wav"},
    }
    assert "modalities" not in asked_with(tmp_path, TextPart("hello"))


@pytest.mark.parametrize(("asked", "form"), [({}, "pcm16"), ({"audio_format": "wav"}, "wav")])
def test_a_stream_is_asked_for(asked: dict[str, str], form: str, tmp_path: Path) -> None:
    with serve_shapes({"POST /chat/completions": events(streamed({"content": "hi"}, "stop"))}) as server:
        found = respond(server, tmp_path, modalities="text,audio", stream="true", **asked)
    assert found.text == "hi"
    body = server.asked[0].body
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert body["audio"]["format"] == form


def test_the_responses_api(keep: MediaStore, tmp_path: Path) -> None:
    messages = (
        Message("system", (TextPart("be brief"),)),
        Message("user", (TextPart("look"), keep.put(png(), IMAGE))),
        Message("assistant", (TextPart("red"),)),
        Message("user", (keep.put(MP3, AUDIO), keep.put(mp4(), VIDEO))),
    )
    reply = answer({"object": "response", "status": "completed", "output": []})
    with serve_shapes({"POST /responses": reply}) as server:
        respond(
            server,
            tmp_path,
            messages,
            api="responses",
            tools="image_generation",
            image_size="1024x1024",
            frames="2",
        )
    body = server.asked[0].body
    system, look, red, last = body["input"]
    assert system == {"role": "system", "content": [{"type": "input_text", "text": "be brief"}]}
    assert look["content"] == [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": uri(png(), "image/png")},
    ]
    assert red == {"role": "assistant", "content": [{"type": "output_text", "text": "red"}]}
    assert [item["type"] for item in last["content"]] == ["input_audio", "input_image", "input_image"]
    assert body["tools"] == [{"type": "image_generation", "size": "1024x1024"}]
    assert body["max_output_tokens"] == 1024
    assert body["store"] is False


def test_images_are_asked_for_in_the_reply_itself(tmp_path: Path) -> None:
    """OpenAI's newer models refuse the field that says so, and need none."""

    def route(asked: Asked) -> Sent:
        if "response_format" in asked.body:
            return problem(400, "Unknown parameter: 'response_format'.")
        return answer({"data": [{"b64_json": b64(png())}]})

    messages = (Message("system", (TextPart("in oil"),)), *HELLO)
    with serve_shapes({"POST /images/generations": route}) as server:
        found = respond(server, tmp_path, messages, api="images", image_size="256x256")
    assert [part.modality for part in found.parts] == [IMAGE]
    first, second = (asked.body for asked in server.asked)
    assert second == {"model": "tester", "prompt": "in oil\n\nhello", "n": 1, "size": "256x256"}
    assert first == {**second, "response_format": "b64_json"}


def test_speech(tmp_path: Path) -> None:
    with serve_shapes({"POST /audio/speech": binary(wav())}) as server:
        respond(server, tmp_path, api="speech", voice="nova")
    assert server.asked[0].body == {
        "model": "tester",
        "input": "hello",
        "voice": "nova",
        "response_format": "wav",
    }


def unusual_pictures(folder: Path) -> list[Path]:
    """Pictures that readers show differently: turned, of 16 bits, CMYK, transparent, of several."""
    from PIL import Image

    chance = np.random.default_rng(2)
    pixels = chance.integers(0, 255, (6, 8, 3), np.uint8)
    picture = Image.fromarray(pixels)
    grey = Image.fromarray(chance.integers(0, 2**16, (6, 8), np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    saved: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "turned.jpg": (picture, {"exif": exif}),
        "turned.png": (picture, {"exif": exif}),
        "cmyk.jpg": (picture.convert("CMYK"), {}),
        "16.png": (grey, {}),
        "alpha.png": (Image.fromarray(np.dstack([pixels, pixels[..., 0]])), {}),
        "clear.png": (picture.quantize(8), {"transparency": 3}),
        "several.png": (picture, {"save_all": True, "append_images": [picture.rotate(180)]}),
    }
    for name, (image, options) in saved.items():
        image.save(folder / name, **options)
    return [folder / name for name in saved]


def test_a_server_sees_the_pixels_that_all_others_see(keep: MediaStore, tmp_path: Path) -> None:
    paths = unusual_pictures(tmp_path)
    parts = [media_part(path, IMAGE) for path in paths]
    for part, sent in zip(parts, content(tmp_path, *parts), strict=True):
        sent_part = decoded(sent["image_url"]["url"], keep, IMAGE)
        assert sent_part.mime == "image/png", part.path.name
        pixels, is_plain = read_picture(sent_part.path)
        assert is_plain
        assert np.array_equal(pixels, read_image(part.path)), part.path.name


def test_a_picture_whose_png_is_too_large_is_sent_as_jpeg(
    keep: MediaStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    noise = np.random.default_rng(0).integers(100, 116, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.webp", lossless=True)
    monkeypatch.setattr(inputs, "_LARGEST", 6000)
    [sent] = content(tmp_path, media_part(tmp_path / "a.webp", IMAGE))
    part = decoded(sent["image_url"]["url"], keep, IMAGE)
    assert part.mime == "image/jpeg"
    assert abs(read_image(part.path).astype(int) - noise).mean() < 3


def test_a_picture_that_cannot_be_read_is_no_failure_of_the_model(
    keep: MediaStore, tmp_path: Path
) -> None:
    with serve_shapes({}) as server:
        found = respond(server, tmp_path, (Message("user", (keep.put(png()[:60], IMAGE),)),))
    assert found.error is not None
    assert found.error.kind == "unreadable_input"
    assert not found.error.of_model
    assert server.asked == []


def test_a_clip_begins_with_an_image(keep: MediaStore, tmp_path: Path) -> None:
    routes = {
        "POST /videos": answer({"id": "v", "status": "completed"}),
        "GET /videos/v/content": binary(mp4(), "video/mp4"),
    }
    messages = (Message("user", (TextPart("go on"), keep.put(jpeg(), IMAGE))),)
    with serve_shapes(routes) as server:
        found = respond(server, tmp_path, messages, api="videos")
    assert found.error is None
    form = server.asked[0].raw
    assert b'name="input_reference"; filename="picture.jpeg"\r\nContent-Type: image/jpeg' in form
    assert jpeg() in form


TURNS = (*HELLO, Message("assistant", (TextPart("hi"),)), *HELLO)


@pytest.mark.parametrize("api", ["images", "speech", "videos"])
def test_a_conversation_is_no_prompt(api: str, tmp_path: Path) -> None:
    with serve_shapes({}) as server:
        found = respond(server, tmp_path, TURNS, api=api)
    assert found.error is not None
    assert found.error.kind == "unsupported_input"
    assert server.asked == []


def test_media_that_an_endpoint_has_no_form_for(keep: MediaStore, tmp_path: Path) -> None:
    image, sound = keep.put(png(), IMAGE), keep.put(wav(), AUDIO)
    cases: list[tuple[str, tuple[Message, ...]]] = [
        ("images", (Message("user", (TextPart("like this"), image)),)),
        ("speech", (Message("user", (TextPart("like this"), sound)),)),
        ("videos", (Message("user", (TextPart("like this"), sound)),)),
        ("videos", (Message("user", (image, image)),)),
    ]
    for api, messages in cases:
        with serve_shapes({}) as server:
            found = respond(server, tmp_path, messages, api=api)
        assert found.error is not None
        assert found.error.kind == "unsupported_input", (api, found.error)
        assert server.asked == []


def test_a_medium_that_is_too_large_is_not_sent(
    keep: MediaStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_LARGEST", 1000)
    messages = (Message("user", (keep.put(png(size=64, noise=1), IMAGE),)),)
    with serve_shapes({}) as server:
        found = respond(server, tmp_path, messages)
    assert found.error is not None
    assert found.error.kind == "unsupported_input"
    assert "at most 1000" in found.error.message


@pytest.mark.parametrize("status", [400, 413, 415, 422])
@pytest.mark.parametrize("media", [True, False])
def test_a_server_that_refuses_media(status: int, media: bool, keep: MediaStore, tmp_path: Path) -> None:
    parts: tuple[Part, ...] = (TextPart("look"), *([keep.put(png(), IMAGE)] if media else []))
    reply = problem(status, "tester is not a multimodal model")
    with serve_shapes({"POST /chat/completions": reply}) as server:
        found = respond(server, tmp_path, (Message("user", parts),))
    assert found.error is not None
    assert found.error.kind == ("unsupported_input" if media else "model_error")
    assert "not a multimodal model" in found.error.message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"api": "chatt"}, "must be one of chat"),
        ({"voise": "x"}, "no argument 'voise'"),
        ({"modalities": "text,sound"}, "'sound' is none of text"),
        ({"stream": "yes"}, "must be one of true, false"),
        ({"audio_format": "aac"}, "must be one of auto"),
        ({"video": "file"}, "must be one of frames, url"),
        ({"frames": "0"}, "at least 1"),
        ({"timeout": "0"}, "above 0"),
        ({"timeout": "nan"}, "above 0"),
        ({"tools": "search"}, "must be one of nothing, image_generation"),
        ({"api": "images", "stream": "true"}, "for api=chat, not api=images"),
        ({"api": "chat", "tools": "image_generation"}, "for api=responses, not api=chat"),
        ({"api": "responses", "modalities": "text,audio"}, "for api=chat"),
        ({"seconds": "4"}, "for api=videos"),
        ({"api": "speech", "max_tokens": "5"}, "for api=chat or responses"),
    ],
)
def test_wrong_choices_are_said_so(arguments: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ChatModel.from_spec(SPEC, "", arguments)


def test_how_long_is_waited_may_change_when_a_run_goes_on() -> None:
    patient = ChatModel.from_spec(SPEC, "", {"timeout": "1200", "max_tokens": "9"})
    assert patient.arguments == ChatModel.from_spec(SPEC, "", {"max_tokens": "9"}).arguments
    assert patient.arguments["max_tokens"] == 9
    assert patient.settings.timeout == 1200


@pytest.mark.parametrize("api", ["speech", "videos"])
def test_a_budget_that_cannot_be_kept_is_refused(api: str) -> None:
    model = ChatModel.from_spec(SPEC, "", {"api": api})
    model.spending = Spending(1.0)
    with pytest.raises(UserError, match="--budget"):
        model.prepare([], [], [])
    model.spending = Spending()
    model.prepare([], [], [])


def test_a_budget_for_what_is_free_is_kept(own_home: Path) -> None:
    own_home.mkdir()
    prices = "{date: '2026-01-01', source: mine, currency: USD, models: {tester: {input: 0, output: 0}}}"
    (own_home / "prices.yaml").write_text(prices)
    model = ChatModel.from_spec(SPEC, "", {"api": "speech"})
    model.spending = Spending(1.0)
    model.prepare([], [], [])
