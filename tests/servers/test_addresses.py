"""Names and addresses of servers: how a SPEC is split, what is requested, and that no secret of an
address is shown or stored."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval_anything.errors import ServerError, UserError
from eval_anything.servers.addresses import Server, parse_server
from eval_anything.servers.chat import ChatClient
from eval_anything.servers.secrets import with_hidden_addresses, without_key
from tests.support.helpers import Cli, make_task, text_sample, write_jsonl
from tests.support.judge_server import GOOD, POOR, marked, talk_task
from tests.support.scripted_server import Reply, ScriptedServer, fails, says, serve

pytestmark = pytest.mark.usefixtures("short_pauses")

SECRET = "Zx-never-to-be-shown-0123456789"
OTHER_SECRET = "Qy-not-to-be-shown-either-987654321"

SERVERS = {
    "openai/qwen@http://h:1/v1": ("qwen", "http://h:1/v1"),
    "openai/a/b:c@http://h/v1": ("a/b:c", "http://h/v1"),
    "openai/a@b@http://h/v1": ("a@b", "http://h/v1"),
    "openai/@cf/org/model@http://h/v1": ("@cf/org/model", "http://h/v1"),
    "openai/claude@20240620@https://h/v1": ("claude@20240620", "https://h/v1"),
    "openai/x@http://h/v1/": ("x", "http://h/v1"),
    "openai/x@http://h/v1//": ("x", "http://h/v1"),
    "openai/x@http://h": ("x", "http://h"),
    "openai/x@http://h/v1/chat/completions": ("x", "http://h/v1"),
    "openai/x@http://h/v1/chat/completions/?v=2": ("x", "http://h/v1?v=2"),
    "openai/x@http://h/v1?api-version=2024-10-01": ("x", "http://h/v1?api-version=2024-10-01"),
    "openai/x@http://h/v1/?api-version=2": ("x", "http://h/v1?api-version=2"),
    "openai/x@http://[::1]:8000/v1": ("x", "http://[::1]:8000/v1"),
    "openai/x@HTTP://Host:8000/V1": ("x", "http://host:8000/V1"),
    "openai/x@http://Ann:Pass@Host/v1": ("x", "http://Ann:Pass@host/v1"),
    "openai/x@http://gateway/ai/@cf/v1": ("x", "http://gateway/ai/@cf/v1"),
    "openai/x@http://ann@httpbin.org/v1": ("x", "http://ann@httpbin.org/v1"),
}


@pytest.mark.parametrize("spec", list(SERVERS))
def test_a_spec_is_split_at_the_last_address(spec: str) -> None:
    assert parse_server(spec, "--model") == Server(*SERVERS[spec])


@pytest.mark.parametrize("name", ["a@b", "@cf/org/model", "claude@20240620", "gpt-4o:free"])
def test_a_name_without_an_address_may_have_an_at(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", " http://h:2/v1/ ")
    assert parse_server(f"openai/{name}", "--model") == Server(name, "http://h:2/v1")
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    assert parse_server(f"openai/{name}", "--model") == Server(name, "https://api.openai.com/v1")


WRONG = {
    "openai/": "openai/NAME@http",
    "openai/x@": "openai/NAME@http",
    "openai/@http://h/v1": "openai/NAME@http",
    "openai/x@ftp://h/v1": "openai/NAME@http",
    "openai/x@localhost:8000/v1": "openai/NAME@http",
    "openai/x@10.0.0.1/v1": "openai/NAME@http",
    "openai/x@api.host.com/v1": "openai/NAME@http",
    "openai/x@[::1]:80/v1": "openai/NAME@http",
    "openai/x@http://": "no address",
    "openai/x@http:///v1": "no address",
    "openai/x@http://:80/v1": "no address",
    "openai/x@http://h:port/v1": "a port is a number",
    "openai/x@http://[::1/v1": "no address",
    "openai/x@http://h/v1#top": "has a #",
    "openai/x@http://h/v1/responses": "leave /responses out",
    "openai/x@http://h/v1/completions": "leave /completions out",
    "openai/x@http://h/v1/images/generations?a=b": "leave /images/generations out",
}


@pytest.mark.parametrize("spec", list(WRONG))
def test_a_wrong_address_is_refused_in_words(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    with pytest.raises(UserError, match=WRONG[spec]):
        parse_server(spec, "--model")


@pytest.mark.parametrize(
    "spec",
    [
        f"openai/x@ftp://u:{SECRET}@h/v1",
        f"openai/x@u:{SECRET}@localhost:8000/v1",
        f"openai/x@http://u:{SECRET}#9@h/v1",
        f"openai/x@http://u:{SECRET}/9@h/v1",
        f"openai/x@http://h:port/v1?key={SECRET}",
        f"openai/x@http://h/v1/responses?key={SECRET}",
        f"openia/x@http://u:{SECRET}@h/v1",
    ],
)
def test_an_error_about_an_address_keeps_its_secrets(spec: str, cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path)
    done = cli("run", "--model", spec, "--tasks", "mine/demo", "--include", "mine")
    assert done.code == 2
    assert SECRET not in done.out + done.err


HIDDEN = {
    "http://h/v1?key=abc": "http://h/v1?key=[key]",
    "http://h/v1?api-version=2024-10-01&api_key=abc": "http://h/v1?api-version=2024-10-01&api_key=[key]",
    "https://ann:pass@h/v1": "https://[key]@h/v1",
    "https://token@h/v1": "https://[key]@h/v1",
    "https://ann:p@ss@h/v1": "https://[key]@h/v1",
    "HTTP://ann:pass@h/v1?SIG=abc": "HTTP://[key]@h/v1?SIG=[key]",
    "see 'http://h/v1?access_token=abc', or": "see 'http://h/v1?access_token=[key]', or",
    "http://h/?a=1&amp;X-Amz-Signature=ab&amp;b=2": "http://h/?a=1&amp;X-Amz-Signature=[key]&amp;b=2",
    '"http://h/?a=1\\u0026token=ab\\u0026b=2"': '"http://h/?a=1\\u0026token=[key]\\u0026b=2"',
    "http://h/?subscription-key=a;code=b#token=c": "http://h/?subscription-key=[key];code=[key]#token=[key]",
    "http://h/?k=AIzaSyA0123456789": "http://h/?k=[key]",
    "http://h/v1?max_tokens=5&key_id=3&deployment=a1": "http://h/v1?max_tokens=5&key_id=3&deployment=a1",
    "openai/a@b@http://h:1/v1": "openai/a@b@http://h:1/v1",
    "http://gateway/ai/@cf/v1": "http://gateway/ai/@cf/v1",
}


@pytest.mark.parametrize("text", list(HIDDEN))
def test_secrets_of_addresses_are_hidden(text: str) -> None:
    assert with_hidden_addresses(text) == HIDDEN[text]
    assert with_hidden_addresses(HIDDEN[text]) == HIDDEN[text]


def _noting(paths: list[tuple[str, str]]) -> Any:
    """A script that notes the path and the authorization of each request."""

    def script(number: int, body: dict[str, Any]) -> Reply:
        def reply(handler: Any) -> None:
            paths.append((handler.path, handler.headers["authorization"]))
            says("hi")(handler)

        return reply

    return script


def _ask(base_url: str) -> Any:
    async def ask() -> Any:
        client = ChatClient(parse_server(f"openai/x@{base_url}", "--judge j"), "judge j")
        try:
            return await client.ask([{"role": "user", "content": "hello"}])
        finally:
            await client.close()

    return asyncio.run(ask())


def test_query_and_user_go_with_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    paths: list[tuple[str, str]] = []
    with serve(_noting(paths)) as server:
        address = server.base_url
        for url in (
            f"{address}?api-version=X&key=a%26b",
            f"{address}/?api-version=X",
            f"{address}/chat/completions?api-version=X&list=1&list=2",
            address.replace("http://", "HTTP://ann:p%40ss@"),
        ):
            assert _ask(url).text == "hi"
    user = base64.b64encode(b"ann:p@ss").decode()
    assert paths == [
        ("/v1/chat/completions?api-version=X&key=a%26b", "Bearer none"),
        ("/v1/chat/completions?api-version=X", "Bearer none"),
        ("/v1/chat/completions?api-version=X&list=1&list=2", "Bearer none"),
        ("/v1/chat/completions", f"Basic {user}"),
    ]


def test_logs_of_the_transport_keep_secrets(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serve(lambda number, body: says("hi")) as server:
        _ask(f"{server.base_url}?key={SECRET}")
    assert "chat/completions" in caplog.text, "the transport names the address in its log"
    assert SECRET not in caplog.text


def test_nobody_at_an_address_with_secrets() -> None:
    with pytest.raises(ServerError) as caught:
        _ask(f"http://ann:{SECRET}@127.0.0.1:1/v1?key={OTHER_SECRET}")
    assert "no connection to http://127.0.0.1:1/v1" in str(caught.value)
    assert "to-be-shown" not in str(caught.value)


def test_what_a_server_repeats_is_hidden() -> None:
    parse_server(f"openai/x@http://h/v1?key={SECRET}", "--model")
    assert without_key(f"API key {SECRET} is not valid") == "API key [key] is not valid"


def _judge(grade: int) -> Any:
    """The script of a judge that gives this grade to all but canaries."""
    verdict = GOOD.replace("7", str(grade))

    def script(number: int, body: dict[str, Any]) -> Reply:
        is_real = "The answer is" in str(body["messages"])
        return says(marked(body, verdict if is_real else POOR))

    return script


@pytest.fixture
def talk(tmp_path: Path) -> list[str]:
    """A command that judges two saved answers, without --judge."""
    make_task(tmp_path, samples=[text_sample(f"s{i}", f"Q{i}?") for i in range(2)], yaml=talk_task())
    rows = [
        {"sample_id": f"s{i}", "parts": [{"modality": "text", "text": f"The answer is {i}."}]}
        for i in range(2)
    ]
    path = write_jsonl(tmp_path / "answers.jsonl", rows)
    return ["score", "--outputs", str(path), "--tasks", "mine/demo", "--include", "mine", "--json"]


def _grade(result: Any) -> float:
    assert result.code == 0, result.err
    value: float = result.json["tasks"]["mine/demo"]["metrics"]["synergy"]["value"]
    return value


def test_two_judges_of_one_name_on_two_servers(
    talk: list[str], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kept verdicts of the first are not those of the second, whichever way the address is given."""
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    with serve(_judge(3)) as first, serve(_judge(5)) as second:
        for out, server, grade in (("a", first, 3), ("b", second, 5), ("c", first, 3)):
            monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
            done = cli(*talk, "--judge", "synergy_rubric=openai/tester", "--out", out)
            assert _grade(done) == pytest.approx(grade / 10)
        asked = len(first.bodies), len(second.bodies)
        assert asked[1] > 0
        monkeypatch.delenv("OPENAI_BASE_URL")
        named = cli(*talk, "--judge", f"synergy_rubric={second.spec()}", "--out", "d")
        assert _grade(named) == pytest.approx(0.5)
        assert (len(first.bodies), len(second.bodies)) == asked, "the address counts as in NAME@URL"


def test_a_run_goes_on_at_its_own_server_only(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_task(tmp_path, samples=[text_sample(f"s{i}", f"Q{i}?") for i in range(4)])
    command = ["run", "--tasks", "mine/demo", "--include", "mine", "--json", "--out", "run"]
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    with serve(lambda n, body: says("Paris")) as first, serve(lambda n, body: says("Rome")) as second:
        monkeypatch.setenv("OPENAI_BASE_URL", first.base_url)
        assert cli(*command, "--model", "openai/tester", "--limit", "2").code == 0
        monkeypatch.setenv("OPENAI_BASE_URL", second.base_url)
        refused = cli(*command, "--model", "openai/tester")
        assert refused.code == 2
        assert "not the same" in refused.err
        assert second.bodies == []
        monkeypatch.delenv("OPENAI_BASE_URL")
        assert cli(*command, "--model", first.spec()).code == 0
        assert len(first.bodies) == 4


@pytest.fixture
def both() -> Iterator[tuple[ScriptedServer, ScriptedServer]]:
    """A model's and a judge's server, which repeat the address in an error of the third request."""

    def failing(answer: Any) -> Any:
        def script(number: int, body: dict[str, Any]) -> Reply:
            echo = f"http://ann:{SECRET}@h/v1?key={SECRET}: {SECRET} is not known"
            return fails(400, echo) if number == 3 else answer(number, body)

        return script

    with (
        serve(failing(lambda n, body: says("The answer is 4."))) as model,
        serve(failing(_judge(7))) as judge,
    ):
        yield model, judge


@pytest.mark.parametrize("form", ["query", "user"])
def test_secrets_of_addresses_are_used_and_stored_nowhere(
    form: str, both: tuple[ScriptedServer, ScriptedServer], cli: Cli, tmp_path: Path
) -> None:
    """Model and judge: run.json, records, results, page, site, stdout, stderr; another key is the same
    run."""
    model, judge = both
    samples = [text_sample(f"s{i}", f"Q{i}?") for i in range(6)]
    make_task(tmp_path, samples=samples, yaml=talk_task())
    command = ["run", "--tasks", "mine/demo", "--include", "mine", "--max-failed", "0.5", "--out", "run"]

    def specs(secret: str) -> list[str]:
        def spec(server: ScriptedServer) -> str:
            if form == "query":
                return f"{server.spec()}?api-version=1&key={secret}"
            return server.spec().replace("http://", f"http://ann:{secret}@")

        return ["--model", spec(model), "--judge", f"synergy_rubric={spec(judge)}"]

    shown = [cli(*command, "--limit", "4", *specs(SECRET))]
    asked = len(model.bodies), len(judge.bodies)
    shown.append(cli(*command, "--json", "--limit", "4", *specs(OTHER_SECRET)))
    assert (len(model.bodies), len(judge.bodies)) == asked, "another key is the same run"
    shown.append(cli(*command, *specs(OTHER_SECRET)))
    assert len(model.bodies) > asked[0]
    shown.append(cli("leaderboard", "build", "run", "--out", "site"))
    assert [result.code for result in shown[:3]] in ([0, 0, 0], [1, 1, 1], [1, 1, 0]), shown[0].err
    assert shown[3].code == 0, shown[3].err
    for result in shown:
        assert "to-be-shown" not in result.out + result.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"run.json", "results.json", "report.html", "records.jsonl"} <= {path.name for path in files}
    assert [path for path in files if b"to-be-shown" in path.read_bytes()] == []
    run = json.loads((tmp_path / "run" / "run.json").read_bytes())
    assert run["spec"].startswith("openai/tester@http://")
    assert "[key]" in run["spec"]
    assert "[key]" in " ".join(run["command"])


def test_a_run_with_secrets_of_an_earlier_version_is_shown_without(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path)
    with serve(lambda number, body: says("Paris")) as server:
        command = ["run", "--model", server.spec(), "--tasks", "mine/demo", "--include", "mine"]
        assert cli(*command, "--out", "run").code == 0
    path = tmp_path / "run" / "run.json"
    run = json.loads(path.read_bytes())
    run["spec"] += f"?key={SECRET}"
    run["command"].append(f"synergy_rubric=openai/x@http://ann:{SECRET}@h/v1")
    path.write_text(json.dumps(run))
    assert cli("leaderboard", "build", "run", "--out", "site").code == 0
    pages = [path for path in (tmp_path / "site").rglob("*") if path.is_file()]
    assert pages
    assert [path for path in pages if SECRET.encode() in path.read_bytes()] == []
