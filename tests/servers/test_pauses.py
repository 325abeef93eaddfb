"""A server that says 429: what it asks for is read, and it is hardly asked until it answers again."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from eval_anything.errors import ServerError, UserError
from eval_anything.servers.chat import ChatClient, Reply, Server
from eval_anything.servers.limit import Limit
from eval_anything.servers.pauses import asked_pause
from tests.support.helpers import Cli, make_task, text_sample
from tests.support.scripted_server import Reply as Scripted
from tests.support.scripted_server import ScriptedServer, fails, raw, says, serve

NOW = 1_800_000_000

HEADERS: dict[str, tuple[dict[str, str], float | None]] = {
    "none": ({}, None),
    "seconds": ({"retry-after": "14"}, 14.0),
    "a part of a second": ({"retry-after": "0.25"}, 0.25),
    "with a unit": ({"retry-after": "14s"}, 14.0),
    "twice": ({"retry-after": "14, 14"}, 14.0),
    "zero": ({"retry-after": "0"}, 0.0),
    "hours": ({"retry-after": "7200"}, 7200.0),
    "milliseconds": ({"retry-after-ms": "1500"}, 1.5),
    "milliseconds win": ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
    "milliseconds of Azure": ({"x-ms-retry-after-ms": "1500"}, 1.5),
    "a date": ({"retry-after": formatdate(NOW + 14, usegmt=True), "date": formatdate(NOW)}, 14.0),
    "a date in the past": ({"retry-after": formatdate(NOW - 9), "date": formatdate(NOW)}, 0.0),
    "a date of tomorrow": ({"retry-after": formatdate(NOW + 86400), "date": formatdate(NOW)}, 86400.0),
    "a date of the next century": ({"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}, None),
    "less than nothing": ({"retry-after": "-5"}, None),
    "no number": ({"retry-after": "nan"}, None),
    "words": ({"retry-after": "soon"}, None),
    "empty": ({"retry-after": ""}, None),
}


@pytest.mark.parametrize("form", list(HEADERS))
def test_what_the_headers_ask_for(form: str) -> None:
    headers, seconds = HEADERS[form]
    assert asked_pause(headers) == seconds


def _ask(server: ScriptedServer, times: int, concurrency: int = 64) -> list[Any]:
    async def all_of_them() -> list[Any]:
        client = ChatClient(Server("tester", server.base_url), "judge j", concurrency, 5.0)
        try:
            asks = (client.ask([{"role": "user", "content": "hello"}]) for _ in range(times))
            return await asyncio.gather(*asks, return_exceptions=True)
        finally:
            await client.close()

    return asyncio.run(all_of_them())


def _refuses_for(seconds: float, **headers: str) -> Any:
    """A script that says 429 for so long after the first request, and counts the requests until then."""
    begun: list[float] = []

    def script(number: int, body: dict[str, Any]) -> Scripted:
        begun.append(time.monotonic())
        return fails(429, **headers) if begun[-1] < begun[0] + seconds else says("hi")

    return script


OUTAGES: dict[str, tuple[dict[str, str], int]] = {
    "no header": ({}, 6),
    "seconds": ({"retry-after": "14"}, 2),
    "milliseconds": ({"retry-after-ms": "14000"}, 2),
    "zero": ({"retry-after": "0"}, 6),
    "milliseconds zero": ({"retry-after-ms": "0"}, 6),
    "one second": ({"retry-after": "1"}, 15),
    "a past date": ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 6),
}


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("form", list(OUTAGES))
def test_a_server_that_refuses_for_a_while_is_hardly_asked(form: str) -> None:
    """64 samples, 14 s of 429 (here a twentieth of them): the first 64, then one request at a time."""
    headers, most_more = OUTAGES[form]
    with serve(_refuses_for(14 / 20, **headers)) as server:
        replies = _ask(server, 64)
    assert all(isinstance(reply, Reply) for reply in replies), replies
    refused = len(server.bodies) - 64
    assert 64 <= refused <= 64 + most_more


@pytest.mark.usefixtures("short_pauses")
def test_the_pace_comes_back_after_a_pause() -> None:
    """After the first answer the limit doubles each round: 64 requests of 50 ms are not sent singly."""

    at_once: list[int] = []

    def slow(handler: Any) -> None:
        at_once.append(handler.server._at_once)
        time.sleep(0.05)
        says("hi")(handler)

    with serve(lambda n, body: fails(429) if n <= 64 else slow) as server:
        replies = _ask(server, 64)
    assert all(isinstance(reply, Reply) for reply in replies)
    assert at_once[0] == 1
    assert max(at_once) >= 8


@pytest.mark.usefixtures("short_pauses")
def test_one_request_that_is_always_refused_holds_up_no_other() -> None:
    def script(number: int, body: dict[str, Any]) -> Scripted:
        return fails(429) if number == 1 else says("hi")

    with serve(script) as server:
        replies = _ask(server, 40)
    assert all(isinstance(reply, Reply) for reply in replies)
    assert len(server.bodies) == 41


@pytest.mark.parametrize(
    "header", ["3600", formatdate(time.time() + 7200, usegmt=True)], ids=["seconds", "date"]
)
@pytest.mark.parametrize("samples", [3, 64])
def test_hours_end_the_run_as_pending(header: str, samples: int, cli: Cli, tmp_path: Path) -> None:
    """At once, with a message; the same command goes on."""
    make_task(tmp_path, samples=[text_sample(f"s{i}", f"Q{i}?") for i in range(samples)])
    refusing = True

    def script(number: int, body: dict[str, Any]) -> Scripted:
        return fails(429, "daily quota", retry_after=header) if refusing else says("Paris")

    with serve(script) as server:
        command = ["run", "--model", server.spec(), "--tasks", "mine/demo", "--include", "mine"]
        start = time.monotonic()
        ended = cli(*command, "--out", "run")
        assert ended.code == 4
        assert time.monotonic() - start < 5
        assert len(server.bodies) <= samples
        assert "asks for a pause of" in ended.err
        assert "daily quota" in ended.err
        records = tmp_path / "run" / "mine" / "demo" / "records.jsonl"
        assert not records.exists() or records.read_bytes() == b""
        refusing = False
        assert cli(*command, "--out", "run").code == 0


def test_a_maintenance_of_hours_ends_too() -> None:
    with serve(lambda number, body: fails(503, retry_after="7200")) as server:
        [error] = _ask(server, 1)
    assert isinstance(error, ServerError)
    assert "asks for a pause of 2.0 hours" in str(error)
    assert len(server.bodies) == 1


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("json", [(), ("--json",)])
def test_the_terminal_says_that_the_server_asks_for_a_pause(
    json: tuple[str, ...], cli: Cli, tmp_path: Path
) -> None:
    make_task(tmp_path, samples=[text_sample(f"s{i}", f"Q{i}?") for i in range(8)])

    def script(number: int, body: dict[str, Any]) -> Scripted:
        return fails(429, "too fast", retry_after="14") if number <= 8 else says("Paris")

    with serve(script) as server:
        command = ["run", "--model", server.spec(), "--tasks", "mine/demo", "--include", "mine", *json]
        done = cli(*command)
    assert done.code == 0, done.err
    lines = [line for line in done.err.splitlines() if "asks for a pause" in line]
    assert lines == [
        f"--model {server.spec()}: the server asks for a pause (rate-limited: too fast): waiting 14 s"
    ], "one line for all requests that wait"


QUOTA = b'{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}'


@pytest.mark.parametrize(
    "body", [QUOTA, b'{"error": {"message": "OpenAIError: insufficient_quota: pay", "code": "429"}}']
)
def test_an_account_without_quota_is_no_pause(body: bytes) -> None:
    with serve(lambda number, _: raw(body, status=429)) as server:
        [error] = _ask(server, 1)
    assert isinstance(error, UserError)
    assert "quota" in str(error)
    assert len(server.bodies) == 1


def test_a_limit_halves_if_some_are_answered_and_starts_anew_if_none_is() -> None:
    limit = Limit(64)
    begun = time.monotonic()
    limit.speed_up()
    limit.slow_down(begun)
    assert (limit.allowed, limit.refusals) == (32, 1)
    limit.slow_down(begun)
    assert (limit.allowed, limit.refusals) == (32, 1), "it was under way with the one before"
    limit.slow_down(time.monotonic())
    assert (limit.allowed, limit.refusals) == (1, 2)
    for _ in range(15):
        limit.speed_up()
    assert (limit.allowed, limit.refusals) == (16, 0), "up to half of the former height it doubles"
    limit.speed_up()
    assert limit.allowed == 16
