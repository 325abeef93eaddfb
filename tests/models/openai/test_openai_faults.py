"""Models on OpenAI-compatible servers that fail: whose failure it is, at every endpoint; and what
such a model never does: fetch an address or read a file because a reply names it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval_anything.content import Response, Usage
from eval_anything.errors import ServerError, UserError
from eval_anything.servers import replies as bodies
from eval_anything.servers.prices import BudgetError, Spending
from eval_anything.servers.trial import EarlyRefusalError
from tests.support.helpers import mp4, png, wav
from tests.support.shapes_server import (
    CUT,
    LAST,
    Asked,
    Route,
    Sent,
    ShapesServer,
    answer,
    b64,
    binary,
    choice,
    chunk,
    completion,
    events,
    problem,
    respond,
    serve_shapes,
)

pytestmark = pytest.mark.usefixtures("short_pauses")

CHAT = "POST /chat/completions"
STREAM = {"stream": "true"}
GOOD_CHAT = answer(completion(choice({"content": "hi"})))
GOOD_STREAM = events(chunk({"content": "hi"}, "stop"), LAST)
JOB = answer({"id": "v", "status": "completed"})

# Each endpoint: the choices that lead to it, its paths with good replies, the path that is to fail.
ENDPOINTS: dict[str, tuple[dict[str, str], dict[str, Sent], str]] = {
    "chat": ({}, {CHAT: GOOD_CHAT}, CHAT),
    "stream": (STREAM, {CHAT: GOOD_STREAM}, CHAT),
    "responses": (
        {"api": "responses"},
        {
            "POST /responses": answer(
                {
                    "status": "completed",
                    "output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}],
                }
            )
        },
        "POST /responses",
    ),
    "images": (
        {"api": "images"},
        {"POST /images/generations": answer({"data": [{"b64_json": b64(png())}]})},
        "POST /images/generations",
    ),
    "speech": ({"api": "speech"}, {"POST /audio/speech": binary(wav())}, "POST /audio/speech"),
    "videos, begun": (
        {"api": "videos"},
        {"POST /videos": JOB, "GET /videos/v/content": binary(mp4())},
        "POST /videos",
    ),
    "videos, looked at": (
        {"api": "videos"},
        {
            "POST /videos": answer({"id": "v", "status": "queued"}),
            "GET /videos/v": JOB,
            "GET /videos/v/content": binary(mp4()),
        },
        "GET /videos/v",
    ),
    "videos, taken": (
        {"api": "videos"},
        {"POST /videos": JOB, "GET /videos/v/content": binary(mp4())},
        "GET /videos/v/content",
    ),
}

PASSING: dict[str, Sent] = {
    "429": problem(429),
    "429 with retry-after": problem(429, retry_after="1"),
    "500": problem(500),
    "a page of a proxy": Sent(502, "text/html", [b"<html>bad gateway</html>"]),
    "cut in its middle": Sent(200, "application/json", [b'{"choices": [{"ind', CUT]),
    "an answer that drips in": Sent(200, "application/json", [b"{", *[b" ", 0.1] * 30]),
    "an error with status 200": answer({"error": {"message": "busy", "code": 503}}),
}


def with_fault(name: str, fault: Sent, times: float) -> tuple[dict[str, str], dict[str, Route | Sent]]:
    """The choices for an endpoint, and its routes with one that fails at first."""
    arguments, good, path = ENDPOINTS[name]

    def route(asked: Asked) -> Sent:
        return fault if asked.number <= times else good[path]

    return {**arguments, "timeout": "0.7"}, {**good, path: route}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (name, fault)
        for name in ENDPOINTS
        for fault in PASSING
        # this one takes its time
        if fault != "an answer that drips in" or name in ("chat", "stream", "videos, taken")
    ],
)
def test_a_passing_fault_is_tried_again(name: str, fault: str, tmp_path: Path) -> None:
    arguments, routes = with_fault(name, PASSING[fault], times=1)
    with serve_shapes(routes) as server:
        found = respond(server, tmp_path, **arguments)
    assert found.error is None, found.error
    assert len(found.parts) == 1
    assert len(server.asked) == 1 + len(ENDPOINTS[name][1])


@pytest.mark.parametrize("name", list(ENDPOINTS))
def test_a_lasting_fault_is_the_servers(name: str, tmp_path: Path) -> None:
    arguments, routes = with_fault(name, PASSING["500"], times=99)
    with serve_shapes(routes) as server, pytest.raises(ServerError, match=r"--model .*500, 4 times"):
        respond(server, tmp_path, **arguments)


@pytest.mark.parametrize("name", list(ENDPOINTS))
def test_a_refused_key_stops_at_once(name: str, tmp_path: Path) -> None:
    arguments, routes = with_fault(name, problem(401), times=99)
    with serve_shapes(routes) as server, pytest.raises(UserError, match="OPENAI_API_KEY"):
        respond(server, tmp_path, **arguments)


@pytest.mark.parametrize("name", [name for name in ENDPOINTS if "," not in name])
def test_a_model_or_endpoint_that_is_not_there_stops_at_once(name: str, tmp_path: Path) -> None:
    with serve_shapes({}) as server, pytest.raises(UserError, match="no model 'tester', or no /"):
        respond(server, tmp_path, **ENDPOINTS[name][0])
    assert len(server.asked) == 1


def failure(server: ShapesServer, folder: Path, **arguments: str) -> tuple[str, str]:
    found: Response = respond(server, folder, **arguments)
    assert found.error is not None
    return found.error.kind, found.error.message


@pytest.mark.parametrize("name", list(ENDPOINTS))
def test_a_refusal_by_a_policy_is_of_that_sample_alone(name: str, tmp_path: Path) -> None:
    arguments, routes = with_fault(name, problem(400, "against our policy"), times=99)
    with serve_shapes(routes) as server:
        kind, message = failure(server, tmp_path, **arguments)
    assert (kind, message) == ("refusal", "the server answered 400: against our policy")


@pytest.mark.parametrize("name", [name for name in ENDPOINTS if "," not in name or "begun" in name])
def test_a_bad_request_may_be_that_of_all_samples(name: str, tmp_path: Path) -> None:
    arguments, routes = with_fault(name, problem(400, "no"), times=99)
    with serve_shapes(routes) as server, pytest.raises(EarlyRefusalError, match="answered 400: no") as e:
        respond(server, tmp_path, **arguments)
    assert e.value.failure.kind == "model_error"


POLICY = {"message": "against our policy", "code": "moderation_blocked"}


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("chat", answer({"error": {**POLICY, "code": 400}})),
        ("chat", answer({"answer": "hi"})),
        ("chat", answer(["hi"])),
        ("chat", answer(completion(choice({"content": "x" * 10_000_000})))),
        ("chat", GOOD_STREAM),
        ("stream", GOOD_CHAT),
        ("stream", events(chunk({"content": "x" * 3_000_000}, "stop"))),
        ("responses", answer({"status": "failed", "error": POLICY, "output": []})),
        ("images", answer({"error": POLICY})),
        ("speech", answer({"error": POLICY})),
        ("speech", answer({"audio": "elsewhere"})),
        ("videos, begun", answer({"status": "queued"})),
        ("videos, begun", answer({"id": "../../secrets", "status": "queued"})),
        ("videos, looked at", answer({"id": "v", "status": "failed", "error": POLICY})),
        ("videos, looked at", answer({"id": "v", "status": "cancelled"})),
    ],
)
def test_a_useless_reply_is_of_that_sample_alone(name: str, fault: Sent, tmp_path: Path) -> None:
    arguments, routes = with_fault(name, fault, times=99)
    with serve_shapes(routes) as server:
        kind, message = failure(server, tmp_path, **arguments)
    refused = b"policy" in fault.pieces[0]
    assert kind == ("refusal" if refused else "model_error")
    if refused:
        assert "against our policy" in message
    assert len(server.asked) <= 2, "what is useless is not asked for again"


CUT_STREAMS: dict[str, Sent] = {
    "the connection breaks": events(chunk({"content": "h"}), 0.05, CUT, done=False),
    "it ends too early": events(chunk({"content": "h"}), done=False),
    "an event is cut": events(chunk({"content": "h"}), 'data: {"choices": [{"del', done=False),
    "an event is no JSON": events("data: oops\n\n"),
    "an event is no object": events("data: [1]\n\n"),
    "an error of the server": events(
        chunk({"content": "h"}), {"error": {"message": "out of memory", "code": 500}}
    ),
    "an error without a code": events({"error": {"message": "oh"}}),
    "OpenAI's error": events('event: error\ndata: {"type": "error", "code": "server_error"}\n\n'),
    "a rate limit": events({"error": {"message": "wait", "type": "rate_limit_error", "code": None}}),
    "it stalls": events(chunk({"content": "h"}), 1.5, chunk({"content": "i"}, "stop")),
}


@pytest.mark.parametrize("name", list(CUT_STREAMS))
def test_a_stream_that_is_cut_is_asked_for_again(name: str, tmp_path: Path) -> None:
    route: Route = lambda asked: CUT_STREAMS[name] if asked.number == 1 else GOOD_STREAM  # noqa: E731
    with serve_shapes({CHAT: route}) as server:
        found = respond(server, tmp_path, stream="true", timeout="0.7")
    assert found.error is None, found.error
    assert found.text == "hi", "nothing of the first try is left"
    assert len(server.asked) == 2


def test_a_stream_that_is_always_cut_is_the_servers_failure(tmp_path: Path) -> None:
    fault = CUT_STREAMS["it ends too early"]
    with serve_shapes({CHAT: fault}) as server, pytest.raises(ServerError, match="cut, 4 times"):
        respond(server, tmp_path, **STREAM)


def test_an_error_amid_a_stream_that_is_of_the_request(tmp_path: Path) -> None:
    error = {"error": {"message": "too long", "type": "BadRequestError", "code": 400}}
    with serve_shapes({CHAT: events(chunk({"content": "h"}), error)}) as server:
        kind, message = failure(server, tmp_path, **STREAM)
    assert kind == "model_error"
    assert "too long" in message
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "stream",
    [
        events(chunk({"content": "hi"}, "stop"), done=False),
        events(chunk({"content": "hi"})),
        events(": x\n\n", 'event: x\r\ndata: {"choices": []}\r\n\r\n', chunk({"content": "hi"})),
        Sent(200, "text/event-stream", [bytes([b]) for piece in GOOD_STREAM.pieces for b in piece]),
    ],
)  # fmt: skip
def test_streams_that_are_good(stream: Sent, tmp_path: Path) -> None:
    with serve_shapes({CHAT: stream}) as server:
        found = respond(server, tmp_path, **STREAM)
    assert found.text == "hi"
    assert len(server.asked) == 1


@pytest.mark.parametrize("name", ["chat", "stream", "speech", "videos, taken"])
def test_a_reply_without_end_is_not_read_to_its_end(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_LARGEST_BODY", 4 * 2**20)
    kind = {"chat": "application/json", "stream": "text/event-stream"}.get(name, "audio/wav")
    flood: Any = itertools.repeat(b" " * 65536)
    arguments, routes = with_fault(name, Sent(200, kind, flood), times=99)
    with serve_shapes(routes) as server:
        assert failure(server, tmp_path, **{**arguments, "timeout": "20"}) == (
            "model_error",
            "a reply of more than 4 MB",
        )


def test_a_job_that_never_ends_is_left_for_another_day(tmp_path: Path) -> None:
    routes = {
        "POST /videos": answer({"id": "v", "status": "queued"}),
        "GET /videos/v": answer({"id": "v", "status": "in_progress"}),
    }
    begun = time.monotonic()
    with serve_shapes(routes) as server, pytest.raises(ServerError, match=r"more than 0\.3 s"):
        respond(server, tmp_path, api="videos", wait="0.3")
    assert time.monotonic() - begun < 5


def test_a_spent_budget_begins_nothing_and_ends_what_is_paid(tmp_path: Path) -> None:
    spending = Spending(1.0)
    routes: dict[str, Route | Sent] = dict(ENDPOINTS["videos, looked at"][1])

    def begin(asked: Asked) -> Sent:
        spending.add_earlier("gpt-4o", 1, Usage(output=10**6))
        return answer({"id": "v", "status": "queued"})

    routes["POST /videos"] = begin
    with serve_shapes(routes) as server:
        assert len(respond(server, tmp_path, spending=spending, api="videos").parts) == 1
        with pytest.raises(BudgetError):
            respond(server, tmp_path, spending=spending, api="videos")
    assert sum(asked.method == "POST" for asked in server.asked) == 1


# --- addresses -----------------------------------------------------------------------------------


@pytest.fixture
def elsewhere() -> Iterator[ShapesServer]:
    """Another server, which has an image."""
    routes = {
        "GET /red.png": binary(png(), "text/plain"),
        "GET /away.png": Sent(302, "text/plain", [], {"location": "/red.png"}),
        "GET /gone.png": problem(404),
    }
    with serve_shapes(routes) as server:
        yield server


def at(address: str) -> dict[str, tuple[dict[str, str], str, Sent]]:
    """Replies that name an address, by the field that does."""
    url = {"type": "image_url", "image_url": {"url": address}}
    message = {"content": "look", "images": [url]}
    stream = events(chunk({"content": "look"}), chunk({"images": [url]}, "stop"))
    return {
        "images": ({"api": "images"}, "POST /images/generations", answer({"data": [{"url": address}]})),
        "file_path": (
            {"api": "images"},
            "POST /images/generations",
            answer({"data": [{"file_path": address}]}),
        ),
        "content": ({}, CHAT, answer(completion(choice({"content": [url]})))),
        "message.images": ({}, CHAT, answer(completion(choice(message)))),
        "delta.images": (STREAM, CHAT, stream),
    }


@pytest.mark.parametrize("field", list(at("")))
def test_no_address_of_a_reply_is_fetched(field: str, elsewhere: ShapesServer, tmp_path: Path) -> None:
    arguments, path, reply = at(f"http://{elsewhere.host}/red.png")[field]
    with serve_shapes({path: reply}) as server:
        kind, message = failure(server, tmp_path, **arguments)
        failure(server, tmp_path, **arguments, allow_hosts="localhost,example.org,127.0.0.1:1")
    assert elsewhere.asked == []
    assert kind == "invalid_output"
    assert "allow_hosts=127.0.0.1" in message


@pytest.mark.parametrize("allowed", ["127.0.0.1", "other, {host}"])
@pytest.mark.parametrize("field", list(at("")))
def test_an_address_is_fetched_if_its_host_is_allowed(
    field: str,
    allowed: str,
    elsewhere: ShapesServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("OPENAI_ORG_ID", "secret")
    arguments, path, reply = at(f"http://{elsewhere.host}/red.png")[field]
    hosts = allowed.format(host=elsewhere.host)
    with serve_shapes({path: reply}) as server:
        found = respond(server, tmp_path, **arguments, allow_hosts=hosts)
    assert found.error is None, found.error
    assert found.parts[-1].path.read_bytes() == png()
    assert found.parts[-1].mime == "image/png"
    assert "Bearer secret" in server.asked[0].headers["authorization"]
    [asked] = elsewhere.asked
    assert not any("secret" in value for value in asked.headers.values())


@pytest.mark.parametrize("name", ["away.png", "gone.png"], ids=["that sends on", "with nothing there"])
def test_an_allowed_address_that_has_no_image(
    name: str, elsewhere: ShapesServer, tmp_path: Path
) -> None:
    arguments, path, reply = at(f"http://{elsewhere.host}/{name}")["images"]
    with serve_shapes({path: reply}) as server:
        kind, message = failure(server, tmp_path, **arguments, allow_hosts="127.0.0.1")
    assert kind == "invalid_output"
    assert f"{name} answered" in message
    assert len(elsewhere.asked) == 1


@pytest.mark.parametrize("form", ["{}", "file://{}"])
@pytest.mark.parametrize("field", list(at("")))
def test_no_file_that_a_reply_names_is_read(field: str, form: str, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(png())
    arguments, path, reply = at(form.format(tmp_path / "red.png"))[field]
    with serve_shapes({path: reply}) as server:
        kind, message = failure(server, tmp_path, **arguments, allow_hosts="localhost")
    assert kind == "invalid_output"
    assert "a file of the server" in message
    assert not list((tmp_path / "media").rglob("*.png"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_server_sends_on_to_another(status: int, elsewhere: ShapesServer, tmp_path: Path) -> None:
    away = Sent(status, "text/plain", [], {"location": f"http://{elsewhere.host}/v1/red.png"})
    with serve_shapes({CHAT: away}) as server, pytest.raises(UserError, match="sends on to http"):
        respond(server, tmp_path, allow_hosts="127.0.0.1")
    routes = {"POST /videos": JOB, "GET /videos/v/content": away}
    with serve_shapes(routes) as server:
        assert failure(server, tmp_path, api="videos")[0] == "model_error"
    assert elsewhere.asked == []
