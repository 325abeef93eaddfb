"""What servers do wrong, and what each fault must do to a run: the table that docs/judging.md shows."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from eval_anything.content import FailureKind
from eval_anything.models.openai.settings import read_settings
from eval_anything.servers.client import _LONGEST_WAIT, _TIMEOUT
from tests.support.judge_server import GOOD, MARK, POOR, marked
from tests.support.scripted_server import Reply, completion, drips, fails, raw, resets, says, says_length
from tests.support.scripted_server import streams as stream

Role = Literal["judge", "model"]
Effect = tuple[str, int]  # what the record says, and the exit code

SCORED: Effect = ("scored", 0)
PENDING: Effect = ("pending", 4)
STOPPED: Effect = ("pending", 2)
UNSCORED: Effect = ("unscored", 1)
FLOOR: Effect = ("floor", 1)
NONE = ("", "")
SECRET = "sk-never-to-be-shown-0123456789"

MODELS_TIMEOUT = read_settings({})[0].timeout
SHORT = 0.4  # seconds for a try instead of all those, where time is what a test is about


class Fault(NamedTuple):
    """A fault that some samples meet, always or only the first `times`: the server's reply to a
    request, and its effect on them, with the `kind` of a model's failure. In `timed` runs a try may
    take `SHORT` seconds."""

    reply: Callable[[dict[str, Any]], Reply]
    judge: Effect
    model: Effect | None = None
    times: int | None = None
    timed: bool = False
    kind: FailureKind = "model_error"


def good(body: dict[str, Any]) -> Reply:
    """What a faultless server says: of the judge (which has a system message), or of the model."""
    if body["messages"][0]["role"] == "system":
        return says(marked(body, GOOD if "The answer to s" in str(body["messages"]) else POOR))
    return says(f"The answer to {sample_of(body)}.")


def sample_of(body: dict[str, Any]) -> str | None:
    """The sample that a request is about; None for a canary's."""
    text = json.dumps(body["messages"])
    if body["messages"][0]["role"] == "system" and "The answer to s" not in text:
        return None
    found = re.search(r"Question (s\d+)\?", text)
    assert found is not None
    return found[1]


def always(reply: Reply) -> Callable[[dict[str, Any]], Reply]:
    """The same reply to every request."""
    return lambda body: reply


def _verdict(text: str) -> Callable[[dict[str, Any]], Reply]:
    return lambda body: says(marked(body, text))


def _says_nothing_for(seconds: float) -> Callable[[dict[str, Any]], Reply]:
    def reply(body: dict[str, Any]) -> Reply:
        time.sleep(seconds)
        return good(body)

    return reply


_MINUTES = f"{_LONGEST_WAIT / 60:g} minutes"
_LIMIT = f"{_TIMEOUT:g} s (a model: {MODELS_TIMEOUT:g} s)"
assert min(_TIMEOUT, MODELS_TIMEOUT) > 30
_REFUSAL = completion({"role": "assistant", "content": None, "refusal": "I will not"})
_OTHER_SCHEMA = '{"mark": "@MARK@", "verdict": "good", "grade": "seven"}'

FAULTS: dict[str, Fault] = {
    "429, three times": Fault(always(fails(429)), SCORED, SCORED, times=3),
    "429 with `retry-after`, three times": Fault(
        always(fails(429, retry_after="1")), SCORED, SCORED, times=3
    ),
    f"429 for {_MINUTES}": Fault(always(fails(429)), PENDING, PENDING, timed=True),
    "500": Fault(always(fails(500)), PENDING, PENDING),
    "500, three times": Fault(always(fails(500)), SCORED, SCORED, times=3),
    "503 with `retry-after`": Fault(always(fails(503, retry_after="1")), PENDING, PENDING),
    "the connection breaks in mid-body": Fault(always(resets), PENDING, PENDING),
    "a `content-length` that is too large": Fault(always(says_length("999999")), PENDING, PENDING),
    "a `content-length` that is too small": Fault(always(says_length("7")), PENDING, PENDING),
    "a `content-length` that is no number": Fault(always(says_length("x")), PENDING, PENDING),
    "nothing for 30 s, then an answer": Fault(_says_nothing_for(SHORT / 4), SCORED, SCORED, timed=True),
    f"nothing for {_LIMIT}": Fault(_says_nothing_for(1.5 * SHORT), PENDING, PENDING, timed=True),
    f"a body that takes more than {_LIMIT}": Fault(
        always(drips(1.5 * SHORT)), PENDING, PENDING, timed=True
    ),
    "JSON that is cut off": Fault(always(raw(b'{"choices": [{"ind')), PENDING, PENDING),
    "a page of HTML": Fault(always(raw(b"<html>soon back</html>", "text/html")), PENDING, PENDING),
    "JSON of another schema": Fault(always(raw(b'{"answer": "hi"}')), UNSCORED, FLOOR),
    "no choices": Fault(always(raw(completion(None, choices=[]))), UNSCORED, FLOOR),
    "a refusal": Fault(always(raw(_REFUSAL)), UNSCORED, FLOOR, kind="refusal"),
    "an empty text": Fault(always(says(" ")), UNSCORED, FLOOR, kind="empty_output"),
    "10 MB of text": Fault(always(says("x" * 10_000_000)), UNSCORED, FLOOR),
    "a stream that nobody asked for": Fault(always(stream("hi")), UNSCORED, FLOOR),
    "400": Fault(always(fails(400)), UNSCORED, FLOOR),
    "401": Fault(always(fails(401)), STOPPED, STOPPED),
    "403": Fault(always(fails(403)), STOPPED, STOPPED),
    "404": Fault(always(fails(404)), STOPPED, STOPPED),
    "a verdict of another schema": Fault(_verdict(_OTHER_SCHEMA), UNSCORED),
    "a verdict without its mark": Fault(_verdict(GOOD.replace(MARK, "0" * 16)), UNSCORED),
    "a grade out of range": Fault(_verdict(GOOD.replace("7", "11")), UNSCORED),
}

ECHOES = {
    **{str(status): fails(status, f"Bad key {SECRET}") for status in (400, 401, 403, 404, 422, 500)},
    "plain text": raw(f"Bad key {SECRET}".encode(), "text/plain", 400),
    "a header": fails(401, www_authenticate=f"Bearer {SECRET}"),
    "an error with status 200": raw(json.dumps({"error": {"message": SECRET}}).encode()),
    "an error of the request with status 200": raw(
        json.dumps({"error": {"message": SECRET, "code": 400}}).encode()
    ),
    "a redirect": fails(307, location=f"http://127.0.0.1:1/{SECRET}"),
    "a refusal": raw(completion({"role": "assistant", "content": None, "refusal": f"no {SECRET}"})),
    "cut off": raw(json.dumps({"choices": SECRET}).encode()[:-1]),
}
