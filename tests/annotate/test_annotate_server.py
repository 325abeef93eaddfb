"""Who may ask the server of the annotation page, and for what: real requests on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.annotating import Client, annotated_task, saved_answers, serving


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    task = annotated_task(tmp_path / "tasks")
    good = saved_answers(tmp_path / "good", "good", "well 9 done")
    with serving(task, tmp_path / "labels" / "mine.jsonl", [good]) as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/", "/state", "//state", "/wrong/", "/wrong/state", "*", "/%00/", "x"]
)
def test_a_wrong_token_shows_nothing(client: Client, path: str) -> None:
    assert client.ask("", path=path).status == 404


def test_nearly_the_token_shows_nothing(client: Client) -> None:
    for token in (client.token[:-1], client.token + "x", client.token.swapcase()):
        assert client.ask("", path=f"/{token}/state").status == 404
    assert client.ask("", path=f"/{client.token}/state").status == 200


@pytest.mark.parametrize("host", ["attacker.invalid", "127.0.0.1", "localhost", "127.0.0.1.nip.io", ""])
def test_a_foreign_host_is_refused(client: Client, host: str) -> None:
    for value in {host, f"{host}:{client.port}"} - {
        f"127.0.0.1:{client.port}",
        f"localhost:{client.port}",
    }:
        assert client.ask("state", headers={"Host": value}).status == 403
        assert client.ask("undo", {}, headers={"Host": value}).status == 403


def test_a_foreign_origin_and_forms_are_refused(client: Client) -> None:
    for origin in ("http://attacker.invalid", "null", f"https://127.0.0.1:{client.port}"):
        assert client.ask("undo", {}, headers={"Origin": origin}).status == 403
    own = {"Origin": f"http://localhost:{client.port}", "Host": f"localhost:{client.port}"}
    assert client.ask("undo", {}, headers=own).status == 422
    assert client.ask("undo", {}, headers={"Content-Type": "text/plain"}).status == 415


@pytest.mark.parametrize(
    "name",
    [
        "../page.html",
        "media/../mine.jsonl",
        "media/../../mine.jsonl",
        "media//etc/passwd",
        "media/%2e%2e/mine.jsonl",
        "media/",
        "media/" + "0" * 64,
        "annotate/page.html",
        "core.js/",
        "base.css?x=1",
        "mine.jsonl",
        ".",
    ],
)
def test_nothing_but_the_page_and_its_media_is_served(client: Client, name: str) -> None:
    assert client.ask(name).status == 404


def test_lengths_and_methods(client: Client) -> None:
    assert client.ask("submit", {}, headers={"Content-Length": "99999999"}).status == 413
    assert client.ask("submit", {}, headers={"Content-Length": "-1"}).status == 411
    assert client.ask("submit", {}, headers={"Content-Length": "²"}).status == 411
    assert client.ask("state", {}).status == 404
    assert client.ask("submit", method="DELETE").status == 501
    assert client.ask("state").status == 200


def test_media_by_sha256_whole_and_in_ranges(client: Client) -> None:
    while not (found := [p for p in client.state()["question"]["responses"][0] if "media" in p]):
        client.submit(grade=1)
    name = f"media/{found[0]['media']}"
    whole = client.ask(name)
    assert (whole.status, whole.headers["content-type"]) == (200, "audio/wav")
    assert whole.headers["content-security-policy"].startswith("default-src 'none'")
    assert whole.headers["x-content-type-options"] == "nosniff"
    size = len(whole.body)
    for header, first, last in (("0-9", 0, 9), ("10-", 10, size - 1), ("-4", size - 4, size - 1)):
        part = client.ask(name, headers={"Range": f"bytes={header}"})
        assert part.status == 206
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert part.body == whole.body[first : last + 1]
    for header in (
        "bytes=9-1",
        f"bytes={size}-",
        "bytes=-",
        "bytes=0-1,4-5",
        "lines=1-2",
        f"bytes={'9' * 99}-",
    ):
        assert client.ask(name, headers={"Range": header}).body == whole.body


def test_requests_that_no_browser_sends(client: Client) -> None:
    """Bytes on the wire; whatever they are, the next request is answered."""
    path = f"/{client.token}/state"
    for request, status in (
        (b"GET /\xe9\xff/state HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n", b"404"),
        (b"GET PATH HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nHost: evil\r\n\r\n", b"403"),
        (b"GET PATH HTTP/1.1\r\n\r\n", b"403"),
        (b"GET http://127.0.0.1:PORT/PATH HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n", b"404"),
        (b"\x16\x03\x01 nothing\r\n\r\n", b"400"),
    ):
        data = request.replace(b"PORT", str(client.port).encode()).replace(b"PATH", path.encode())
        with socket.create_connection(("127.0.0.1", client.port), timeout=10) as connection:
            connection.sendall(data)
            assert status in connection.recv(1 << 16).partition(b"\r\n")[0]
    half = f"POST /{client.token}/submit HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n"
    half += "Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as connection:
        connection.sendall(half.encode())
    assert client.state()["done"] == 0
