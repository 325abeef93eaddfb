"""Tokens of a request: as the server reports them in any form, else an estimate that says so."""

from __future__ import annotations

from typing import Any

import pytest

from eval_anything.content import Usage
from eval_anything.servers.usage import (
    RECEIVED_MEDIUM,
    SENT_MEDIUM,
    ReceivedTokens,
    counted,
    sent_tokens,
    tokens_of_text,
)


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        ({"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}, Usage(11, 7)),
        ({"input_tokens": 11, "output_tokens": 7}, Usage(11, 7)),
        ({"prompt_tokens": 11.0, "completion_tokens": "7"}, Usage(11, 7)),
        ({"prompt_tokens": 10.2, "completion_tokens": 6.5}, Usage(11, 7)),
        ({"prompt_tokens": 11}, Usage(11, 5, True)),
        ({"prompt_tokens": 11, "completion_tokens": 0}, Usage(11, 5, True)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage(9, 5, True)),
        ({"total_tokens": 18}, Usage(9, 9, True)),
        ({"total_tokens": 18.0, "completion_tokens": 7}, Usage(11, 7, True)),
        ({"total_tokens": 4}, Usage(4, 0, True)),
        ({"prompt_tokens": -3, "completion_tokens": float("nan")}, Usage(9, 5, True)),
        ({"prompt_tokens": True, "completion_tokens": "many"}, Usage(9, 5, True)),
        ({"prompt_tokens": 1e300, "completion_tokens": float("inf")}, Usage(9, 5, True)),
        ({"prompt_tokens": 10**400, "completion_tokens": [7]}, Usage(9, 5, True)),
        ({}, Usage(9, 5, True)),
        (None, Usage(9, 5, True)),
        ("11", Usage(9, 5, True)),
        ([11, 7], Usage(9, 5, True)),
    ],
)
def test_reported_usage(reported: Any, usage: Usage) -> None:
    assert counted(reported, sent=9, received=5) == usage


def test_an_answer_without_content_may_have_no_tokens() -> None:
    assert counted({"prompt_tokens": 11, "completion_tokens": 0}, 9, 0) == Usage(11, 0)


def test_a_sum_of_estimates_is_one() -> None:
    assert Usage(1, 2) + Usage(3, 4, True) == Usage(4, 6, True)
    assert Usage(1, 2) + Usage(3, 4) == Usage(4, 6)


def test_text_is_counted_by_characters() -> None:
    assert tokens_of_text("x" * 400) == 100
    assert tokens_of_text("é" * 400) == 100
    assert tokens_of_text("日本" * 50) == 100


def test_media_that_are_sent() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 10_000, "format": "wav"}}
    words = {"type": "text", "text": "x" * 40}
    body = {"model": "m", "messages": [{"role": "user", "content": [words, picture, sound]}]}
    assert sent_tokens(body) == 10 + 2 * SENT_MEDIUM
    assert sent_tokens({"prompt": "x" * 40}, files=1) == 10 + SENT_MEDIUM


def received(*replies: Any) -> int:
    counter = ReceivedTokens()
    for reply in replies:
        counter.add(reply)
    return counter.tokens


@pytest.mark.parametrize(
    ("reply", "tokens"),
    [
        ({"choices": [{"message": {"content": "x" * 40}}]}, 10),
        ({"choices": [{"message": {"content": "x" * 40, "reasoning_content": "y" * 40}}]}, 20),
        ({"choices": [{"message": {"content": [{"type": "text", "text": "x" * 40}]}}]}, 10),
        (
            {"choices": [{"message": {"audio": {"data": "AAAA", "transcript": "x" * 8}}}]},
            RECEIVED_MEDIUM + 2,
        ),
        ({"choices": [{"message": {"images": [{"image_url": {"url": "data:x"}}]}}]}, RECEIVED_MEDIUM),
        ({"data": [{"b64_json": "AAAA", "url": None}]}, RECEIVED_MEDIUM),
        ({"output": [{"type": "message", "id": "msg", "content": [{"text": "x" * 40}]}]}, 10),
        ({"output": [{"type": "image_generation_call", "result": "AAAA"}]}, RECEIVED_MEDIUM),
        ({"choices": [], "id": "x" * 400}, 0),
        ([1], 0),
        (None, 0),
    ],
)  # fmt: skip
def test_what_is_received(reply: Any, tokens: int) -> None:
    assert received(reply) == tokens


def test_the_events_of_a_stream() -> None:
    texts = [{"choices": [{"delta": {"content": "x"}}]} for _ in range(40)]
    sounds = [{"choices": [{"delta": {"audio": {"data": "AAAA"}}}]} for _ in range(9)]
    omni = [{"modality": "audio", "choices": [{"delta": {"content": "AAAA"}}]} for _ in range(9)]
    assert received(*texts, *sounds, *omni) == 10 + RECEIVED_MEDIUM
