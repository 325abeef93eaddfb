"""The chat client against a real server: good replies, every fault, rate limits, keys."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from eval_anything.content import Usage
from eval_anything.errors import ServerError, UserError
from eval_anything.servers.chat import ChatClient, Reply, ReplyError, Server, parse_server
from tests.support.helpers import Cli, make_task, text_sample
from tests.support.scripted_server import Reply as Scripted
from tests.support.scripted_server import (
    completion,
    drips,
    fails,
    raw,
    resets,
    says,
    serve,
    stalls,
    streams,
)

pytestmark = pytest.mark.usefixtures("short_pauses")

MESSAGES = [{"role": "user", "content": "hello"}]


def _ask(base_url: str, times: int = 1, concurrency: int = 64, timeout: float = 5.0) -> list[Any]:
    """What `times` requests at once give: replies, or the errors that they end with."""

    async def all_of_them() -> list[Any]:
        client = ChatClient(Server("tester", base_url), "judge j", concurrency, timeout)
        try:
            asks = (client.ask(MESSAGES) for _ in range(times))
            return await asyncio.gather(*asks, return_exceptions=True)
        finally:
            await client.close()

    return asyncio.run(all_of_them())


def test_a_good_reply() -> None:
    with serve(lambda number, body: says("hi")) as server:
        [reply] = _ask(server.base_url)
    assert reply == Reply("hi", "stop", Usage(11, 7))
    assert server.bodies[0]["messages"] == MESSAGES


def _says(message: dict[str, Any], **more: Any) -> Scripted:
    return raw(completion({"role": "assistant", **message}, **more))


TEXTS = [{"type": "text", "text": "Pa"}, {"type": "text", "text": "ris"}]
READ: dict[str, tuple[Scripted, str]] = {
    "blocks of text": (_says({"content": TEXTS}), ""),
    "one block": (_says({"content": {"type": "text", "text": "Paris"}}), ""),
    "texts of the Responses API": (_says({"content": [{"type": "output_text", "text": "Paris"}]}), ""),
    "a block of thoughts": (_says({"content": [{"type": "thinking", "thinking": "hm"}, *TEXTS]}), "hm"),
    "thoughts apart": (_says({"content": "Paris", "reasoning_content": "hm"}), "hm"),
    "thoughts in the text": (_says({"content": "<think>hm</think>Paris"}), "hm"),
    "no refusal": (_says({"content": "Paris", "refusal": None}), ""),
    "false for no refusal": (_says({"content": "Paris", "refusal": False}), ""),
    "an empty refusal": (_says({"content": "Paris", "refusal": ""}), ""),
    "tokens as floats": (
        _says({"content": "Paris"}, usage={"prompt_tokens": 11.0, "completion_tokens": 7.0}),
        "",
    ),
    "tokens as texts": (
        _says({"content": "Paris"}, usage={"prompt_tokens": "11", "completion_tokens": "7"}),
        "",
    ),
    "tokens of the Responses API": (
        _says({"content": "Paris"}, usage={"input_tokens": 11, "output_tokens": 7}),
        "",
    ),
    "other fields of other types": (
        _says({"content": "Paris", "tool_calls": {}, "audio": "x"}, system_fingerprint=3, created="x"),
        "",
    ),
}


@pytest.mark.parametrize("case", READ)
def test_every_shape_of_a_good_reply_is_read(case: str) -> None:
    script, thoughts = READ[case]
    with serve(lambda number, body: script) as server:
        [reply] = _ask(server.base_url)
    assert reply == Reply("Paris", "stop", Usage(11, 7), thoughts)


@pytest.mark.parametrize(
    "usage",
    [
        *(None, [], {}, "many", {"prompt_tokens": -1}),
        {"prompt_tokens": None, "completion_tokens": "many"},
        {"prompt_tokens": {}, "completion_tokens": True},
    ],
)
def test_tokens_that_are_no_numbers_throw_no_reply_away(usage: Any) -> None:
    with serve(lambda number, body: _says({"content": "Paris"}, usage=usage)) as server:
        [reply] = _ask(server.base_url)
    assert reply.text == "Paris"


ONCE: dict[str, Scripted] = {
    "429": fails(429),
    "429 with retry-after": fails(429, retry_after="1"),
    "429 with a senseless retry-after": fails(429, retry_after="Wed, 21 Oct 2099 07:28:00 GMT"),
    "500": fails(500),
    "503 with retry-after": fails(503, retry_after="1"),
    "reset in mid-body": resets,
    "stall": stalls(1.5),
    "truncated JSON": raw(b'{"choices": [{"index": 0, "mess'),
    "an HTML page of a proxy": raw(b"<html>bad gateway</html>", "text/html", 502),
    "an HTML page that claims success": raw(b"<html>soon back</html>", "text/html"),
    "JSON nested too deeply": raw(b"[" * 100_000),
    "an answer that drips in": drips(3.0),
}


@pytest.mark.parametrize("fault", list(ONCE))
def test_a_passing_fault_is_tried_again(fault: str) -> None:
    with serve(lambda number, body: ONCE[fault] if number == 1 else says("hi")) as server:
        [reply] = _ask(server.base_url, timeout=0.5)
    assert isinstance(reply, Reply), reply
    assert len(server.bodies) == 2


@pytest.mark.slow
@pytest.mark.parametrize("fault", [f for f in ONCE if not f.startswith("429")])
def test_a_lasting_fault_is_the_servers(fault: str) -> None:
    with serve(lambda number, body: ONCE[fault]) as server:
        [error] = _ask(server.base_url, timeout=0.5)
    assert isinstance(error, ServerError), error
    assert "judge j" in str(error)
    assert len(server.bodies) == 4, "tries are bounded"


USELESS: dict[str, Scripted] = {
    "no choices": raw(completion(None, choices=[])),
    "empty text": says("  "),
    "no message": raw(completion(None)),
    "a refusal": raw(completion({"role": "assistant", "content": None, "refusal": "I will not"})),
    "10 MB": says("x" * 10_000_000),
    "another schema": raw(b'{"answer": "hi"}'),
    "a list": raw(b"[1, 2]"),
    "a bad request": fails(400),
    "streaming only": streams("hi"),
}


@pytest.mark.parametrize("fault", list(USELESS))
def test_a_useless_reply_is_of_that_request_alone(fault: str) -> None:
    with serve(lambda number, body: USELESS[fault]) as server:
        [error] = _ask(server.base_url)
    assert isinstance(error, ReplyError), error
    assert len(server.bodies) == 1


@pytest.mark.parametrize(("status", "words"), [(401, "key"), (403, "key"), (404, "no model 'tester'")])
def test_what_the_user_must_mend_stops_at_once(status: int, words: str) -> None:
    with serve(lambda number, body: fails(status)) as server:
        [error] = _ask(server.base_url)
    assert isinstance(error, UserError)
    assert words in str(error)
    assert len(server.bodies) == 1


def test_rate_limits_slow_down_and_fail_nothing() -> None:
    """A server that takes four requests at a time and refuses all others: all 200 are answered."""

    def script(number: int, body: dict[str, Any]) -> Scripted:
        return fails(429, retry_after="1") if server._at_once > 4 else _slow

    with serve(script) as server:
        replies = _ask(server.base_url, times=200)
    assert all(isinstance(reply, Reply) for reply in replies)
    refused = len(server.bodies) - 200
    assert refused < 1000, f"{refused} refusals: the client should find the server's pace"


def _slow(handler: Any) -> None:
    time.sleep(0.01)
    says("hi")(handler)


@pytest.mark.slow
def test_a_server_that_answers_one_at_a_time_gets_fewer_requests() -> None:
    """64 at once wait longer than a try may take: if that went on, most would fail four times."""
    one = threading.Lock()

    def slow(handler: Any) -> None:
        with one:
            time.sleep(0.05)
        says("hi")(handler)

    with serve(lambda number, body: slow) as server:
        replies = _ask(server.base_url, times=120, timeout=1.5)
    assert all(isinstance(reply, Reply) for reply in replies)


def test_concurrency_is_bounded() -> None:
    with serve(lambda number, body: _slow) as server:
        _ask(server.base_url, times=40, concurrency=5)
    assert server.most_at_once <= 5


@pytest.mark.parametrize("spec", ["gpt", "openai/", "openai/x@ftp://y", "openai/x@", "hf/x"])
def test_wrong_specs(spec: str) -> None:
    with pytest.raises(UserError, match="openai/NAME"):
        parse_server(spec, "--judge j")


def test_a_key_is_needed_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        parse_server("openai/gpt", "--judge j")
    assert parse_server("openai/a/b:c@http://h:1/v1", "--judge j") == Server("a/b:c", "http://h:1/v1")


def test_a_chat_model_is_evaluated(cli: Cli, tmp_path: Any) -> None:
    make_task(tmp_path, samples=[text_sample(f"s{i}", f"Q{i}") for i in range(30)])
    script = lambda number, body: says("A" + body["messages"][-1]["content"][1:])  # noqa: E731
    with serve(script) as server:
        command = ["run", "--model", server.spec(), "--tasks", "mine/demo", "--include", "mine"]
        done = cli(*command, "--json")
    assert done.code == 0, done.err
    assert done.json["model"] == "tester"
    assert done.json["tasks"]["mine/demo"]["metrics"]["selection"]["value"] == 1.0
    assert done.json["cost"]["tokens"] == {"input": 330, "output": 210}


def test_samples_of_a_failing_server_stay_pending_and_a_resume_does_them(
    cli: Cli, tmp_path: Any
) -> None:
    make_task(tmp_path, samples=[text_sample(f"s{i}", f"Q{i}") for i in range(30)])
    broken = True

    def script(number: int, body: dict[str, Any]) -> Scripted:
        odd = int(body["messages"][-1]["content"][1:]) % 10 == 3
        return fails(500) if odd and broken else says("fine")

    with serve(script) as server:
        command = ["run", "--model", server.spec(), "--tasks", "mine/demo", "--include", "mine"]
        first = cli(*command, "--json", "--out", "r")
        assert first.code == 4
        assert "3 samples are pending" in cli(*command, "--out", "r").err
        assert first.json["tasks"]["mine/demo"]["metrics"]["selection"]["n"] == 27
        broken = False
        asked = len(server.bodies)
        done = cli(*command, "--json", "--out", "r")
        assert done.code == 0
        assert done.json["tasks"]["mine/demo"]["metrics"]["selection"]["n"] == 30
        assert len(server.bodies) == asked + 3


def test_nobody_at_the_address_is_said_so() -> None:
    [error] = _ask("http://127.0.0.1:1/v1")
    assert isinstance(error, ServerError)
    assert "no connection to http://127.0.0.1:1/v1" in str(error)
