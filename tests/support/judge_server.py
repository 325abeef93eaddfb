"""A judge model's server for tests: OpenAI-compatible, on the loopback, answering what it is told to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from tests.support.loopback import LoopbackServer, QuietHandler, running

MARK = "@MARK@"
"""Stands in a reply for the mark of the verdict, which the server reads from the system message."""

GOOD = '{"mark": "@MARK@", "explanation": "they agree", "grades": {"synergy": 7}}'


POOR = '{"mark": "@MARK@", "explanation": "nothing is there", "grades": {"synergy": 0}}'


def talk_task(judges: str = "synergy_rubric", primary: str = "synergy") -> str:
    """task.yaml of questions in words that these judges score."""
    return f"""\
version: 1
title: Talk
description: Questions about nothing.
licence: CC0-1.0
inputs: [text]
outputs: [text]
judges: [{judges}]
primary: {primary}
contract: {{required: [text]}}
"""


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


class JudgeServer(LoopbackServer):
    """An OpenAI-compatible server that answers every request with what `reply` says."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.asked: list[Asked] = []
        self.reply: Callable[[Asked], tuple[int, str]] = lambda asked: (200, GOOD)
        self.finish_reason = "stop"

    @property
    def spec(self) -> str:
        return f"openai/judge@http://127.0.0.1:{self.server_port}/v1"


class _Handler(QuietHandler):
    server: JudgeServer

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        asked = Asked(len(self.server.asked) + 1, raw, json.loads(raw))
        self.server.asked.append(asked)
        status, text = self.server.reply(asked)
        message = {"role": "assistant", "content": text.replace(MARK, asked.mark)}
        reason = self.server.finish_reason
        choice = {"index": 0, "finish_reason": reason, "message": message}
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


def judge_server() -> AbstractContextManager[JudgeServer]:
    """A server on a free port, stopped at the end."""
    return running(JudgeServer())
