"""The answers of a server that refuses, and their effect on a run: the table of docs/servers.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from tests.support.helpers import mp4, png, wav
from tests.support.shapes_server import (
    LAST,
    Asked,
    Sent,
    answer,
    b64,
    binary,
    choice,
    chunk,
    completion,
    events,
    problem,
)

Effect = tuple[str, int]  # what the record says, and the exit code

STOPPED: Effect = ("none", 2)
PENDING: Effect = ("none", 4)
SCORED: Effect = ("scored", 0)


def failed(kind: str) -> Effect:
    return f"`{kind}`", 1


class Endpoint(NamedTuple):
    """An endpoint: the arguments that lead to it, the path that answers first, and its good replies."""

    arguments: dict[str, str]
    path: str
    good: dict[str, Sent]
    output: str
    media: bool
    """Whether it takes pictures."""


_CHAT = "POST /chat/completions"
_SAID = {"type": "message", "content": [{"type": "output_text", "text": "hi"}]}
_JOB = {
    "POST /videos": answer({"id": "v", "status": "completed"}),
    "GET /videos/v/content": binary(mp4()),
}

ENDPOINTS: dict[str, Endpoint] = {
    "chat": Endpoint({}, _CHAT, {_CHAT: answer(completion(choice({"content": "hi"})))}, "text", True),
    "stream": Endpoint(
        {"stream": "true"}, _CHAT, {_CHAT: events(chunk({"content": "hi"}, "stop"), LAST)}, "text", True
    ),
    "responses": Endpoint(
        {"api": "responses"},
        "POST /responses",
        {"POST /responses": answer({"status": "completed", "output": [_SAID]})},
        "text",
        True,
    ),
    "images": Endpoint(
        {"api": "images"},
        "POST /images/generations",
        {"POST /images/generations": answer({"data": [{"b64_json": b64(png())}]})},
        "image",
        False,
    ),
    "speech": Endpoint(
        {"api": "speech"}, "POST /audio/speech", {"POST /audio/speech": binary(wav())}, "audio", False
    ),
    "videos": Endpoint({"api": "videos"}, "POST /videos", _JOB, "video", True),
}


class Refused(NamedTuple):
    """A reply, its effect if all requests get it from the first one on, and if two of six samples get it
    when the other four are on record. With `media` the samples have a picture; at some `endpoints`
    only."""

    reply: Sent
    first: Effect
    later: Effect
    media: bool = False
    endpoints: tuple[str, ...] = tuple(ENDPOINTS)


_REFUSAL, _UNSUPPORTED = failed("refusal"), failed("unsupported_input")
_OF_THE_SAMPLE = failed("model_error")
_QUOTA = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}

REFUSED: dict[str, Refused] = {
    "401": Refused(problem(401), STOPPED, STOPPED),
    "402": Refused(problem(402, "Insufficient Balance"), STOPPED, STOPPED),
    "403": Refused(problem(403), STOPPED, STOPPED),
    "403 that names content or a policy": Refused(
        problem(403, "Your input was flagged for violence"), _REFUSAL, _REFUSAL
    ),
    "400, 403, 429 or 500 that names the key or the account": Refused(
        problem(400, "Your credit balance is too low"), STOPPED, STOPPED
    ),
    "400 that names the model": Refused(problem(400, "Invalid model name passed"), STOPPED, STOPPED),
    "400 that names content or a policy": Refused(
        answer({"error": {"message": "no", "code": "content_filter"}}, 400), _REFUSAL, _REFUSAL
    ),
    "400 that names a modality, for a sample that has media": Refused(
        problem(400, "at most 0 images may be provided"), _UNSUPPORTED, _UNSUPPORTED, media=True
    ),
    "400 that names a parameter": Refused(
        problem(400, "Unrecognized request argument: model_kwargs"), STOPPED, _OF_THE_SAMPLE
    ),
    "400, 405, 422 and the like": Refused(problem(422), STOPPED, _OF_THE_SAMPLE),
    "400 or 422, for samples that have media": Refused(problem(400), STOPPED, _UNSUPPORTED, media=True),
    "413 or 415, for samples that have media": Refused(
        problem(413), _UNSUPPORTED, _UNSUPPORTED, media=True
    ),
    "404, 410": Refused(problem(404, "The model `x` does not exist"), STOPPED, STOPPED),
    "404 that names a modality, for a sample that has media": Refused(
        problem(404, "no endpoint takes images"), _UNSUPPORTED, _UNSUPPORTED, media=True
    ),
    "3xx": Refused(Sent(307, "text/plain", [], {"location": "/v2"}), STOPPED, STOPPED),
    "408, 409, 425": Refused(problem(409), PENDING, PENDING),
    "429 with `insufficient_quota`": Refused(answer(_QUOTA, 429), STOPPED, STOPPED),
    "5xx": Refused(problem(503), PENDING, PENDING),
    "200 with an error of the server inside": Refused(
        answer({"error": {"message": "busy", "code": 502}}), PENDING, PENDING
    ),
    "200 with `error` beside the answer": Refused(
        answer({**completion(choice({"content": "Pa"})), "output": [_SAID], "error": {"message": "oh"}}),
        PENDING,
        PENDING,
    ),
    "200 with `finish_reason: error`": Refused(
        answer(completion({**choice({"content": "Pa"}, "error"), "error": {"message": "oh"}})),
        PENDING,
        PENDING,
        endpoints=("chat",),
    ),
    "200 with `status: failed`": Refused(
        answer({"object": "response", "status": "failed", "error": None, "output": [_SAID]}),
        PENDING,
        PENDING,
        endpoints=("responses",),
    ),
    "200 with an error that names the key or the account": Refused(answer(_QUOTA), STOPPED, STOPPED),
    "200 with an error that names content or a policy": Refused(
        answer({"error": {"message": "no", "code": "moderation_blocked"}}), _REFUSAL, _REFUSAL
    ),
}

# More replies of a row, each a way to say the same; the first endpoint alone is tried.
ALSO: dict[str, list[Sent]] = {
    "400, 403, 429 or 500 that names the key or the account": [
        answer([{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID"}}], 400),
        problem(400, "Authentication Error, No api key passed in."),
        problem(403, "Your account is suspended"),
        problem(500, "Insufficient Balance"),
        answer({"code": "Arrearage", "message": "Access denied."}, 400),
        Sent(400, "text/plain", [b"invalid api key"]),
    ],
    "400, 405, 422 and the like": [problem(400), problem(405), Sent(400, "text/html", [b"<b>no</b>"])],
    "413 or 415, for samples that have media": [problem(415)],
    "404, 410": [problem(404), problem(410), Sent(404, "text/html", [b"<b>no</b>"])],
    "408, 409, 425": [problem(408), problem(425)],
    "5xx": [problem(500), problem(529), Sent(502, "text/html", [b"<b>no</b>"])],
    "200 with an error of the server inside": [
        answer({"error": {"message": "oh"}}),
        answer({"error": "oh"}),
        answer({"base_resp": {"status_code": 1013, "status_msg": "unknown"}, "choices": None}),
    ],
    "200 with `finish_reason: error`": [
        answer(completion(choice({"content": "Pa"}, "error"))),
        answer(completion(choice({"content": "Pa"}, "abort"))),
        answer(completion({**choice({"content": "Pa"}), "error": {"code": 502, "message": "oh"}})),
        answer(completion({**choice({"content": None}, None), "error": {"code": 502}})),
    ],
}


def sample_of(asked: Asked) -> str:
    """The sample that a request is about."""
    match = re.search(rb"Question (s\d+)\?", asked.raw)
    assert match is not None
    return match[1].decode()


def refusing(
    endpoint: Endpoint, reply: Callable[[str], Sent | None]
) -> dict[str, Callable[[Asked], Sent]]:
    """Routes of a server with good replies, except to samples for which there is another."""

    def route(path: str) -> Callable[[Asked], Sent]:
        def answer_to(asked: Asked) -> Sent:
            refusal = reply(sample_of(asked)) if path == endpoint.path else None
            return refusal or endpoint.good[path]

        return answer_to

    return {path: route(path) for path in endpoint.good}
