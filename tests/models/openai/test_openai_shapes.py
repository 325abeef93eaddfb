"""Models on OpenAI-compatible servers: every shape of reply gives the parts it holds, in order."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import to_builtins

from eval_anything.content import Modality, Part, TextPart, Usage
from eval_anything.models.openai.replies import Content, read_reply
from eval_anything.models.openai.streams import ChatFold
from eval_anything.servers.client import ReplyError
from eval_anything.servers.prices import Spending
from tests.support.helpers import Cli, jpeg, make_task, mp4, png, text_sample, wav
from tests.support.shapes_server import (
    LAST,
    USAGE,
    Sent,
    answer,
    b64,
    binary,
    choice,
    chunk,
    completion,
    events,
    respond,
    serve_shapes,
    uri,
)

PNG, OTHER_PNG, JPEG, WAV, MP4 = png(), png((1, 2, 3)), jpeg(), wav(rate=24000), mp4()
PCM = WAV[44:]


def seen(part: Part) -> tuple[str, str]:
    """A text; or mime type and sha256 of the bytes that lie in the store."""
    if isinstance(part, TextPart):
        return "text", part.text
    digest = hashlib.sha256(part.path.read_bytes()).hexdigest()
    assert digest == part.sha256
    return part.mime, digest


def medium(data: bytes, mime: str) -> tuple[str, str]:
    return mime, hashlib.sha256(data).hexdigest()


def text(words: str) -> tuple[str, str]:
    return "text", words


RED, BLUE = medium(PNG, "image/png"), medium(OTHER_PNG, "image/png")
PHOTO, SOUND, CLIP = medium(JPEG, "image/jpeg"), medium(WAV, "audio/wav"), medium(MP4, "video/mp4")


class Shape(NamedTuple):
    """A reply, the choices with which it is asked for, and what must be found in it."""

    arguments: Mapping[str, str]
    path: str
    reply: Sent
    parts: list[tuple[str, str]]
    order_known: bool = True
    stop_reason: str | None = "stop"
    transcript: str | None = None
    thoughts: str | None = None


def image_url(data: bytes, mime: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": uri(data, mime)}}


AUDIO = {"modalities": "text,audio"}
STREAMED = {**AUDIO, "stream": "true"}
CHAT = "/chat/completions"
SPOKEN = {"id": "audio-1", "data": b64(WAV), "expires_at": 1, "transcript": "good day"}
TOOL = {"api": "responses", "tools": "image_generation"}


def said(*content: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": list(content), "status": "completed"}


def response(*output: Mapping[str, Any], **more: Any) -> Sent:
    usage = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
    return answer(
        {"id": "r", "object": "response", "status": "completed", "error": None}
        | {"output": list(output), "usage": usage}
        | more
    )


def blocks(*texts: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": one} for one in texts]


def made(data: bytes) -> dict[str, Any]:
    return {"type": "image_generation_call", "id": "ig", "status": "completed", "result": b64(data)}


def bits(data: bytes, size: int) -> list[str]:
    """Each piece as base64 of its own."""
    return [b64(data[i : i + size]) for i in range(0, len(data), size)]


def pieces_of(word: str, size: int) -> list[str]:
    """One base64 text, cut anywhere."""
    return [word[i : i + size] for i in range(0, len(word), size)]


def wav_of(samples: bytes) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24000)
        file.writeframes(samples)
    return buffer.getvalue()


SHAPES: dict[str, Shape] = {
    "text": Shape({}, CHAT, answer(completion(choice({"content": "hi"}))), [text("hi")]),
    "OpenAI chat audio": Shape(
        AUDIO,
        CHAT,
        answer(completion(choice({"content": None, "audio": SPOKEN}))),
        [SOUND],
        transcript="good day",
    ),
    "OpenAI chat audio, asked for as samples": Shape(
        {**AUDIO, "audio_format": "pcm16"},
        CHAT,
        answer(completion(choice({"content": None, "audio": {**SPOKEN, "data": b64(PCM)}}))),
        [SOUND],
        transcript="good day",
    ),
    "OpenAI chat audio, streamed": Shape(
        STREAMED,
        CHAT,
        events(
            chunk({"role": "assistant", "content": None, "audio": {"id": "a", "transcript": "good"}}),
            *[chunk({"audio": {"id": "a", "data": bit}}) for bit in bits(PCM, 1000)],
            chunk({"audio": {"id": "a", "transcript": " day"}}),
            chunk({"audio": {"id": "a", "expires_at": 1}}),
            chunk({}, "stop"),
            LAST,
        ),
        [SOUND],
        transcript="good day",
    ),
    "OpenAI Responses, image tool": Shape(
        TOOL,
        "/responses",
        response(
            {"type": "reasoning", "summary": []},
            said({"type": "output_text", "text": "First red:", "annotations": []}),
            made(PNG),
            said({"type": "output_text", "text": "then blue:"}),
            made(OTHER_PNG),
        ),
        [text("First red:"), RED, text("then blue:"), BLUE],
    ),
    "OpenAI Responses, out of tokens": Shape(
        {"api": "responses"},
        "/responses",
        response(
            said({"type": "output_text", "text": "Once"}),
            status="incomplete",
            incomplete_details={"reason": "max_output_tokens"},
        ),
        [text("Once")],
        stop_reason="length",
    ),
    "OpenAI images": Shape(
        {"api": "images"},
        "/images/generations",
        answer({"created": 1, "data": [{"b64_json": b64(PNG), "revised_prompt": "red"}]}),
        [RED],
        stop_reason=None,
    ),
    "OpenAI speech": Shape(
        {"api": "speech"}, "/audio/speech", binary(WAV, "audio/mpeg"), [SOUND], stop_reason=None
    ),
    "OpenAI speech, as samples": Shape(
        {"api": "speech", "audio_format": "pcm16"},
        "/audio/speech",
        binary(PCM, "audio/pcm"),
        [SOUND],
        stop_reason=None,
    ),
    "vLLM-Omni, text and audio as two choices": Shape(
        AUDIO,
        CHAT,
        answer(
            completion(
                choice({"content": "good day", "audio": None}),
                choice({"content": None, "audio": {**SPOKEN, "transcript": ""}}),
            )
        ),
        [text("good day"), SOUND],
        order_known=False,
    ),
    "vLLM-Omni, images in a list": Shape(
        {"modalities": "image"},
        CHAT,
        answer(completion(choice({"content": [image_url(PNG, "image/png"), image_url(JPEG, "x/y")]}))),
        [RED, PHOTO],
    ),
    "vLLM-Omni, texts and images in one list": Shape(
        {"modalities": "text,image"},
        CHAT,
        answer(
            completion(
                choice(
                    {
                        "content": [
                            {"type": "text", "text": "red:"},
                            image_url(PNG, "image/png"),
                            {"type": "text", "text": "and that was it"},
                        ]
                    }
                )
            )
        ),
        [text("red:"), RED, text("and that was it")],
    ),
    "vLLM-Omni, streamed, a header in each piece": Shape(
        {**STREAMED, "audio_format": "wav"},
        CHAT,
        events(
            chunk({"role": "assistant", "content": ""}, modality="text"),
            chunk({"content": "good "}, modality="text"),
            chunk({"content": b64(wav_of(PCM[:4000]))}, modality="audio"),
            chunk({"content": "day"}, "stop", modality="text"),
            chunk({"content": b64(wav_of(PCM[4000:]))}, modality="audio"),
            chunk({"content": ""}, "stop", modality="audio"),
            LAST,
        ),
        [text("good day"), SOUND],
        order_known=False,
    ),
    "vLLM-Omni, streamed images": Shape(
        {"modalities": "image", "stream": "true"},
        CHAT,
        events(chunk({"content": [image_url(PNG, "image/png")]}, "stop", modality="image")),
        [RED],
    ),
    "sglang-omni": Shape(
        AUDIO,
        CHAT,
        answer(completion(choice({"content": "good day", "audio": SPOKEN}))),
        [text("good day"), SOUND],
        order_known=False,
        transcript="good day",
    ),
    "sglang-omni, images with data": Shape(
        {"modalities": "text,image"},
        CHAT,
        answer(
            completion(
                choice({"content": "", "images": [{"id": "i", "data": b64(PNG), "format": "jpg"}]})
            )
        ),
        [RED],
    ),
    "Qwen-Omni: samples where WAV was asked for": Shape(
        {**STREAMED, "audio_format": "wav"},
        CHAT,
        events(
            chunk({"role": "assistant", "content": "good"}),
            *[chunk({"audio": {"data": bit, "expires_at": 1}}) for bit in pieces_of(b64(PCM), 997)],
            chunk({"content": " day"}),
            chunk({"content": ""}, "stop"),
            LAST,
        ),
        [text("good day"), SOUND],
        order_known=False,
    ),
    "OpenRouter, LiteLLM, Vercel": Shape(
        {"modalities": "image,text"},
        CHAT,
        answer(
            completion(
                choice(
                    {
                        "content": "two of them",
                        "images": [
                            {**image_url(PNG, "image/png"), "index": 0},
                            {"type": "image_url", "image_url": uri(OTHER_PNG, "image/webp")},
                        ],
                    }
                )
            )
        ),
        [text("two of them"), RED, BLUE],
        order_known=False,
    ),
    "OpenRouter, streamed": Shape(
        {"modalities": "image,text", "stream": "true"},
        CHAT,
        events(
            ": OPENROUTER PROCESSING\n\n",
            chunk({"content": "one "}),
            chunk({"content": "of them"}),
            chunk({"content": "", "images": [image_url(PNG, "image/png")]}),
            chunk({"content": ""}, "length"),
        ),
        [text("one of them"), RED],
        order_known=False,
        stop_reason="length",
    ),
    "a list of text and image, streamed": Shape(
        {"stream": "true"},
        CHAT,
        events(
            chunk({"content": "red"}),
            chunk({"content": ":"}),
            chunk({"content": [image_url(PNG, "image/png"), {"type": "text", "text": "bl"}]}),
            chunk({"content": "ue:"}),
            chunk({"content": [image_url(OTHER_PNG, "image/png")]}, "stop"),
        ),
        [text("red:"), RED, text("blue:"), BLUE],
    ),
    "bytes are believed, not what they are called": Shape(
        {},
        CHAT,
        answer(completion(choice({"content": [image_url(WAV, "image/png"), image_url(MP4, "a/b")]}))),
        [SOUND, CLIP],
    ),
    "thoughts are no part of the answer": Shape(
        {},
        CHAT,
        answer(
            completion(
                choice(
                    {
                        "reasoning_content": "hm",
                        "content": [
                            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                            {"type": "text", "text": "hi"},
                        ],
                    }
                )
            )
        ),
        [text("hi")],
        thoughts="hm",
    ),
    "texts of one answer": Shape(
        {}, CHAT, answer(completion(choice({"content": blocks("Pa", "ris")}))), [text("Paris")]
    ),
    "texts of one answer, with a blank between": Shape(
        {}, CHAT, answer(completion(choice({"content": blocks("in", " ", "Paris")}))), [text("in Paris")]
    ),
    "texts without objects": Shape(
        {}, CHAT, answer(completion(choice({"content": ["Pa", "ris"]}))), [text("Paris")]
    ),
    "texts around thoughts": Shape(
        {},
        CHAT,
        answer(
            completion(
                choice(
                    {
                        "content": [
                            {"type": "thinking", "thinking": "one"},
                            *blocks("Pa"),
                            {"type": "redacted_thinking", "data": "x"},
                            {"type": "thinking", "thinking": "two"},
                            *blocks("ris"),
                        ]
                    }
                )
            )
        ),
        [text("Paris")],
        thoughts="one\n\ntwo",
    ),
    "a block without a list": Shape(
        {}, CHAT, answer(completion(choice({"content": blocks("Paris")[0]}))), [text("Paris")]
    ),
    "Responses, texts of one answer": Shape(
        {"api": "responses"},
        "/responses",
        response(
            {
                "type": "reasoning",
                "summary": [
                    {"type": "summary_text", "text": "hm"},
                    {"type": "summary_text", "text": "so"},
                ],
            },
            said({"type": "output_text", "text": "Pa"}, {"type": "output_text", "text": "ris"}),
        ),
        [text("Paris")],
        thoughts="hm\n\nso",
    ),
    "Responses, thoughts in the text": Shape(
        {"api": "responses"},
        "/responses",
        response(said({"type": "output_text", "text": "<think>hm</think>Paris"})),
        [text("Paris")],
        thoughts="hm",
    ),
    "Responses, thoughts in full": Shape(
        {"api": "responses"},
        "/responses",
        response(
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
            said({"type": "output_text", "text": "Paris"}),
        ),
        [text("Paris")],
        thoughts="hm",
    ),
    **{
        f"thoughts in the text: {words!r}": Shape(
            {}, CHAT, answer(completion(choice({"content": words}))), [text("Paris")], thoughts="hm"
        )
        for words in (
            "<think>hm</think>Paris",
            "<think>\nhm\n</think>\n\nParis",
            "hm\n</think>\n\nParis",
            "[THINK]hm[/THINK]Paris",
            "<seed:think>hm</seed:think>Paris",
            "◁think▷hm◁/think▷Paris",
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Paris",
        )
    },
    **{
        f"thoughts in {name}": Shape(
            {},
            CHAT,
            answer(completion(choice({"content": "Paris", name: thoughts}))),
            [text("Paris")],
            thoughts="hm",
        )
        for name, thoughts in {
            "reasoning_content": "hm",
            "reasoning": "hm",
            "thinking_blocks": [{"type": "thinking", "thinking": "hm"}],
            "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
        }.items()
    },
    "thoughts and marks that are words": Shape(
        {},
        CHAT,
        answer(completion(choice({"content": "Write </think> then", "reasoning": "hm"}))),
        [text("Write </think> then")],
        thoughts="hm",
    ),
    "marks that are words": Shape(
        {},
        CHAT,
        answer(completion(choice({"content": "`<think>` and `</think>` are tags"}))),
        [text("`<think>` and `</think>` are tags")],
    ),
    "thoughts in the text, streamed": Shape(
        {"stream": "true"},
        CHAT,
        events(
            *[chunk({"content": bit}) for bit in ("<th", "ink>h", "m</thi", "nk>Pa", "ris")],
            chunk({}, "stop"),
        ),
        [text("Paris")],
        thoughts="hm",
    ),
    "thoughts apart, streamed": Shape(
        {"stream": "true"},
        CHAT,
        events(
            chunk({"reasoning_content": "h", "content": None}),
            chunk({"reasoning_content": "m", "content": ""}),
            chunk({"content": "Pa"}),
            chunk({"content": "ris"}, "stop"),
        ),
        [text("Paris")],
        thoughts="hm",
    ),
    "thoughts in blocks, streamed": Shape(
        {"stream": "true"},
        CHAT,
        events(
            chunk({"content": [{"type": "thinking", "thinking": blocks("h")}]}),
            chunk({"content": [{"type": "thinking", "thinking": blocks("m")}]}),
            chunk({"content": blocks("Pa")}),
            chunk({"content": "ris"}, "stop"),
        ),
        [text("Paris")],
        thoughts="hm",
    ),
}


@pytest.mark.parametrize("name", list(SHAPES))
def test_every_shape_gives_its_parts_in_order(name: str, tmp_path: Path) -> None:
    shape = SHAPES[name]
    with serve_shapes({f"POST {shape.path}": shape.reply}) as server:
        found = respond(server, tmp_path, **shape.arguments)
    assert found.error is None, found.error
    assert [seen(part) for part in found.parts] == shape.parts
    assert found.order_known is shape.order_known
    assert found.stop_reason == shape.stop_reason
    assert len(server.asked) == 1
    if shape.path in (CHAT, "/responses") and b"usage" in b"".join(
        piece for piece in shape.reply.pieces if isinstance(piece, bytes)
    ):
        assert found.usage == Usage(11, 7)
    expected = {"transcripts": shape.transcript and [shape.transcript], "thoughts": shape.thoughts}
    assert found.details == {name: detail for name, detail in expected.items() if detail is not None}
    assert 0 < (found.latency.total or 0) < 5
    modalities = {part.modality for part in found.parts}
    streamed = {f"first_{m}" for m in modalities} | {"first_token"}
    assert set(to_builtins(found.latency)) == {"total"} | (
        streamed if "stream" in shape.arguments else set()
    )


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("looks", [0, 3])
def test_a_clip_is_made_by_a_job(looks: int, tmp_path: Path) -> None:
    job = {"id": "video_1", "object": "video", "model": "tester", "progress": 0}
    routes = {
        "POST /videos": answer({**job, "status": "queued" if looks else "completed"}),
        "GET /videos/video_1": lambda asked: answer(
            {**job, "status": "completed" if asked.number == looks else "in_progress"}
        ),
        "GET /videos/video_1/content": binary(MP4, "video/mp4"),
    }
    with serve_shapes(routes) as server:
        found = respond(server, tmp_path, api="videos", seconds="4", video_size="1280x720")
    assert [seen(part) for part in found.parts] == [CLIP]
    assert found.error is None
    form = server.asked[0]
    assert form.headers["content-type"].startswith("multipart/form-data")
    for name, value in (
        ("model", "tester"),
        ("prompt", "hello"),
        ("seconds", "4"),
        ("size", "1280x720"),
    ):
        assert f'name="{name}"\r\n\r\n{value}\r\n'.encode() in form.raw
    assert [asked.path for asked in server.asked[1:]] == ["/videos/video_1"] * looks + [
        "/videos/video_1/content"
    ]


@pytest.mark.parametrize(
    "content",
    [
        "Image generation completed but no images were produced.",
        [{"type": "text", "text": "Image generation completed but no images were produced."}],
        None,
        "  ",
        [],
    ],
)
def test_nothing_is_an_empty_output(content: Any, tmp_path: Path) -> None:
    with serve_shapes({f"POST {CHAT}": answer(completion(choice({"content": content})))}) as server:
        found = respond(server, tmp_path, modalities="image")
    assert found.parts == ()
    assert found.error is not None
    assert found.error.kind == "empty_output"


CUT_THOUGHTS: dict[str, Sent] = {
    "in the text": answer(completion(choice({"content": "<think>The capital? It is Par"}, "length"))),
    "in a field": answer(
        completion(choice({"content": None, "reasoning_content": "The capital? It is Par"}, "length"))
    ),
    "in a field, and an empty text": answer(
        completion(choice({"content": "", "reasoning": "The capital? It is Par"}, "length"))
    ),
}


@pytest.mark.parametrize("name", CUT_THOUGHTS)
def test_thoughts_that_take_all_tokens_are_an_empty_output_that_says_so(
    name: str, tmp_path: Path
) -> None:
    with serve_shapes({f"POST {CHAT}": CUT_THOUGHTS[name]}) as server:
        found = respond(server, tmp_path)
    assert found.parts == ()
    assert found.error is not None
    assert found.error.kind == "empty_output"
    assert "its thoughts took all tokens (finish reason length, 7 tokens)" in found.error.message
    assert found.details == {"thoughts": "The capital? It is Par"}


def test_earlier_answers_are_shown_without_their_thoughts(cli: Cli, tmp_path: Path) -> None:
    turns = [{"parts": [{"modality": "text", "text": "And of Italy?"}]}]
    sample = {**text_sample("s0", "The capital of France?"), "turns": turns}
    make_task(tmp_path, samples=[sample])
    reply = answer(completion(choice({"content": "<think>hm</think>Paris"})))
    with serve_shapes({f"POST {CHAT}": reply}) as server:
        command = ["run", "--model", server.spec, "--tasks", "mine/demo", "--include", "mine"]
        done = cli(*command, "--json", "--out", "r")
        asked = [request.body["messages"] for request in server.asked]
    assert done.code == 0, done.err
    assert [m["content"] for m in asked[-1]] == ["The capital of France?", "Paris", "And of Italy?"]
    [row] = [json.loads(line) for line in (tmp_path / "r/mine/demo/records.jsonl").open()]
    assert row["details"] == {"thoughts": "hm", "turns": [{"thoughts": "hm"}]}


@pytest.mark.parametrize(
    ("arguments", "path", "reply"),
    [
        ({}, CHAT, answer(completion(choice({"content": None, "refusal": "I will not"})))),
        (
            {"stream": "true"},
            CHAT,
            events(chunk({"refusal": "I will"}), chunk({"refusal": " not"}, "stop")),
        ),
        (
            {"api": "responses"},
            "/responses",
            response(said({"type": "refusal", "refusal": "I will not"})),
        ),
    ],
)
def test_a_refusal_is_said_so(arguments: dict[str, str], path: str, reply: Sent, tmp_path: Path) -> None:
    with serve_shapes({f"POST {path}": reply}) as server:
        found = respond(server, tmp_path, **arguments)
    assert found.error is not None
    assert (found.error.kind, found.error.message) == ("refusal", "a refusal: I will not")


def audio_of(data: Any) -> dict[str, Any]:
    return {"content": "listen", "audio": {"data": data, "transcript": "x"}}


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no base64": (audio_of("%%%"), "no base64"),
    "sound without data": (audio_of(None), "no data"),
    "data that are no text": (audio_of(7), "no data"),
    "bytes that are no sound": (audio_of(b64(b"no sound at all")), "not a known audio format"),
    "sound that is cut": (audio_of(b64(WAV[:-100])), "truncated"),
    "an image that is cut": (
        {"content": "look", "images": [image_url(png(noise=1)[:-100], "image/png")]},
        "image",
    ),
    "an address that is empty": ({"content": "look", "images": [{"image_url": {"url": ""}}]}, "empty"),
    "a data URI in plain text": ({"content": "look", "images": ["data:image/svg+xml,<svg/>"]}, "base64"),
    "a part of an unknown type": (
        {"content": [{"type": "text", "text": "look"}, {"type": "hologram", "data": "aa"}]},
        "unknown type 'hologram'",
    ),
    "a part that is no object": ({"content": [{"type": "text", "text": "look"}, 7]}, "not an object"),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_broken_media_are_an_invalid_output_and_the_rest_is_kept(name: str, tmp_path: Path) -> None:
    message, words = BROKEN[name]
    with serve_shapes({f"POST {CHAT}": answer(completion(choice(message)))}) as server:
        found = respond(server, tmp_path, **AUDIO)
    assert found.error is not None
    assert found.error.kind == "invalid_output"
    assert words in found.error.message
    assert seen(found.parts[0]) in (text("listen"), text("look"))


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([b64(PCM)[:-3] + "%%%"], "no base64"),
        ([b64(PCM[:1001])], "half a sample"),
        ([b64(WAV), b64(wav(rate=8000))], "differ in rate"),
        ([b64(WAV), b64(WAV[:20])], "cannot be read"),
    ],
)
def test_broken_sound_in_a_stream(pieces: list[str], words: str, tmp_path: Path) -> None:
    chunks = [chunk({"content": "listen"}), *[chunk({"audio": {"data": p}}) for p in pieces]]
    with serve_shapes({f"POST {CHAT}": events(*chunks, chunk({}, "stop"))}) as server:
        found = respond(server, tmp_path, **STREAMED)
    assert found.error is not None
    assert found.error.kind == "invalid_output"
    assert words in found.error.message
    assert [seen(part) for part in found.parts] == [text("listen")]


def test_samples_that_begin_like_an_mp3_are_samples(tmp_path: Path) -> None:
    samples = b"\xff\xfb" + PCM[2:]
    with serve_shapes({"POST /audio/speech": binary(samples)}) as server:
        found = respond(server, tmp_path, api="speech", audio_format="pcm16")
    assert [seen(part) for part in found.parts] == [medium(wav_of(samples), "audio/wav")]


def test_the_first_token_is_timed_by_modality(tmp_path: Path) -> None:
    stream = events(
        0.1,
        chunk({"content": "good"}),
        0.2,
        chunk({"audio": {"data": b64(PCM)}}),
        0.1,
        chunk({}, "stop"),
    )
    with serve_shapes({f"POST {CHAT}": stream}) as server:
        latency = respond(server, tmp_path, **STREAMED).latency
    assert latency.first_text is not None
    assert latency.first_audio is not None
    assert latency.total is not None
    assert latency.first_token == latency.first_text
    assert 0.1 <= latency.first_text < latency.first_audio - 0.15
    assert latency.first_audio <= latency.total - 0.05


@pytest.mark.usefixtures("short_pauses")
def test_failed_tries_and_pauses_are_no_latency(tmp_path: Path) -> None:
    def route(asked: Any) -> Sent:
        good = completion(choice({"content": "hi"}))
        return Sent(503, "text/plain", [0.3, b"wait"]) if asked.number < 3 else answer(good)

    with serve_shapes({f"POST {CHAT}": route}) as server:
        found = respond(server, tmp_path)
    assert len(server.asked) == 3
    assert (found.latency.total or 1) < 0.3


def test_tokens_are_counted_once_for_each_reply(tmp_path: Path) -> None:
    spending = Spending()
    with serve_shapes({f"POST {CHAT}": SHAPES["sglang-omni"].reply}) as server:
        for _ in range(3):
            respond(server, tmp_path, spending=spending, **AUDIO)
    assert spending.tokens == Usage(3 * 11, 3 * 7)
    assert spending.calls == 3
    assert USAGE["prompt_tokens"] == 11


def test_a_run_records_parts_order_and_latency(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path, samples=[text_sample(f"s{i}") for i in range(3)])
    reply = SHAPES["vLLM-Omni, text and audio as two choices"].reply
    with serve_shapes({f"POST {CHAT}": reply}) as server:
        command = ["run", "--model", server.spec, "--tasks", "mine/demo", "--include", "mine"]
        done = cli(*command, "--model-arg", "modalities=text,audio", "--json", "--out", "r")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in (tmp_path / "r/mine/demo/records.jsonl").open()]
    assert [[part["modality"] for part in row["parts"]] for row in rows] == [["text", "audio"]] * 3
    assert not any(row["order_known"] for row in rows)
    assert len(list((tmp_path / "r/media").rglob("*.wav"))) == 1, "one medium is kept once"


FIELDS = [
    *("choices", "message", "content", "delta", "audio", "images", "data", "type", "text", "url"),
    *("image_url", "output", "usage", "finish_reason", "refusal", "modality", "transcript", "result"),
]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(FIELDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(JUNK, max_size=3), JUNK)
def test_no_reply_breaks_the_reading(junk: list[Any], one: Any) -> None:
    for raw in (one, {"choices": junk}, {"choices": [{"message": one}]}, {"output": junk}):
        with contextlib.suppress(ReplyError):
            assert isinstance(read_reply(raw, headerless=False), Content)
    fold = ChatFold(headerless=True)
    for event in ({"choices": junk}, {"choices": [{"delta": one}], "modality": one}):
        fold.add(event, 0.0)
    content = fold.content()
    assert all(p.modality in Modality for p in content.pieces)
