"""Tokens of a request and its reply: those that the server reports, and an estimate where it does not.

No usage is not no cost. A number that is missing, or 0 although something was sent or received, is
estimated: a token is four characters of text (1 for each character outside of Latin scripts), a medium
that was sent 800 tokens, one that was received 1,300. Estimated usage says so (`Usage.estimated`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from eval_anything.content import Usage

CHARACTERS_A_TOKEN = 4


SENT_MEDIUM = 800
"""Tokens of an image, of a frame of a clip, or of some seconds of sound in a request."""


RECEIVED_MEDIUM = 1300
"""Tokens of a medium in a reply."""


LONGEST_UNKNOWN = 1024
"""Tokens for which a request without a limit on its answer is reserved."""


_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens", "max_new_tokens")


# Fields of a reply that have what the model wrote, and those that have media.
_WRITTEN = frozenset(
    [
        *("content", "text", "refusal", "transcript", "arguments"),
        *("reasoning", "reasoning_content", "reasoning_text", "thinking"),
    ]
)


_MEDIA = frozenset(
    [
        *("b64_json", "data", "result", "url", "file_path"),
        *("image_url", "audio_url", "video_url", "images"),
    ]
)


def counted(reported: Any, sent: int, received: int) -> Usage:
    """The usage of one request.

    Args:
        reported: the field `usage` of the reply, in any shape.
        sent: an estimate of the tokens that were sent.
        received: an estimate of the tokens that were received.

    Example:
        >>> counted({"prompt_tokens": 11, "completion_tokens": "7"}, 9, 9)
        Usage(input=11, output=7)
        >>> counted({"total_tokens": 18}, sent=10, received=5)
        Usage(input=10, output=8, estimated=True)
    """
    fields = reported if isinstance(reported, Mapping) else {}
    into = _first(fields, "prompt_tokens", "input_tokens")
    out = _first(fields, "completion_tokens", "output_tokens")
    total = _first(fields, "total_tokens")
    if (into or not sent) and (out or not received):
        return Usage(into, out)
    if total > into + out:
        into = into or (total - out if out else min(sent, total))
        return Usage(into, total - into, estimated=True)
    return Usage(into or sent, out or received, estimated=True)


def _first(fields: Mapping[str, Any], *names: str) -> int:
    """The first of the fields that is a number of tokens; 0 if none is."""
    return next(filter(None, (_number(fields.get(name)) for name in names)), 0)


def tokens_of_text(text: str) -> int:
    """An estimate of the tokens of a text, at least 1 for one that is not empty.

    Example:
        >>> tokens_of_text("a red circle"), tokens_of_text("")
        (3, 0)
    """
    latin, wide = _characters(text)
    return -(-latin // CHARACTERS_A_TOKEN) + wide


def sent_tokens(body: Any, files: int = 0) -> int:
    """An estimate of the tokens of a request, from all texts and media in its body."""
    return SENT_MEDIUM * files + sum(_sent(body))


def _sent(value: Any) -> Iterable[int]:
    if isinstance(value, str):
        yield SENT_MEDIUM if value.startswith("data:") else tokens_of_text(value)
    elif isinstance(value, Mapping):
        for key, field in value.items():
            if key == "input_audio":
                yield SENT_MEDIUM
            elif key not in ("type", "role", "model"):
                yield from _sent(field)
    elif isinstance(value, list | tuple):
        for field in value:
            yield from _sent(field)


def most_tokens(body: Mapping[str, Any], sent: int, longest: int) -> Usage:
    """The tokens to reserve for a request before it is sent.

    Args:
        body: the fields of the request, which may limit the answer.
        sent: an estimate of the tokens that are sent.
        longest: the tokens of the longest answer to requests before.
    """
    limits = (body.get(name) for name in _LIMITS)
    limit = next((n for n in limits if isinstance(n, int) and n > 0), LONGEST_UNKNOWN)
    return Usage(sent, max(limit, longest))


class ReceivedTokens:
    """A counter for a reply, or for the events of a stream one by one. All sound of it is one medium.

    Attributes:
        begun: whether anything was received.
        reported: the usage that the server reports.
    """

    def __init__(self) -> None:
        self.begun = False
        self.reported: Any = None
        self._latin = self._wide = self._media = 0
        self._has_sound = False

    @property
    def tokens(self) -> int:
        """An estimate of the tokens received so far."""
        media = self._media + self._has_sound
        return -(-self._latin // CHARACTERS_A_TOKEN) + self._wide + RECEIVED_MEDIUM * media

    def add(self, reply: Any) -> None:
        """Adds the decoded JSON of a reply or an event."""
        self.begun = True
        if isinstance(reply, Mapping):
            self.reported = reply.get("usage") or self.reported
            in_sound = reply.get("modality") == "audio"
            for root in ("choices", "output", "data"):
                self._walk(reply.get(root), root, in_sound)

    def add_medium(self) -> None:
        """Adds a medium that is the whole reply."""
        self.begun = True
        self._media += 1

    def _walk(self, value: Any, key: str, in_sound: bool) -> None:
        if isinstance(value, str):
            if value and (key in _MEDIA or (in_sound and key == "content")):
                self._has_sound |= in_sound
                self._media += not in_sound
            elif key in _WRITTEN:
                latin, wide = _characters(value)
                self._latin += latin
                self._wide += wide
        elif isinstance(value, Mapping):
            for name, field in value.items():
                self._walk(field, name, in_sound or name == "audio")
        elif isinstance(value, list | tuple):
            for field in value:
                self._walk(field, key, in_sound)


def _characters(text: str) -> tuple[int, int]:
    """The numbers of characters of Latin scripts, and of all others."""
    latin = len(text) if text.isascii() else sum(character < "\u0250" for character in text)
    return latin, len(text) - latin


def _number(field: Any) -> int:
    """A number of tokens, rounded up; 0 for anything else."""
    try:
        number = float(field) if isinstance(field, int | float | str) else 0.0
    except (ValueError, OverflowError):
        return 0
    return math.ceil(number) if field is not True and 0 < number < 1e15 else 0
