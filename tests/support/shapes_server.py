"""A server on loopback that answers by path, as any endpoint of OpenAI-compatible servers does: JSON,
bytes, streams of events, jobs. The shapes of the replies are written by hand after those servers."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from eval_anything.content import Message, Response, TextPart
from eval_anything.media import MediaStore
from eval_anything.models.base import Request, Sampling
from eval_anything.models.checked import checked
from eval_anything.models.openai import ChatModel
from eval_anything.servers.prices import Spending
from tests.support.loopback import LoopbackServer, QuietHandler, running

HELLO = (Message("user", (TextPart("hello"),)),)

CUT = object()
"""In a reply: breaks the connection here."""


class Sent(NamedTuple):
    """A reply: its pieces are sent one by one; a number is a pause in seconds."""

    status: int
    content_type: str
    pieces: Sequence[Any]
    headers: Mapping[str, str] = {}


class Asked(NamedTuple):
    """A request: the how-manieth at its path (from 1), and what it holds."""

    number: int
    method: str
    path: str
    raw: bytes
    headers: Mapping[str, str]

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


Route = Callable[[Asked], Sent]


class ShapesServer(LoopbackServer):
    """Answers `METHOD /path` (without /v1) as its route says, anything else with 404."""

    def __init__(self, routes: Mapping[str, Route | Sent]) -> None:
        super().__init__(_Handler)
        self.routes = routes
        self.asked: list[Asked] = []
        self.lock = threading.Lock()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    @property
    def spec(self) -> str:
        return f"openai/tester@{self.base_url}"


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    server: ShapesServer

    def do_POST(self) -> None:
        self._answer("POST", self.rfile.read(int(self.headers["content-length"])))

    def do_GET(self) -> None:
        self._answer("GET", b"")

    def _answer(self, method: str, raw: bytes) -> None:
        path = self.path.removeprefix("/v1")
        server = self.server
        with server.lock:
            number = 1 + sum(asked.path == path and asked.method == method for asked in server.asked)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(number, method, path, raw, headers)
            server.asked.append(asked)
        route = server.routes.get(f"{method} {path}", problem(404, "no such path"))
        self._send(route if isinstance(route, Sent) else route(asked))

    def _send(self, sent: Sent) -> None:
        self.send_response(sent.status)
        self.send_header("content-type", sent.content_type)
        self.send_header("transfer-encoding", "chunked")
        for name, value in sent.headers.items():
            self.send_header(name, value)
        self.end_headers()
        for piece in sent.pieces:
            if piece is CUT:
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
                self.close_connection = True
                return
            if isinstance(piece, float):
                time.sleep(piece)
            elif piece:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def uri(data: bytes, mime: str) -> str:
    return f"data:{mime};base64,{b64(data)}"


def answer(value: Any, status: int = 200) -> Sent:
    """A reply in JSON."""
    return Sent(status, "application/json", [json.dumps(value).encode()])


def problem(status: int, message: str = "no", **headers: str) -> Sent:
    """An error in the form that OpenAI's servers give."""
    body = json.dumps({"error": {"message": message, "type": "error"}}).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Sent(status, "application/json", [body], names)


def binary(data: bytes, mime: str = "application/octet-stream") -> Sent:
    """A reply that is a medium."""
    return Sent(200, mime, [data])


USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def choice(message: Mapping[str, Any], finish_reason: str | None = "stop") -> dict[str, Any]:
    """A choice of index 0."""
    return {
        "index": 0,
        "finish_reason": finish_reason,
        "message": {"role": "assistant", **message},
    }


def completion(*choices: Mapping[str, Any]) -> dict[str, Any]:
    """A chat completion with these choices."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "tester",
        "choices": list(choices),
        "usage": USAGE,
    }


def chunk(delta: Mapping[str, Any], finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of a streamed chat completion."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "tester",
        "choices": [{"index": 0, "delta": dict(delta), "finish_reason": finish_reason}],
        **more,
    }


LAST = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": USAGE}
"""The chunk that `include_usage` adds."""


def events(*chunks: Any, done: bool = True) -> Sent:
    """Chunks as server-sent events; numbers are pauses, strings and CUT go as they are."""
    pieces: list[Any] = []
    for one in chunks:
        if isinstance(one, Mapping):
            pieces.append(b"data: " + json.dumps(one).encode() + b"\n\n")
        else:
            pieces.append(one.encode() if isinstance(one, str) else one)
    if done:
        pieces.append(b"data: [DONE]\n\n")
    return Sent(200, "text/event-stream; charset=utf-8", pieces)


def serve_shapes(routes: Mapping[str, Route | Sent]) -> AbstractContextManager[ShapesServer]:
    """A running server."""
    return running(ShapesServer(routes))


def respond(
    server: ShapesServer,
    folder: Path,
    messages: tuple[Message, ...] = HELLO,
    spending: Spending | None = None,
    **arguments: str,
) -> Response:
    """The response of the server's model, as the engine records it. Errors that stop a run go up."""

    async def one() -> Response:
        model = ChatModel.from_spec(server.spec, "", arguments)
        model.spending = spending
        request = Request("t", "s", 0, messages, Sampling())
        [response] = await model.generate([request], MediaStore(folder / "media"))
        await model.close()
        return checked(response)

    return asyncio.run(one())
