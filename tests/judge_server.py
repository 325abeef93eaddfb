"""A judge model's server for tests: OpenAI-compatible, on the loopback, answering what it is told to."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

MARK = "@MARK@"
"""Stands in a reply for the mark of the verdict, which the server reads from the system message."""

GOOD = '{"mark": "@MARK@", "explanation": "they agree", "grades": {"synergy": 7}}'


POOR = '{"mark": "@MARK@", "explanation": "nothing is there", "grades": {"synergy": 0}}'


class Asked(NamedTuple):
    """One request: the how-manieth, its bytes, and what they say."""

    number: int
    raw: bytes
    body: dict[str, Any]

    @property
    def system(self) -> str:
        text: str = self.body["messages"][0]["content"]
        return text

    @property
    def content(self) -> list[dict[str, Any]]:
        """The parts of the user message."""
        parts: list[dict[str, Any]] = self.body["messages"][1]["content"]
        return parts

    @property
    def mark(self) -> str:
        """What a verdict must repeat."""
        found = re.search(r'\{"mark": "([0-9a-f]{16})"', self.system)
        assert found is not None
        return found[1]

    @property
    def fence(self) -> str:
        """The nonce of the fence, read from the rubric."""
        found = re.search(r"lines that carry the code ([0-9a-f]{16})\.", self.system)
        assert found is not None
        return found[1]

    @property
    def answer(self) -> list[dict[str, Any]]:
        """What stands between the lines of the fence."""
        begin = self.content.index({"type": "text", "text": f"--- begin answer {self.fence} ---"})
        end = self.content.index({"type": "text", "text": f"--- end answer {self.fence} ---"})
        return self.content[begin + 1 : end]


def marked(body: dict[str, Any], text: str) -> str:
    """The text with the mark that this request asks for."""
    return text.replace(MARK, Asked(0, b"", body).mark)


class JudgeServer(ThreadingHTTPServer):
    """An OpenAI-compatible server that answers every request with what `reply` says."""

    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self.reply: Callable[[Asked], tuple[int, str]] = lambda asked: (200, GOOD)

    @property
    def spec(self) -> str:
        return f"openai/judge@http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up, such as one that a refused key has stopped, is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: JudgeServer

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        asked = Asked(len(self.server.asked) + 1, raw, json.loads(raw))
        self.server.asked.append(asked)
        status, text = self.server.reply(asked)
        message = {"role": "assistant", "content": text.replace(MARK, asked.mark)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        reply = {"id": "1", "object": "chat.completion", "created": 0, "model": "judge"}
        usage = {"prompt_tokens": 11, "completion_tokens": 7}
        data = json.dumps(
            {**reply, "choices": [choice], "usage": usage}
            if status == 200
            else {"error": {"message": text}}
        ).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def judge_server() -> Iterator[JudgeServer]:
    """A server on a free port, stopped at the end."""
    judge = JudgeServer()
    judge.daemon_threads = True
    thread = threading.Thread(target=judge.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield judge
    finally:
        judge.shutdown()
        judge.server_close()
        thread.join()
