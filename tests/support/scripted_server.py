"""An HTTP server on loopback whose chat replies are scripted, faults included."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from tests.support.loopback import LoopbackServer, QuietHandler, running

Reply = Callable[["Handler"], None]


class ScriptedServer(LoopbackServer):
    """Answers request number n (from 1) as `script(n, body)` says; keeps what it was sent."""

    def __init__(self, script: Callable[[int, dict[str, Any]], Reply], port: int = 0) -> None:
        super().__init__(Handler, port)
        self.script = script
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def spec(self, model: str = "tester") -> str:
        return f"openai/{model}@{self.base_url}"


class Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    server: ScriptedServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server = self.server
        with server._lock:
            server.bodies.append(body)
            server.keys.append(self.headers.get("authorization", ""))
            number = len(server.bodies)
            server._at_once += 1
            server.most_at_once = max(server.most_at_once, server._at_once)
        try:
            server.script(number, body)(self)
        finally:
            with server._lock:
                server._at_once -= 1

    def send(
        self, status: int, data: bytes, content_type: str = "application/json", **headers: str
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)


def completion(message: dict[str, Any] | None, **more: Any) -> bytes:
    """The body of a chat completion with this message."""
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "tester"}
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    return json.dumps({**body, "choices": [choice], "usage": usage, **more}).encode()


def says(text: str) -> Reply:
    """A good reply."""
    return lambda handler: handler.send(200, completion({"role": "assistant", "content": text}))


def raw(data: bytes, content_type: str = "application/json", status: int = 200) -> Reply:
    """Any bytes with that status."""
    return lambda handler: handler.send(status, data, content_type)


def fails(status: int, message: str = "no", **headers: str) -> Reply:
    """An error in the form that OpenAI's servers give."""
    data = json.dumps({"error": {"message": message, "type": "error"}}).encode()
    return lambda handler: handler.send(status, data, **headers)


def resets(handler: Handler) -> None:
    """Begins a good reply and breaks the connection in its middle."""
    data = completion({"role": "assistant", "content": "never to be read"})
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[: len(data) // 2])
    handler.wfile.flush()
    handler.connection.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
    )
    handler.connection.close()
    handler.close_connection = True  # no next request is waited for, which would keep it open


def says_length(length: str) -> Reply:
    """Answers well, but says that the answer has another length."""

    def reply(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", length)
        handler.end_headers()
        handler.wfile.write(completion({"role": "assistant", "content": "a lie"}))
        handler.close_connection = True

    return reply


def drops(handler: Handler) -> None:
    """Breaks the connection before any reply."""
    handler.connection.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
    )
    handler.connection.close()
    handler.close_connection = True


def stalls(seconds: float) -> Reply:
    """Says nothing for a while, then answers well."""

    def reply(handler: Handler) -> None:
        time.sleep(seconds)
        says("late")(handler)

    return reply


def drips(seconds: float) -> Reply:
    """Answers well, a few bytes at a time, without any long pause."""

    def reply(handler: Handler) -> None:
        data = completion({"role": "assistant", "content": "late"})
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        for start in range(0, len(data), 5):
            handler.wfile.write(data[start : start + 5])
            time.sleep(seconds * 5 / len(data))

    return reply


def streams(text: str) -> Reply:
    """Server-sent events, though nobody asked for them."""
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "tester"}
    delta = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
    data = b"data: " + json.dumps({**chunk, **delta}).encode() + b"\n\ndata: [DONE]\n\n"
    return raw(data, "text/event-stream")


def serve(
    script: Callable[[int, dict[str, Any]], Reply], port: int = 0
) -> AbstractContextManager[ScriptedServer]:
    """A running server, on a free port unless one is named."""
    return running(ScriptedServer(script, port))
